//! Records the evidence of a break, or that there was none.

use std::path::Path;

use agents::event::{Compaction, CompactionTrigger, Proof, ReinjectedKind};
use domain::vocabulary::Level;
use entity::agent_run;
use platform::events::Event;
use sea_orm::ActiveValue::Set;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use results::run_stats::{BreakPart, FIRST_BREAK, ReinjectedPart, StoredBreak};

use crate::job_error::JobError;
use crate::run::break_plan::BreakPlan;
use crate::run::checkpoint::SavedStage;
use crate::run::context::{BrokenSessions, RunContext, phase};

/// Returns the name of the private artifact with the unredacted evidence of a break.
pub(crate) fn evidence_artifact(break_index: i32) -> String {
    format!(".break-{break_index}")
}

/// Returns the name of an artifact of a break. The name of the first break has no number.
pub(crate) fn break_artifact(name: &str, break_index: i32) -> String {
    if break_index == FIRST_BREAK {
        return name.to_owned();
    }
    match name.rsplit_once('.') {
        Some((stem, ending)) => format!("{stem}-{break_index}.{ending}"),
        None => format!("{name}-{break_index}"),
    }
}

/// Artifact with the compaction summary, for people.
const SUMMARY: &str = "compaction_summary";
/// Artifact with the reinjected texts, for people.
const REINJECTED: &str = "reinjected.md";

/// Warning about a break that came before the agent could read.
const TOO_SOON: &str = "the context was compacted before a reading turn was completed after the teaching: the \
    last teaching may be in the text that the program keeps verbatim; right answers from there are \
    attributed to `reinjected` if the program shows that text";

/// Result of a deep dive.
pub(crate) enum DiveResult {
    Break(BrokenSessions),
    /// There is no evidence of a break, and the run has recorded that.
    NoBreak,
}

/// Conditions of a break.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakConditions {
    /// Whether the program's own threshold was lowered for it.
    pub(crate) forced: bool,
    /// Whether the workspace was empty.
    pub(crate) sealed: bool,
    /// Reading turns completed since the teaching or the previous break.
    pub(crate) read: u32,
}

/// Texts that can explain an answer after a break.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BreakEvidence {
    pub(crate) summary: Option<String>,
    pub(crate) reinjected: Vec<ReinjectedText>,
}

/// A text that a program reinjected, with the file that it is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredReinjectedText")]
pub(crate) struct ReinjectedText {
    /// Path as in the pull request, `None` for a text that is not from a file.
    pub(crate) name: Option<String>,
    pub(crate) text: String,
}

/// Earlier versions stored only the text.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredReinjectedText {
    Named { name: Option<String>, text: String },
    Text(String),
}

impl From<StoredReinjectedText> for ReinjectedText {
    fn from(stored: StoredReinjectedText) -> Self {
        let (name, text) = match stored {
            StoredReinjectedText::Named { name, text } => (name, text),
            StoredReinjectedText::Text(text) => (None, text),
        };
        Self { name, text }
    }
}

impl ReinjectedText {
    /// Returns the text that is searched for answers. The content of a file is known together with
    /// its path.
    pub(crate) fn searchable_text(&self) -> String {
        match &self.name {
            Some(name) => format!("File `{name}`:\n{}", self.text),
            None => self.text.clone(),
        }
    }
}

/// Returns the path of a file as in the pull request, whichever folder it was read in.
fn named(workspace: &Path, name: &str) -> String {
    let path = Path::new(name);
    let below = path.strip_prefix(workspace).unwrap_or(path);
    let below = below.strip_prefix("repo").unwrap_or(below);
    below.display().to_string()
}

/// Merges the compactions of one turn into one break: from the size before the first to the size
/// after the last.
pub(crate) fn merge_compactions(compactions: Vec<Compaction>) -> Option<Compaction> {
    let mut compactions = compactions.into_iter();
    let first = compactions.next()?;
    let tokens_before = first.tokens_before;
    let last = compactions.last().unwrap_or(first);
    Some(Compaction {
        tokens_before,
        ..last
    })
}

