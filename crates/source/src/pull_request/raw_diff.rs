//! The raw diff: the changed paths, as git lists them.

use domain::pull_request::FileStatus;

use crate::error::SourceError;
use crate::git::{EntryKind, Git, Mirror};

/// Size limit of the raw diff, in bytes: about half a million paths.
const MAX_LISTING_BYTES: u64 = 128 << 20;

/// One changed path.
#[derive(Clone, Debug)]
pub(super) struct RawEntry {
    pub(super) status: FileStatus,
    /// Whether the kind changed, such as from a file to a symlink.
    pub(super) type_changed: bool,
    pub(super) kind: Option<EntryKind>,
    pub(super) new_id: String,
    pub(super) path: Vec<u8>,
    pub(super) old_path: Option<Vec<u8>>,
}

/// Returns the changed paths, in git's order.
pub(super) async fn raw_diff(
    git: &Git,
    mirror: &Mirror,
    base: &str,
    head: &str,
) -> Result<Vec<RawEntry>, SourceError> {
    let arguments = [
        "diff-tree",
        "-r",
        "-z",
        "--raw",
        "--no-abbrev",
        "-M",
        base,
        head,
    ];
    let listing = git
        .output(
            "diff-tree",
            Some(&mirror.path),
            &arguments,
            MAX_LISTING_BYTES,
        )
        .await?;
    let mut parts = listing.split(|&byte| byte == 0);
    let mut raws = Vec::new();
    while let Some(about) = parts.next().filter(|part| !part.is_empty()) {
        raws.push(
            parse_entry(about, &mut parts).ok_or_else(|| SourceError::Git {
                action: "diff-tree",
                message: format!("unexpected line {:?}", String::from_utf8_lossy(about)),
            })?,
        );
    }
    Ok(raws)
}

/// Parses `:<old mode> <new mode> <old id> <new id> <status>`, followed by one path or two.
fn parse_entry<'a>(about: &[u8], parts: &mut impl Iterator<Item = &'a [u8]>) -> Option<RawEntry> {
    let about = std::str::from_utf8(about).ok()?.strip_prefix(':')?;
    let mut words = about.split(' ');
    let old_mode = words.next()?;
    let new_mode = words.next()?;
    let _old_id = words.next()?;
    let new_id = words.next()?.to_owned();
    let letter = words.next()?.chars().next()?;
    let first = parts.next()?.to_vec();
    let (status, mode) = match letter {
        'A' | 'C' => (FileStatus::Added, new_mode),
        'D' => (FileStatus::Deleted, old_mode),
        'R' => (FileStatus::Renamed, new_mode),
        'M' | 'T' => (FileStatus::Modified, new_mode),
        _ => return None,
    };
    let (path, old_path) = match letter {
        'R' => (parts.next()?.to_vec(), Some(first)),
        'C' => (parts.next()?.to_vec(), None),
        _ => (first, None),
    };
    Some(RawEntry {
        status,
        type_changed: letter == 'T',
        kind: EntryKind::from_mode(mode.as_bytes()),
        new_id,
        path,
        old_path,
    })
}
