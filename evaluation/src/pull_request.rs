//! A pull request as data: which files it changes, and how, line by line.

use serde::{Deserialize, Serialize};

/// What a pull request changes, as read from the recorded commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// The title, where the forge told it.
    pub title: Option<String>,
    /// Full commit id that the change starts from (the merge base).
    pub base: String,
    /// Full commit id of the change.
    pub head: String,
    /// The files that are used, by path.
    pub files: Vec<ChangedFile>,
    /// What was left out, and why.
    pub dropped: Vec<Dropped>,
    /// Paths of files of the head commit that the change does not touch, for distractors and for
    /// reading on; at most a few thousand, by path.
    pub other_paths: Vec<String>,
}

/// A file that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub path: String,
    /// For people: `over max_files (50)`, `binary`, `not UTF-8`, …
    pub reason: String,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    Added,
    Modified,
    Deleted,
    Renamed,
}

/// What kind of thing a changed path is. Only [`Content::Text`] has hunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Text,
    Binary,
    NotUtf8,
    Symlink,
    Submodule,
}

/// One changed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Path in the head commit; for a deleted file, in the base commit. `/` between parts.
    pub path: String,
    /// The path before a rename.
    pub old_path: Option<String>,
    pub status: FileStatus,
    pub content: Content,
    /// The file's section of the unified diff, exactly as agents read it, from its `diff --git`
    /// line on.
    pub patch: String,
    pub hunks: Vec<Hunk>,
    /// The file at the head commit; none where it is deleted, no text or too large.
    pub head_text: Option<String>,
}

/// One hunk of a unified diff. Line numbers from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    pub old_start: u32,
    pub old_lines: u32,
    pub new_start: u32,
    pub new_lines: u32,
    pub lines: Vec<Line>,
}

/// One line of a hunk, without its first character and line end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub change: Change,
    pub text: String,
    /// Line number in the head commit; none for a removed line.
    pub new_number: Option<u32>,
    /// Line number in the base commit; none for an added line.
    pub old_number: Option<u32>,
}

/// What the change does to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Context,
    Added,
    Removed,
}
