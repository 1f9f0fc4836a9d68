//! The break: its evidence is recorded, or that there was none.

use std::path::Path;

use agents::event::{Compaction, CompactionTrigger, Proof, ReinjectedKind};
use domain::vocabulary::Level;
use entity::agent_run;
use platform::events::Event;
use sea_orm::ActiveValue::Set;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::checkpoint::Stage;
use super::plan::Plan;
use super::running::{Broken, Running, phase};
use crate::job::StageError;
use results::run_stats::{BreakPart, FIRST_BREAK, ReinjectedPart, StoredBreak};

/// What the judge reads of a break; private, because it is unredacted.
pub(crate) fn evidence_name(break_index: i32) -> String {
    format!(".break-{break_index}")
}

/// The name of an artifact of a break: that of the first has no number.
pub(crate) fn of_break(name: &str, break_index: i32) -> String {
    if break_index == FIRST_BREAK {
        return name.to_owned();
    }
    match name.rsplit_once('.') {
        Some((stem, ending)) => format!("{stem}-{break_index}.{ending}"),
        None => format!("{name}-{break_index}"),
    }
}

/// The summary, for people.
const SUMMARY: &str = "compaction_summary";
/// What was put back beside it, for people.
const REINJECTED: &str = "reinjected.md";

/// What is told of a break that left nobody the time to read.
const TOO_SOON: &str = "the context was compacted before a turn of reading was over since the \
    teaching: what was taught last may stand in what the program keeps word for word; right answers \
    from there are attributed to `reinjected` where the program shows what it keeps";

/// How the deep dive ended.
pub(crate) enum Dive {
    Broke(Broken),
    /// No evidence of a break; the run has been told so.
    NoBreak,
}

/// How a break was brought about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The program's own threshold was lowered for it.
    pub(crate) forced: bool,
    /// The workspace was empty.
    pub(crate) sealed: bool,
    /// Turns of reading that were over before it, since the teaching or the break before.
    pub(crate) read: u32,
}

/// The texts that can explain an answer from after a break.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) summary: Option<String>,
    pub(crate) reinjected: Vec<PutBack>,
}

/// A text that a program put back, with the file that it is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredPutBack")]
pub(crate) struct PutBack {
    /// As the pull request names it; none for what is from no file.
    pub(crate) name: Option<String>,
    pub(crate) text: String,
}

/// Earlier versions kept the text alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredPutBack {
    Named { name: Option<String>, text: String },
    Text(String),
}

impl From<StoredPutBack> for PutBack {
    fn from(stored: StoredPutBack) -> Self {
        let (name, text) = match stored {
            StoredPutBack::Named { name, text } => (name, text),
            StoredPutBack::Text(text) => (None, text),
        };
        Self { name, text }
    }
}

impl PutBack {
    /// The text as it is looked through for answers: what a file holds is known together with the
    /// name of the file.
    pub(crate) fn told(&self) -> String {
        match &self.name {
            Some(name) => format!("File `{name}`:\n{}", self.text),
            None => self.text.clone(),
        }
    }
}

/// The name of a file as the pull request names it, whatever folder it was read in.
fn named(workspace: &Path, name: &str) -> String {
    let path = Path::new(name);
    let below = path.strip_prefix(workspace).unwrap_or(path);
    let below = below.strip_prefix("repo").unwrap_or(below);
    below.display().to_string()
}

