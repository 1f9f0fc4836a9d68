//! The sample pull request of `membreak demo` and `membreak forge`.

use anyhow::Context as _;
use include_dir::{Dir, include_dir};

use crate::repository::Files;

/// The sample before and after its change, as plain files.
static SAMPLE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/demo");

/// Returns the files before the change.
///
/// # Errors
///
/// Fails if the embedded sample is incomplete.
pub fn base_files() -> anyhow::Result<Files> {
    files("base")
}

/// Returns the files after the change.
///
/// # Errors
///
/// Fails if the embedded sample is incomplete.
pub fn head_files() -> anyhow::Result<Files> {
    files("head")
}

fn files(side: &str) -> anyhow::Result<Files> {
    let root = SAMPLE
        .get_dir(side)
        .with_context(|| format!("the sample has no folder {side}"))?;
    let mut files = Files::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        for file in folder.files() {
            let path = file.path().strip_prefix(side).with_context(|| {
                format!("the sample file {} is not in {side}", file.path().display())
            })?;
            let path = path.to_str().with_context(|| {
                format!("the sample path {} is not UTF-8", file.path().display())
            })?;
            files.insert(path.to_owned(), file.contents().to_vec());
        }
    }
    Ok(files)
}
