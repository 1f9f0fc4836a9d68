//! Which paths a change touches, as git lists them.

use domain::pull_request::FileStatus;

use crate::workspace::{Git, Kind, Mirror, WorkspaceError};

/// The list of changed paths, in bytes: about half a million.
const MOST_LISTING: u64 = 128 << 20;

/// One changed path, as git lists it.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) status: FileStatus,
    /// A file that became a symlink, or the like.
    pub(super) type_changed: bool,
    pub(super) kind: Option<Kind>,
    pub(super) new_id: String,
    pub(super) path: Vec<u8>,
    pub(super) old_path: Option<Vec<u8>>,
}

/// The changed paths, in git's order.
pub(super) async fn list(
    git: &Git,
    mirror: &Mirror,
    base: &str,
    head: &str,
) -> Result<Vec<Raw>, WorkspaceError> {
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
        .output("diff-tree", Some(&mirror.path), &arguments, MOST_LISTING)
        .await?;
    let mut parts = listing.split(|&byte| byte == 0);
    let mut raws = Vec::new();
    while let Some(about) = parts.next().filter(|part| !part.is_empty()) {
        raws.push(raw(about, &mut parts).ok_or_else(|| WorkspaceError::Git {
            action: "diff-tree",
            message: format!("unexpected line {:?}", String::from_utf8_lossy(about)),
        })?);
    }
    Ok(raws)
}

/// `:<old mode> <new mode> <old id> <new id> <status>`, then one path or two.
fn raw<'a>(about: &[u8], parts: &mut impl Iterator<Item = &'a [u8]>) -> Option<Raw> {
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
    Some(Raw {
        status,
        type_changed: letter == 'T',
        kind: Kind::of_mode(mode.as_bytes()),
        new_id,
        path,
        old_path,
    })
}