/// The compactions of one turn as one break: from what was there before the first to what is there
/// after the last.
pub(crate) fn together(compactions: Vec<Compaction>) -> Option<Compaction> {
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
pub(crate) async fn broke(
    running: &mut Running,
    mut sessions: Broken,
    compaction: Compaction,
    context: Option<u64>,
    kind: Kind,
) -> Result<Dive, StageError> {
    running.reach(2);
    running.enter(phase::BREAK).await?;
    if running.break_index == FIRST_BREAK {
        running.figures.pre_compression_tokens = compaction.tokens_before.or(context);
    }
    if compaction.proof == Proof::Structural {
        "structural_detector".clone_into(&mut running.figures.detection_method);
    }
    let summary_artifact = match &compaction.summary {
        Some(summary) => {
            let name = of_break(SUMMARY, running.break_index);
            running.keep(&name, "text/plain", summary).await?;
            Some(name)
        }
        None => None,
    };
    let reinjected_artifact = if compaction.reinjected.is_empty() {
        None
    } else {
        let text = put_back(&compaction);
        let name = of_break(REINJECTED, running.break_index);
        running.keep(&name, "text/markdown", &text).await?;
        Some(name)
    };
    let workspace = running.folder.workspace();
    let evidence = Evidence {
        summary: compaction.summary.clone(),
        reinjected: compaction
            .reinjected
            .iter()
            .map(|put_back| PutBack {
                name: put_back.name.as_deref().map(|name| named(&workspace, name)),
                text: put_back.text.clone(),
            })
            .collect(),
    };
    let name = evidence_name(running.break_index);
    running.keep_private(&name, &evidence).await?;
    running.point(compaction.tokens_after, Some(running.break_index));
    let trigger = match compaction.trigger {
        CompactionTrigger::Auto => "auto",
        CompactionTrigger::Manual => "manual",
    };
    let event = Event::BreakSeen {
        agent: running.who.agent.clone(),
        trial: running.who.trial,
        trigger: trigger.to_owned(),
        tokens_before: compaction.tokens_before,
        tokens_after: compaction.tokens_after,
    };
    let mut events = vec![running.who.event(Level::Info, event)];
    if kind.read == 0 {
        events.push(running.remark(TOO_SOON.to_owned()));
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
        break_index: running.break_index,
        evidence: BreakPart {
            trigger: trigger.to_owned(),
            tokens_before: compaction.tokens_before,
            tokens_after: compaction.tokens_after,
            forced: kind.forced,
            sealed: kind.sealed,
            reading_turns: Some(kind.read),
            proof: Some(proof_of(compaction.proof).to_owned()),
            summary_artifact,
            reinjected,
        },
        reinjected_artifact,
    })?;
    running.worker.platform.redactor.redact_json(&mut this);
    running.breaks.push(this);
    let baseline = if sessions.snapshot.is_some() {
        "fork"
    } else {
        "split"
    };
    let change = agent_run::ActiveModel {
        breaks: Set(Value::Array(running.breaks.clone())),
        compression_detected: Set(true),
        baseline: Set(Some(baseline.to_owned())),
        ..running.progress_row()
    };
    running.write(change, events).await?;
    let Broken { main, snapshot } = &mut sessions;
    running
        .save(Stage::Broken, main, snapshot.as_mut(), Some(compaction))
        .await?;
    Ok(Dive::Broke(sessions))
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

/// What was put back, as people read it.
fn put_back(compaction: &Compaction) -> String {
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

/// Tells that there was no break.
pub(crate) async fn no_break(running: &mut Running, plan: Plan) -> Result<Dive, StageError> {
    running.reach(2);
    let why = plan.why_none(
        running.task.trigger,
        running.adapter.profile().capabilities,
        running.figures.deep_dive_iterations,
    );
    let event = Event::NoBreak {
        agent: running.who.agent.clone(),
        trial: running.who.trial,
        why: why.join("; "),
    };
    let event = running.who.event(Level::Warning, event);
    let change = running.progress_row();
    running.write(change, vec![event]).await?;
    Ok(Dive::NoBreak)
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
    fn what_was_put_back_is_told_with_its_file_and_old_evidence_can_be_read() {
        let stored = r#"{"summary": null, "reinjected": ["old", {"name": "a.rs", "text": "new"}]}"#;
        let evidence: Evidence = serde_json::from_str(stored).expect("both shapes");
        let told: Vec<String> = evidence.reinjected.iter().map(PutBack::told).collect();
        assert_eq!(told, ["old", "File `a.rs`:\nnew"]);
        let again = serde_json::to_string(&evidence).expect("JSON");
        let again: Evidence = serde_json::from_str(&again).expect("what was written");
        assert_eq!(again.reinjected, evidence.reinjected);
    }
}
