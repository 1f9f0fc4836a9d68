//! Turn after turn: what only the conversation defines, then reading on until the context breaks.

use agents::adapter::Access;
use agents::event::{Compaction, CompactionTrigger};
use entity::agent_run;
use entity::status::{Level, Trigger};
use platform::events::Event;
use prompts::{DeepDive, Prompt};
use sea_orm::ActiveValue::Set;
use serde_json::json;
use std::collections::BTreeMap;

use super::checkpoint::Stage;
use super::reading::{ReadingList, heading};
use super::running::{Broken, Running, Session, phase, seed};
use super::study::too_small;
use crate::job::StageError;

/// How the deep dive ended.
pub(crate) enum Dive {
    Broke(Broken),
    /// No evidence of a break; the run has been told so.
    NoBreak,
}

/// Says the teaching, in its turns, and saves the run.
pub(crate) async fn teach(running: &mut Running, mut main: Session) -> Result<Session, StageError> {
    running.enter(phase::DEEP_DIVE).await?;
    let mut turns: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for lesson in &running.material.probe_set.teaching {
        turns
            .entry(lesson.turn)
            .or_default()
            .push(lesson.text.clone());
    }
    for teaching in turns.values() {
        let compactions = dive_once(running, &mut main, teaching, &[]).await?;
        if !compactions.is_empty() {
            return Err(too_small(running));
        }
    }
    running.save(Stage::Taught, &mut main, None, None).await?;
    Ok(main)
}

/// Reads on until the break.
pub(crate) async fn dive(running: &mut Running, mut main: Session) -> Result<Dive, StageError> {
    running.enter(phase::DEEP_DIVE).await?;
    let capabilities = running.adapter.profile().capabilities;
    let (auto, manual) = match running.task.trigger {
        Trigger::Auto => (true, false),
        Trigger::Manual => (false, true),
        Trigger::AutoThenManual => (true, true),
    };
    let mut reading = ReadingList::draw(
        &running.folder.workspace(),
        &running.material.pull_request,
        seed(running.task.seed, &running.who),
        running.context_tokens,
    )
    .await?;
    let mut context = running.figures.total_tokens;
    let mut snapshot = fork(&mut main).await?;
    if auto && capabilities.auto_compaction {
        while running.figures.deep_dive_iterations < running.worker.settings.max_turns {
            let files = reading.next_turn();
            let compactions = dive_once(running, &mut main, &[], &files).await?;
            if let Some(compaction) = compactions.into_iter().next() {
                return broke(running, main, snapshot, compaction, context).await;
            }
            context = running.figures.total_tokens;
            let newer = fork(&mut main).await?;
            std::mem::replace(&mut snapshot, newer).close().await;
        }
        running.figures.hit_limit = true;
    }
    if manual && capabilities.manual_compaction {
        // Nothing may be read again from the disk at a break that we bring about.
        running.seal().await?;
        let turn = main.compact(CompactionTrigger::Manual).await?;
        running.note(phase::BREAK, "(the agent's own compact command)", &turn);
        if let Some(compaction) = turn.compactions.into_iter().next() {
            return broke(running, main, snapshot, compaction, context).await;
        }
    }
    snapshot.close().await;
    main.close().await;
    no_break(running, auto, manual).await
}

/// One turn of the deep dive.
async fn dive_once(
    running: &mut Running,
    main: &mut Session,
    teaching: &[String],
    files: &[String],
) -> Result<Vec<Compaction>, StageError> {
    running.figures.deep_dive_iterations += 1;
    let turn = running.figures.deep_dive_iterations;
    let text = DeepDive {
        turn,
        teaching,
        files,
    }
    .render()?;
    let turn = running.say(main, &heading(turn), &text).await?;
    Ok(turn.compactions)
}

/// A sealed copy.
async fn fork(session: &mut Session) -> Result<Session, StageError> {
    Ok(session.fork(Access::Sealed).await?)
}

/// Records the evidence of the break and saves the run.
async fn broke(
    running: &mut Running,
    mut main: Session,
    mut snapshot: Session,
    compaction: Compaction,
    context: Option<u64>,
) -> Result<Dive, StageError> {
    running.reach(2);
    running.enter(phase::BREAK).await?;
    running.figures.pre_compression_tokens = compaction.tokens_before.or(context);
    let trigger = match compaction.trigger {
        CompactionTrigger::Auto => "auto",
        CompactionTrigger::Manual => "manual",
    };
    let summary_artifact = match &compaction.summary {
        Some(summary) => {
            running
                .keep("compaction_summary", "text/plain", summary)
                .await?;
            Some("compaction_summary")
        }
        None => None,
    };
    let event = Event::BreakSeen {
        agent: running.who.agent.clone(),
        trial: running.who.trial,
        trigger: trigger.to_owned(),
        tokens_before: compaction.tokens_before,
        tokens_after: compaction.tokens_after,
    };
    let event = running.who.event(Level::Info, event);
    let change = agent_run::ActiveModel {
        breaks: Set(json!([{
            "trigger": trigger,
            "tokens_before": compaction.tokens_before,
            "tokens_after": compaction.tokens_after,
            "summary_artifact": summary_artifact,
        }])),
        compression_detected: Set(true),
        baseline: Set(Some("fork".to_owned())),
        ..running.progress_row()
    };
    running.write(change, vec![event]).await?;
    running
        .save(
            Stage::Broken,
            &mut main,
            Some(&mut snapshot),
            Some(compaction),
        )
        .await?;
    Ok(Dive::Broke(Broken { main, snapshot }))
}

async fn no_break(running: &mut Running, auto: bool, manual: bool) -> Result<Dive, StageError> {
    running.reach(2);
    let capabilities = running.adapter.profile().capabilities;
    let turns = running.figures.deep_dive_iterations;
    let mut why = Vec::new();
    if auto && capabilities.auto_compaction {
        why.push(format!(
            "no compaction by itself in {turns} turns (MAX_TURNS)"
        ));
    } else if auto {
        why.push("it does not compact by itself".to_owned());
    }
    if manual && capabilities.manual_compaction {
        why.push("its compact command compacted nothing".to_owned());
    } else if manual {
        why.push("it has no compact command".to_owned());
    }
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
