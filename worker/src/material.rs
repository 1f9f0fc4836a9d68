//! The material of a task: the pull request and the probes that all of its runs share.

use domain::pull_request::PullRequest;
use entity::TaskId;
use evaluation::claims::OpenFact;
use evaluation::probe::ProbeSet;
use serde::{Deserialize, Serialize};

use crate::job_context::Worker;
use crate::job_error::JobError;

/// Maximum number of facts that one free recall is graded against.
pub(crate) const MAX_FACTS: usize = 40;
/// Name of the artifact with the facts that answers to open questions are graded against.
pub(crate) const OPEN_FACTS: &str = "open_facts.json";
/// Name of the private artifact with the [`Material`].
pub(crate) const MATERIAL: &str = ".material.json";

/// Everything that the runs of a task need of its pull request, unredacted: the evidence of the
/// probes must be in the workspace verbatim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Material {
    /// The pull request, without the texts that no run needs.
    pub(crate) pull_request: PullRequest,
    pub(crate) probe_set: ProbeSet,
    /// Facts that answers to open questions are graded against. Only their topics are asked about.
    #[serde(default)]
    pub(crate) open: Vec<OpenFact>,
}

/// Smallest context that a run is planned for, in tokens.
pub(crate) const LEAST_CONTEXT: u64 = 8_000;

/// Tokens for the teaching, the instructions and the replies around the content.
const AROUND: u64 = 4_000;

/// Maximum size of the teaching beside the diff, in bytes.
const TAUGHT: u64 = 8 << 10;

/// Returns the context size that suffices for so many bytes of content. A token has about four
/// bytes, and the agent needs half as much again for itself.
pub(crate) fn context_for(content: usize) -> u64 {
    content as u64 / 4 * 3 / 2 + AROUND
}

/// Tokens of a real program's own prompt and tool descriptions. It is part of every request; 4,000
/// to 11,000 tokens were measured with read-only tools.
pub(crate) const OWN_PROMPT: u64 = 16_000;

/// Returns the context size that a run is planned for: `target` if the task specifies one, but at
/// most `most`.
///
/// It must hold the pull request, the teaching and the agent's replies before a compaction at four
/// fifths of it.
pub(crate) fn planned_context(
    most: u64,
    target: Option<i64>,
    pull_request: &PullRequest,
    probe_set: &ProbeSet,
    control: bool,
) -> u64 {
    if let Some(target) = target {
        return u64::try_from(target).unwrap_or(LEAST_CONTEXT).min(most);
    }
    let diff: usize = pull_request.files.iter().map(|file| file.patch.len()).sum();
    let teaching = &probe_set.teaching;
    let taught: usize = teaching.iter().map(|lesson| lesson.text.len()).sum();
    let own = if control { 0 } else { OWN_PROMPT };
    let planned = context_for(diff + taught).max(LEAST_CONTEXT) + own;
    planned.min(most)
}

/// Returns the size of the diff that fits in a context, in bytes: the inverse of [`context_for`].
pub(crate) fn diff_that_fits(context: u64) -> usize {
    let content = context.max(LEAST_CONTEXT).saturating_sub(AROUND) * 2 / 3 * 4;
    usize::try_from(content.saturating_sub(TAUGHT)).unwrap_or(usize::MAX)
}

/// Returns the diff as agents read it.
pub(crate) fn diff_text(pull_request: &PullRequest) -> String {
    let mut diff = String::new();
    for file in &pull_request.files {
        diff.push_str(&file.patch);
        if !diff.ends_with('\n') {
            diff.push('\n');
        }
    }
    diff
}

/// Loads the material of a task.
pub(crate) async fn load_material(worker: &Worker, task: TaskId) -> Result<Material, JobError> {
    let bytes = worker
        .load_artifact(task, None, MATERIAL)
        .await?
        .ok_or_else(|| JobError::harness("the material of the task is missing"))?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_that_fits_needs_no_larger_context() {
        for context in [8_000, 32_000, 200_000, 1_000_000] {
            let diff = diff_that_fits(context);
            assert!(diff > 0);
            assert!(context_for(diff + TAUGHT as usize) <= context, "{context}");
        }
    }
}
