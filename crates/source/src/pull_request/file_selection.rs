//! Selects the files of a large change: those with the most lines written by people.

use std::cmp::Reverse;

/// Folders of files that were written elsewhere or by a program.
const FOREIGN_FOLDERS: [&str; 7] = [
    "vendor",
    "third_party",
    "node_modules",
    "dist",
    "generated",
    "__snapshots__",
    "testdata",
];
/// Endings of the names of generated files.
const GENERATED_ENDINGS: [&str; 12] = [
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

/// A usable file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) path: &'a str,
    /// Number of added and removed lines.
    pub(super) changed: usize,
    /// Size of its patch, in bytes.
    pub(super) size: usize,
}

/// Limit that excludes a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exclusion {
    Files,
    Bytes,
}

/// Returns for each candidate the limit that excludes it, or `None` if it is used.
///
/// Candidates with the most changed lines come first. Lock files, generated files and files of others
/// come last.
pub(super) fn select_files(
    candidates: &[Candidate<'_>],
    max_files: usize,
    patch_bytes: usize,
) -> Vec<Option<Exclusion>> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&at| {
        let Candidate { path, changed, .. } = candidates[at];
        (is_secondary(path), Reverse(changed), path)
    });
    let (mut files, mut bytes) = (0, 0);
    let mut exclusions = vec![None; candidates.len()];
    for at in order {
        let size = candidates[at].size;
        if files == max_files {
            exclusions[at] = Some(Exclusion::Files);
        } else if bytes + size > patch_bytes {
            exclusions[at] = Some(Exclusion::Bytes);
        } else {
            files += 1;
            bytes += size;
        }
    }
    exclusions
}

fn is_secondary(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    folders
        .split('/')
        .any(|folder| FOREIGN_FOLDERS.contains(&folder))
        || GENERATED_ENDINGS.iter().any(|end| name.ends_with(end))
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
            select_files(&candidates, 2, 100),
            [None, Some(Exclusion::Files), None, Some(Exclusion::Files)]
        );
        assert_eq!(
            select_files(&candidates, 3, 20),
            [None, Some(Exclusion::Bytes), None, Some(Exclusion::Bytes)]
        );
    }
}
