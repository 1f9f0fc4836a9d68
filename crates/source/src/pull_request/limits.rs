//! Limits on the part of a pull request that is used.

/// Limits on the part of a pull request that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffLimits {
    /// Maximum number of files.
    pub max_files: usize,
    /// Maximum size of all patches together, in bytes.
    pub patch_bytes: usize,
    /// Maximum size of one file, in bytes.
    pub file_bytes: usize,
}
