//! The files that a run reads: the files of the workspace, and their order in turns.

use std::cmp::Reverse;
use std::path::Path;

use domain::pull_request::{FileStatus, PullRequest};
use evaluation::relevance::Terms;
use prompts::{FileLine, Prompt, PullRequestMd};
use sha2::{Digest, Sha256};

use crate::job_error::{JobError, io_error};
use crate::material::diff_text;
use crate::run::context::{RunContext, phase};

/// Files of the study, relative to the workspace.
pub(crate) const STUDY_FILES: [&str; 2] = ["pull_request.md", "pull_request.diff"];
/// Size limit of a file of the repository, in bytes.
const MOST_BYTES: u64 = 64 << 10;
/// Maximum number of files in one turn.
const MOST_FILES: usize = 5;

impl RunContext {
    /// Fills the workspace with the pull request and the repository at its head commit.
    pub(crate) async fn fill_workspace(&mut self) -> Result<(), JobError> {
        let workspace = self.work_dir.workspace();
        let pull_request = &self.material.pull_request;
        let source: domain::PullRequestSource = serde_json::from_value(self.task.source.clone())?;
        let settings = self.worker.settings.source();
        let cancel = &self.job.cancel;
        let head = pull_request.head.as_str();
        let mirror = source::mirror_with(&settings, &source, &[head], cancel).await?;
        source::checkout(&settings, &mirror, head, &workspace.join("repo"), cancel).await?;
        write(
            &workspace.join("pull_request.diff"),
            &diff_text(pull_request),
        )
        .await?;
        let about = about(&self.task.repo, pull_request)?;
        write(&workspace.join("pull_request.md"), &about).await?;
        self.reach_milestone(0);
        Ok(())
    }
}

async fn write(path: &Path, text: &str) -> Result<(), JobError> {
    tokio::fs::write(path, text)
        .await
        .map_err(|error| io_error("writing to the workspace", path, error))
}

fn about(repo: &str, pull_request: &PullRequest) -> Result<String, JobError> {
    let files: Vec<FileLine<'_>> = pull_request
        .files
        .iter()
        .map(|file| FileLine {
            status: match file.status {
                FileStatus::Added => "added",
                FileStatus::Modified => "modified",
                FileStatus::Deleted => "deleted",
                FileStatus::Renamed => "renamed",
            },
            path: &file.path,
            old_path: file.old_path.as_deref(),
        })
        .collect();
    // A title is one line, whatever the forge returns.
    let title = pull_request
        .title
        .as_deref()
        .and_then(|title| title.lines().next());
    let text = PullRequestMd {
        title,
        repo,
        base: &pull_request.base,
        head: &pull_request.head,
        files: &files,
        dropped: pull_request.dropped.len(),
    }
    .render()?;
    Ok(text)
}

/// Unchanged files to read, turn by turn and in rounds. Changed files are left out, because reading
/// one again would restore knowledge that the break removed.
#[derive(Debug)]
pub(crate) struct ReadingPlan {
    turns: Vec<Vec<String>>,
    next: usize,
}

impl ReadingPlan {
    /// Creates a plan. Files that relate most to the change come first, and the run's seed orders
    /// equal ones. A turn takes about an eighth of the context.
    pub(crate) async fn new(
        workspace: &Path,
        pull_request: &PullRequest,
        seed: u64,
        context_tokens: u64,
    ) -> Result<Self, JobError> {
        let repo = workspace.join("repo");
        let paths: Vec<String> = pull_request
            .other_paths
            .iter()
            .filter(|path| can_be_an_item(path))
            .cloned()
            .collect();
        // The context is in tokens of about four bytes.
        let turn_bytes = context_tokens / 2;
        let terms = Terms::from_pull_request(pull_request);
        let found = tokio::task::spawn_blocking(move || readable(&repo, paths, turn_bytes, &terms))
            .await
            .map_err(|error| JobError::harness(format!("could not read the files: {error}")))?;
        Ok(Self {
            turns: turns(found, seed, turn_bytes),
            next: 0,
        })
    }

    /// Returns the files of the next turn, relative to the workspace, or nothing if there are none.
    pub(crate) fn next_turn(&mut self) -> Vec<String> {
        if self.turns.is_empty() {
            return Vec::new();
        }
        let files = self.turns[self.next % self.turns.len()].clone();
        self.next += 1;
        files
    }
}

/// Returns whether a path can be an item of a list in a prompt.
fn can_be_an_item(path: &str) -> bool {
    !path.contains('`') && !path.chars().any(char::is_control)
}

/// A readable file.
#[derive(Clone, Debug)]
struct Readable {
    path: String,
    size: u64,
    relevance: usize,
}

/// Returns the readable files. Blocks, and loads one file at a time.
fn readable(repo: &Path, paths: Vec<String>, turn_bytes: u64, terms: &Terms) -> Vec<Readable> {
    paths
        .into_iter()
        .filter_map(|path| {
            let file = repo.join(&path);
            let about = std::fs::symlink_metadata(&file).ok()?;
            let size = about.len();
            if !about.is_file() || size == 0 || size > MOST_BYTES.min(turn_bytes) {
                return None;
            }
            // A file that is not text cannot be read.
            let text = std::fs::read_to_string(&file).ok()?;
            Some(Readable {
                relevance: terms.relevance(&path, &text),
                path,
                size,
            })
        })
        .collect()
}

fn turns(mut files: Vec<Readable>, seed: u64, turn_bytes: u64) -> Vec<Vec<String>> {
    files.sort_by_cached_key(|file| {
        let drawn = Sha256::digest(format!("{seed}/{}", file.path));
        (Reverse(file.relevance), drawn)
    });
    let mut turns: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for Readable { path, size, .. } in files {
        let item = format!("repo/{path}");
        match turns.last_mut() {
            Some(turn) if turn.len() < MOST_FILES && size <= room => {
                turn.push(item);
                room -= size;
            }
            Some(_) | None => {
                turns.push(vec![item]);
                room = turn_bytes.saturating_sub(size);
            }
        }
    }
    turns
}

/// Returns the heading of a turn in the transcript.
pub(crate) fn heading(turn: u32) -> String {
    format!("{}, turn {turn}", phase::DEEP_DIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<Readable> {
        (0..20)
            .map(|n| Readable {
                path: format!("f{n}"),
                size: 100,
                relevance: 0,
            })
            .collect()
    }

    #[test]
    fn files_related_to_the_change_are_read_first() {
        let mut files = files();
        files[13].relevance = 2;
        files[4].relevance = 1;
        let turns = turns(files, 1, 350);
        assert_eq!(turns[0][..2], ["repo/f13".to_owned(), "repo/f4".to_owned()]);
    }

    #[test]
    fn every_file_is_read_once_a_round_in_an_order_of_the_seed() {
        let one = turns(files(), 1, 350);
        assert_eq!(one, turns(files(), 1, 350));
        assert_ne!(one, turns(files(), 2, 350));
        assert!(one.iter().all(|turn| turn.len() <= 3), "{one:?}");
        let mut all: Vec<String> = one.into_iter().flatten().collect();
        all.sort();
        let mut expected: Vec<String> = (0..20).map(|n| format!("repo/f{n}")).collect();
        expected.sort();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_turn_has_few_files_however_small_they_are() {
        let turns = turns(files(), 1, 1_000_000);
        assert_eq!(turns.len(), 4);
    }

    #[test]
    fn a_path_that_would_break_out_of_its_item_is_not_read() {
        assert!(can_be_an_item("src/a b.rs"));
        assert!(!can_be_an_item("a`b"));
        assert!(!can_be_an_item("a\n- `b"));
    }
}
