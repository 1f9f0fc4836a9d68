//! Turn after turn: what only the conversation defines, then reading on until the context_size breaks.

use std::collections::{BTreeMap, BTreeSet};

use agents::adapter::Access;
use agents::event::{Compaction, CompactionTrigger};
use prompts::{DeepDive, Prompt};

use results::run_stats::FIRST_BREAK;


/// Says the teaching, in its turns, and saves the run.
pub(crate) async fn teach(context: &mut RunContext, mut main: Session) -> Result<Session, JobError> {
    context.enter(phase::DEEP_DIVE).await?;
    let mut turns: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut probes: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for lesson in &context.material.probe_set.teaching {
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
        let compactions = dive_once(context, &mut main, teaching, &[]).await?;
        if !compactions.is_empty() {
            return Err(too_small(context));
        }
        context.plant(probes.remove(turn).unwrap_or_default());
    }
    context.save(Stage::Taught, &mut main, None, None).await?;
    Ok(main)
}

/// Reads on until the break.
pub(crate) async fn dive(context: &mut RunContext, mut main: Session) -> Result<Dive, JobError> {
    context.enter(phase::DEEP_DIVE).await?;
    let plan = context.plan();
    let mut reading = ReadingPlan::draw(
        &context.folder.workspace(),
        &context.material.pull_request,
        seed(context.task.seed, &context.who),
        context.context_tokens,
    )
    .await?;
    let mut context_size = context.figures.total_tokens;
    let mut snapshot = snapshot(context, &mut main).await?;
    if snapshot.is_none() {
        split::before(context, &mut main).await?;
    }
    let mut full_before = false;
    let most = context.worker.settings.max_turns;
    // A later break has the turns of the first one, and those only.
    let mut turns = if context.break_index == FIRST_BREAK {
        context.figures.deep_dive_iterations
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
            context.figures.hit_limit = true;
            break;
        }
        turns += 1;
        // A program that compacts by itself gets one turn to do so once its context_size is full.
        let full = context_size.is_some_and(|context_size| context_size >= context.break_size());
        if read > 0 && full && (full_before || !plan.by_itself) {
            break;
        }
        full_before = full;
        let files = reading.next_turn();
        let compactions = dive_once(context, &mut main, &[], &files).await?;
        if let Some(compaction) = together(compactions) {
            let kind = Kind {
                forced: false,
                sealed: false,
                read,
            };
            let sessions = BrokenSessions { main, snapshot };
            return broke(context, sessions, compaction, context_size, kind).await;
        }
        read += 1;
        context_size = context.figures.total_tokens;
        let newer = self::snapshot(context, &mut main).await?;
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
            context.seal().await?;
            sealed = true;
        }
        let turn = main.compact(how).await?;
        let heading = match how {
            CompactionTrigger::Auto => "(one turn with the agent's own threshold lowered)",
            CompactionTrigger::Manual => "(the agent's own compact command)",
        };
        context.note(phase::BREAK, heading, &turn);
        context.main_line(&turn);
        if sealed {
            context.check_seal(&turn).await?;
        }
        if let Some(compaction) = together(turn.compactions) {
            let kind = Kind {
                forced: how == CompactionTrigger::Auto,
                sealed,
                read,
            };
            let sessions = BrokenSessions { main, snapshot };
            return broke(context, sessions, compaction, context_size, kind).await;
        }
    }
    if let Some(snapshot) = snapshot {
        snapshot.close().await;
    }
    main.close().await;
    no_break(context, plan).await
}

/// One turn of the deep dive.
async fn dive_once(
    context: &mut RunContext,
    main: &mut Session,
    teaching: &[String],
    files: &[String],
) -> Result<Vec<Compaction>, JobError> {
    context.figures.deep_dive_iterations += 1;
    let turn = context.figures.deep_dive_iterations;
    let text = DeepDive {
        turn,
        teaching,
        files,
    }
    .render()?;
    let turn = context.say(main, &heading(turn), &text).await?;
    Ok(turn.compactions)
}

/// A sealed copy, where the agent can copy a conversation.
async fn snapshot(context: &RunContext, main: &mut Session) -> Result<Option<Session>, JobError> {
    if !context.forks() {
        return Ok(None);
    }
    Ok(Some(main.fork(Access::Sealed).await?))
}
