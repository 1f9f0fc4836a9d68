//! A pull request as data: its changed files, hunks and lines.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Change of a pull request, as read from the recorded commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Title, if the forge's API returned it.
    pub title: Option<String>,
    /// Full id of the commit at which the change starts (the merge base).
    pub base: String,
    /// Full id of the head commit.
    pub head: String,
    /// Files that are used, by path.
    pub files: Vec<ChangedFile>,
    /// Files that were left out, with the reasons.
    pub dropped: Vec<Dropped>,
    /// Paths of the head commit that the change does not touch, for distractors and further
    /// reading. At most a few thousand, sorted.
    pub other_paths: Vec<String>,
}

/// A file that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub path: String,
    /// Reason, for people: `over max_files (50)`, `binary`, `not UTF-8`, …
    pub reason: String,
}

/// Kind of change to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    Added,
    Modified,
    Deleted,
    Renamed,
}

/// Kind of content at a changed path. Only [`Content::Text`] has hunks.
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
    /// Text at the head commit, or `None` if the file is deleted, not text or too large.
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

/// One line of a hunk, without its sign and its line end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub change: Change,
    pub text: String,
    /// Line number in the head commit, or `None` for a removed line.
    pub new_number: Option<u32>,
    /// Line number in the base commit, or `None` for an added line.
    pub old_number: Option<u32>,
}

/// Kind of change to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Context,
    Added,
    Removed,
}

/// Error of parsing one file's section of `git diff`. Line numbers count from 1 in the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatchError {
    #[error("line {0}: not a hunk header")]
    HunkHeader(usize),
    #[error("line {0}: neither a line of the hunk nor the start of another one")]
    UnexpectedLine(usize),
    #[error("the hunk at line {0} has fewer lines than its header says")]
    ShortHunk(usize),
}

/// Parses the hunks of one file's section of `git diff`.
///
/// A section without hunks (a rename, an empty file or a binary file) returns an empty list. A
/// carriage return before a line end belongs to the line.
///
/// # Errors
/// The text ends within a hunk, or contains a line at a place where it is invalid, such as the start
/// of another file's section.
pub fn parse_patch(patch: &str) -> Result<Vec<Hunk>, PatchError> {
    let patch = patch.strip_suffix('\n').unwrap_or(patch);
    let mut lines = patch
        .split('\n')
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .peekable();
    // Only a hunk's own counts determine its end: a removed line `-- a` looks like a header.
    while let Some((_, line)) = lines.next_if(|(_, line)| !line.starts_with("@@")) {
        if line.starts_with("GIT binary patch") {
            return Ok(Vec::new());
        }
    }
    let mut hunks = Vec::new();
    while let Some((at, line)) = lines.next() {
        if line.starts_with('\\') && !hunks.is_empty() {
            continue;
        }
        if !line.starts_with("@@") {
            return Err(PatchError::UnexpectedLine(at));
        }
        let mut hunk = hunk_header(line).ok_or(PatchError::HunkHeader(at))?;
        let (mut old, mut new) = (hunk.old_start, hunk.new_start);
        let (old_end, new_end) = (old + hunk.old_lines, new + hunk.new_lines);
        while old < old_end || new < new_end {
            let (here, line) = lines.next().ok_or(PatchError::ShortHunk(at))?;
            let (change, text) = match line.chars().next() {
                Some(' ') => (Change::Context, &line[1..]),
                Some('+') => (Change::Added, &line[1..]),
                Some('-') => (Change::Removed, &line[1..]),
                Some('\\') => continue,
                // Git can be configured to write an empty context line without its space.
                None | Some('\r') => (Change::Context, line),
                Some(_) => return Err(PatchError::UnexpectedLine(here)),
            };
            let in_old = change != Change::Added;
            let in_new = change != Change::Removed;
            if (in_old && old == old_end) || (in_new && new == new_end) {
                return Err(PatchError::UnexpectedLine(here));
            }
            hunk.lines.push(Line {
                change,
                text: text.to_owned(),
                new_number: in_new.then_some(new),
                old_number: in_old.then_some(old),
            });
            old += u32::from(in_old);
            new += u32::from(in_new);
        }
        hunks.push(hunk);
    }
    Ok(hunks)
}

/// Parses `@@ -a,b +c,d @@ anything`, where `,b` and `,d` are optional.
fn hunk_header(line: &str) -> Option<Hunk> {
    let (ranges, _) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let (old_start, old_lines) = range(old)?;
    let (new_start, new_lines) = range(new)?;
    Some(Hunk {
        old_start,
        old_lines,
        new_start,
        new_lines,
        lines: Vec::new(),
    })
}

fn range(text: &str) -> Option<(u32, u32)> {
    let number = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u32>().ok()).flatten()
    };
    let (start, lines) = text.split_once(',').unwrap_or((text, "1"));
    let (start, lines) = (number(start)?, number(lines)?);
    // Later code adds to the start without overflow checks.
    start.checked_add(lines)?.checked_add(1)?;
    Some((start, lines))
}
