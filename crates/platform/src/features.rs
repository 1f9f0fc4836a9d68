//! Optional parts of the build.
//!
//! The features `redis`, `postgres` and `cloud-storage` keep the first build of the demo short.
//! Settings that need a missing feature are refused.

/// Returns the problem of a setting that needs a part that this program was built without.
pub fn without(part: &str) -> String {
    format!("needs {part}, but this program was built without it: build with --all-features")
}
