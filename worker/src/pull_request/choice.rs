//! Which files of a large change are used: those that people wrote most of.

use std::cmp::Reverse;

/// Folders of what was written elsewhere or by a program.
const FOREIGN_FOLDERS: [&str; 7] = [
    "vendor",
    "third_party",
    "node_modules",
    "dist",
    "generated",
    "__snapshots__",
    "testdata",
];
/// How names of generated files end.
const GENERATED: [&str; 12] = [
    ".lock",
    "-lock.json",
    "-lock.yaml",
    "go.sum",
    ".min.js",
    ".min.css",
    ".map",
    ".snap",
    ".pb.go",
    "_pb2.py",
    ".g.dart",
    ".svg",
];

/// A file that could be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) path: &'a str,
    /// Added and removed lines.
    pub(super) changed: usize,
    /// Of its patch, in bytes.
    pub(super) size: usize,
}

/// Why a candidate is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Files,
    Bytes,
}

/// For each candidate whether it is used; those with the most changed lines come first, lock files,
/// generated and foreign ones last.
pub(super) fn choose(
    candidates: &[Candidate<'_>],
    max_files: usize,
    patch_bytes: usize,
) -> Vec<Option<Left>> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&at| {
        let Candidate { path, changed, .. } = candidates[at];
        (is_secondary(path), Reverse(changed), path)
    });
    let (mut files, mut bytes) = (0, 0);
    let mut left = vec![None; candidates.len()];
    for at in order {
        let size = candidates[at].size;
        if files == max_files {
            left[at] = Some(Left::Files);
        } else if bytes + size > patch_bytes {
            left[at] = Some(Left::Bytes);
        } else {
            files += 1;
            bytes += size;
        }
    }
    left
}

fn is_secondary(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    folders
        .split('/')
        .any(|folder| FOREIGN_FOLDERS.contains(&folder))
        || GENERATED.iter().any(|end| name.ends_with(end))
        || name.contains(".generated.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_changed_files_are_used_and_lock_files_last() {
        let candidates = [
            ("a.rs", 1),
            ("Cargo.lock", 900),
            ("b.rs", 5),
            ("vendor/c.rs", 50),
        ]
        .map(|(path, changed)| Candidate {
            path,
            changed,
            size: 10,
        });
        assert_eq!(
            choose(&candidates, 2, 100),
            [None, Some(Left::Files), None, Some(Left::Files)]
        );
        assert_eq!(
            choose(&candidates, 3, 20),
            [None, Some(Left::Bytes), None, Some(Left::Bytes)]
        );
    }
}
