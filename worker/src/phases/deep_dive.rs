//! Turn after turn: what only the conversation defines, then reading on until the context breaks.

use std::collections::{BTreeMap, BTreeSet};

use agents::adapter::Access;
use agents::event::{Compaction, CompactionTrigger};
use prompts::{DeepDive, Prompt};

use super::breaking::{Dive, Kind, broke, no_break, together};
use super::checkpoint::Stage;
use super::reading::{ReadingList, heading};
use results::run_stats::FIRST_BREAK;

use super::running::{Broken, Running, Session, phase, seed};
use super::split;
use super::study::too_small;
use crate::job::StageError;

/// Says the teaching, in its turns, and saves the run.
pub(crate) async fn teach(running: &mut Running, mut main: Session) -> Result<Session, StageError> {
    running.enter(phase::DEEP_DIVE).await?;
    let mut turns: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut probes: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for lesson in &running.material.probe_set.teaching {
        turns
            .entry(lesson.turn)
            .or_default()
            .push(lesson.text.clone());
        probes
            .entry(lesson.turn)
            .or_default()
            .extend(lesson.probes.iter().cloned());
    }
    for (turn, teaching) in &turns {
        let compactions = dive_once(running, &mut main, teaching, &[]).await?;
        if !compactions.is_empty() {
            return Err(too_small(running));
        }
        running.plant(probes.remove(turn).unwrap_or_default());
    }
    running.save(Stage::Taught, &mut main, None, None).await?;
    Ok(main)
}

/// Reads on until the break.
pub(crate) async fn dive(running: &mut Running, mut main: Session) -> Result<Dive, StageError> {
    running.enter(phase::DEEP_DIVE).await?;
    let plan = running.plan();
    let mut reading = ReadingList::draw(
        &running.folder.workspace(),
        &running.material.pull_request,
        seed(running.task.seed, &running.who),
        running.context_tokens,
    )
    .await?;
    let mut context = running.figures.total_tokens;
    let mut snapshot = snapshot(running, &mut main).await?;
    if snapshot.is_none() {
        split::before(running, &mut main).await?;
    }
    let mut full_before = false;
    let most = running.worker.settings.max_turns;
    // A later break has the turns of the first one, and those only.
    let mut turns = if running.break_index == FIRST_BREAK {
        running.figures.deep_dive_iterations
    } else {
        0
    };
    // Turns of reading that are over. One comes before every break, whatever brings it about: what
    // a program keeps word for word at a break, the end of the conversation, must not be what was
    // taught or corrected last.
    let mut read = 0;
    loop {
        if read > 0 && !plan.reads_on {
            break;
        }
        if read > 0 && turns >= most {
            running.figures.hit_limit = true;
            break;
        }
        turns += 1;
        // A program that compacts by itself gets one turn to do so once its context is full.
        let full = context.is_some_and(|context| context >= running.break_size());
        if read > 0 && full && (full_before || !plan.by_itself) {
            break;
        }
        full_before = full;
        let files = reading.next_turn();
        let compactions = dive_once(running, &mut main, &[], &files).await?;
        if let Some(compaction) = together(compactions) {
            let kind = Kind {
                forced: false,
                sealed: false,
                read,
            };
            let sessions = Broken { main, snapshot };
            return broke(running, sessions, compaction, context, kind).await;
        }
        read += 1;
        context = running.figures.total_tokens;
        let newer = self::snapshot(running, &mut main).await?;
        if let Some(older) = std::mem::replace(&mut snapshot, newer) {
            older.close().await;
        }
    }
    let mut sealed = false;
    for (planned, how, seal) in [
        (plan.forced, CompactionTrigger::Auto, plan.seal_forced),
        (plan.manual, CompactionTrigger::Manual, plan.seal_manual),
    ] {
        if !planned {
            continue;
        }
        if seal && !sealed {
            // Nothing can be read again from the disk at this break; what tries is seen.
            running.seal().await?;
            sealed = true;
        }
        let turn = main.compact(how).await?;
        let heading = match how {
            CompactionTrigger::Auto => "(one turn with the agent's own threshold lowered)",
            CompactionTrigger::Manual => "(the agent's own compact command)",
        };
        running.note(phase::BREAK, heading, &turn);
        running.main_line(&turn);
        if sealed {
            running.check_seal(&turn).await?;
        }
        if let Some(compaction) = together(turn.compactions) {
            let kind = Kind {
                forced: how == CompactionTrigger::Auto,
                sealed,
                read,
            };
            let sessions = Broken { main, snapshot };
            return broke(running, sessions, compaction, context, kind).await;
        }
    }
    if let Some(snapshot) = snapshot {
        snapshot.close().await;
    }
    main.close().await;
    no_break(running, plan).await
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

/// A sealed copy, where the agent can copy a conversation.
async fn snapshot(running: &Running, main: &mut Session) -> Result<Option<Session>, StageError> {
    if !running.forks() {
        return Ok(None);
    }
    Ok(Some(main.fork(Access::Sealed).await?))
}