/// Records the evidence of the break and saves the run.
pub(crate) async fn record_break(
    context: &mut RunContext,
    mut sessions: BrokenSessions,
    compaction: Compaction,
    context_size: Option<u64>,
    conditions: BreakConditions,
) -> Result<DiveResult, JobError> {
    context.reach_milestone(2);
    context.enter_phase(phase::BREAK).await?;
    if context.break_index == FIRST_BREAK {
        context.stats.pre_compression_tokens = compaction.tokens_before.or(context_size);
    }
    if compaction.proof == Proof::Structural {
        "structural_detector".clone_into(&mut context.stats.detection_method);
    }
    let summary_artifact = match &compaction.summary {
        Some(summary) => {
            let name = break_artifact(SUMMARY, context.break_index);
            context.store_text(&name, "text/plain", summary).await?;
            Some(name)
        }
        None => None,
    };
    let reinjected_artifact = if compaction.reinjected.is_empty() {
        None
    } else {
        let text = reinjected_markdown(&compaction);
        let name = break_artifact(REINJECTED, context.break_index);
        context.store_text(&name, "text/markdown", &text).await?;
        Some(name)
    };
    let workspace = context.work_dir.workspace();
    let evidence = BreakEvidence {
        summary: compaction.summary.clone(),
        reinjected: compaction
            .reinjected
            .iter()
            .map(|put_back| ReinjectedText {
                name: put_back.name.as_deref().map(|name| named(&workspace, name)),
                text: put_back.text.clone(),
            })
            .collect(),
    };
    let name = evidence_artifact(context.break_index);
    context.store_private(&name, &evidence).await?;
    context.record_context(compaction.tokens_after, Some(context.break_index));
    let trigger = match compaction.trigger {
        CompactionTrigger::Auto => "auto",
        CompactionTrigger::Manual => "manual",
    };
    let event = Event::BreakSeen {
        agent: context.identity.agent.clone(),
        trial: context.identity.trial,
        trigger: trigger.to_owned(),
        tokens_before: compaction.tokens_before,
        tokens_after: compaction.tokens_after,
    };
    let mut events = vec![context.identity.event(Level::Info, event)];
    if conditions.read == 0 {
        events.push(context.warning_event(TOO_SOON.to_owned()));
    }
    let reinjected = compaction
        .reinjected
        .iter()
        .map(|put_back| ReinjectedPart {
            kind: kind_of(put_back.kind).to_owned(),
            name: put_back.name.clone(),
            chars: put_back.text.chars().count() as u64,
        })
        .collect();
    let mut this = serde_json::to_value(StoredBreak {
        break_index: context.break_index,
        evidence: BreakPart {
            trigger: trigger.to_owned(),
            tokens_before: compaction.tokens_before,
            tokens_after: compaction.tokens_after,
            forced: conditions.forced,
            sealed: conditions.sealed,
            reading_turns: Some(conditions.read),
            proof: Some(proof_of(compaction.proof).to_owned()),
            summary_artifact,
            reinjected,
        },
        reinjected_artifact,
    })?;
    context.worker.platform.redactor.redact_json(&mut this);
    context.breaks.push(this);
    let baseline = if sessions.snapshot.is_some() {
        "fork"
    } else {
        "split"
    };
    let change = agent_run::ActiveModel {
        breaks: Set(Value::Array(context.breaks.clone())),
        compression_detected: Set(true),
        baseline: Set(Some(baseline.to_owned())),
        ..context.progress_row()
    };
    context.write(change, events).await?;
    let BrokenSessions { main, snapshot } = &mut sessions;
    context
        .save(
            SavedStage::Broken,
            main,
            snapshot.as_mut(),
            Some(compaction),
        )
        .await?;
    Ok(DiveResult::Break(sessions))
}

fn kind_of(kind: ReinjectedKind) -> &'static str {
    match kind {
        ReinjectedKind::File => "file",
        ReinjectedKind::Tail => "tail",
        ReinjectedKind::Memory => "memory",
    }
}

fn proof_of(proof: Proof) -> &'static str {
    match proof {
        Proof::Reported => "reported",
        Proof::Structural => "structural",
    }
}

/// Returns the reinjected texts, for people.
fn reinjected_markdown(compaction: &Compaction) -> String {
    let mut text = "# What the program put back at the compaction\n".to_owned();
    for put_back in &compaction.reinjected {
        let kind = match put_back.kind {
            ReinjectedKind::File => "A file, read again from the disk",
            ReinjectedKind::Tail => "The end of the conversation, word for word",
            ReinjectedKind::Memory => "A memory file",
        };
        let name = put_back.name.as_deref().unwrap_or_default();
        text.push_str(&format!("\n## {kind} {name}\n\n{}\n", put_back.text));
    }
    text
}

/// Records that there was no break.
pub(crate) async fn record_no_break(
    context: &mut RunContext,
    plan: BreakPlan,
) -> Result<DiveResult, JobError> {
    context.reach_milestone(2);
    let why = plan.why_none(
        context.task.trigger,
        context.adapter.profile().capabilities,
        context.stats.deep_dive_iterations,
    );
    let event = Event::NoBreak {
        agent: context.identity.agent.clone(),
        trial: context.identity.trial,
        why: why.join("; "),
    };
    let event = context.identity.event(Level::Warning, event);
    let change = context.progress_row();
    context.write(change, vec![event]).await?;
    Ok(DiveResult::NoBreak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_as_the_pull_request_names_it() {
        let workspace = Path::new("/w/workspace");
        for (name, told) in [
            ("/w/workspace/repo/src/a.rs", "src/a.rs"),
            ("repo/src/a.rs", "src/a.rs"),
            ("/w/workspace/pull_request.diff", "pull_request.diff"),
            ("/home/CLAUDE.md", "/home/CLAUDE.md"),
        ] {
            assert_eq!(named(workspace, name), told);
        }
    }

    #[test]
    fn reinjected_text_includes_its_file_and_old_evidence_can_be_read() {
        let stored = r#"{"summary": null, "reinjected": ["old", {"name": "a.rs", "text": "new"}]}"#;
        let evidence: BreakEvidence = serde_json::from_str(stored).expect("both shapes");
        let told: Vec<String> = evidence
            .reinjected
            .iter()
            .map(ReinjectedText::searchable_text)
            .collect();
        assert_eq!(told, ["old", "File `a.rs`:\nnew"]);
        let again = serde_json::to_string(&evidence).expect("JSON");
        let again: BreakEvidence = serde_json::from_str(&again).expect("the written evidence");
        assert_eq!(again.reinjected, evidence.reinjected);
    }
}
