//! What a task is prepared to: the pull request and the probes that all of its runs share.

use domain::pull_request::PullRequest;
use entity::TaskId;
use evaluation::claims::OpenFact;
use evaluation::probe::ProbeSet;
use platform::artifacts;
use serde::{Deserialize, Serialize};

use crate::job_context::Worker;
use crate::job_error::JobError;

/// Facts that one free recall is held against, at most.
pub(crate) const MAX_FACTS: usize = 40;
/// The artifact with what answers to open questions are held against.
pub(crate) const OPEN_FACTS: &str = "open_facts.json";
/// The private artifact that runs read.
pub(crate) const MATERIAL: &str = ".material.json";

/// What the runs of a task need of its pull request, unredacted: the evidence of the probes must
/// stand in the workspace word for word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Material {
    /// Without the texts that no run needs.
    pub(crate) pull_request: PullRequest,
    pub(crate) probe_set: ProbeSet,
    /// What answers to open questions are held against. Their topics are asked about.
    #[serde(default)]
    pub(crate) open: Vec<OpenFact>,
}

/// The smallest context that a run is planned for, in tokens.
pub(crate) const LEAST_CONTEXT: u64 = 8_000;

/// What the teaching, the tasks and the replies around it take, in tokens.
const AROUND: u64 = 4_000;

/// What the teaching may take besides the diff, in bytes.
const TAUGHT: u64 = 8 << 10;

/// The context, in tokens, in which so many bytes are studied with room to spare: about four bytes
/// are a token, and the agent has half as much again for itself.
pub(crate) fn context_for(content: usize) -> u64 {
    content as u64 / 4 * 3 / 2 + AROUND
}

/// What a real program says to its model of its own accord, with the descriptions of its tools, in
/// tokens: 4,000 to 11,000 were measured with read-only tools. It is in every request.
pub(crate) const OWN_PROMPT: u64 = 16_000;

/// The context that a run is planned for: at most `most`, and `target` where the task names one. It
/// must hold the pull request, the teaching and what the agent says to it, with a compaction at four
/// fifths of it not before all of that is in.
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

/// How many bytes of diff fit in a context: the other way round.
pub(crate) fn diff_that_fits(context: u64) -> usize {
    let content = context.max(LEAST_CONTEXT).saturating_sub(AROUND) * 2 / 3 * 4;
    usize::try_from(content.saturating_sub(TAUGHT)).unwrap_or(usize::MAX)
}

/// The diff as agents read it.
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
    let found = artifacts::find(&worker.platform.database, task, None, MATERIAL)
        .await?
        .ok_or_else(|| JobError::harness("what was prepared for the task is gone"))?;
    let bytes = worker.platform.artifacts.get(&found).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_in_a_context_needs_no_larger_one() {
        for context in [8_000, 32_000, 200_000, 1_000_000] {
            let diff = diff_that_fits(context);
            assert!(diff > 0);
            assert!(context_for(diff + TAUGHT as usize) <= context, "{context}");
        }
    }
}
