//! The deep dive: teaches the items that only the conversation defines, then reads until the
//! context is compacted.

use std::collections::{BTreeMap, BTreeSet};

use agents::adapter::Access;
use agents::event::{Compaction, CompactionTrigger};
use prompts::{DeepDive, Prompt};

use results::run_stats::FIRST_BREAK;

use crate::job_error::JobError;
use crate::run::checkpoint::SavedStage;
use crate::run::context::{BrokenSessions, RunContext, Session, phase, run_seed};
use crate::run::phases::break_::{
    BreakConditions, DiveResult, merge_compactions, record_break, record_no_break,
};
use crate::run::phases::split_baseline::ask_first_half;
use crate::run::phases::study::too_small;
use crate::run::reading_plan::{ReadingPlan, heading};

/// Sends the teaching in its turns, and saves the run.
pub(crate) async fn teach(
    context: &mut RunContext,
    mut main: Session,
) -> Result<Session, JobError> {
    context.enter_phase(phase::DEEP_DIVE).await?;
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
        let compactions = deep_dive_turn(context, &mut main, teaching, &[]).await?;
        if !compactions.is_empty() {
            return Err(too_small(context));
        }
        context.record_planted(probes.remove(turn).unwrap_or_default());
    }
    context
        .save(SavedStage::Taught, &mut main, None, None)
        .await?;
    Ok(main)
}

/// Reads until the break.
pub(crate) async fn read_until_break(
    context: &mut RunContext,
    mut main: Session,
) -> Result<DiveResult, JobError> {
    context.enter_phase(phase::DEEP_DIVE).await?;
    let plan = context.plan();
    let mut reading_plan = ReadingPlan::new(
        &context.work_dir.workspace(),
        &context.material.pull_request,
        run_seed(context.task.seed, &context.identity),
        context.context_tokens,
    )
    .await?;
    let mut context_size = context.stats.total_tokens;
    let mut snapshot = snapshot(context, &mut main).await?;
    if snapshot.is_none() {
        ask_first_half(context, &mut main).await?;
    }
    let mut full_before = false;
    let most = context.worker.settings.max_turns;
    // A later break has as many turns as the first one.
    let mut turns = if context.break_index == FIRST_BREAK {
        context.stats.deep_dive_iterations
    } else {
        0
    };
    // Completed reading turns. At least one comes before every break: the program may keep the end
    // of the conversation verbatim, and that must not be the last teaching or correction.
    let mut read = 0;
    loop {
        if read > 0 && !plan.reads_on {
            break;
        }
        if read > 0 && turns >= most {
            context.stats.hit_limit = true;
            break;
        }
        turns += 1;
        // A program that compacts by itself gets one turn to do so once its context is full.
        let full = context_size.is_some_and(|context_size| context_size >= context.break_size());
        if read > 0 && full && (full_before || !plan.by_itself) {
            break;
        }
        full_before = full;
        let files = reading_plan.next_turn();
        let compactions = deep_dive_turn(context, &mut main, &[], &files).await?;
        if let Some(compaction) = merge_compactions(compactions) {
            let conditions = BreakConditions {
                forced: false,
                sealed: false,
                read,
            };
            let sessions = BrokenSessions { main, snapshot };
            return record_break(context, sessions, compaction, context_size, conditions).await;
        }
        read += 1;
        context_size = context.stats.total_tokens;
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
            // At this break nothing can be read from disk again, and an attempt is detected.
            context.seal().await?;
            sealed = true;
        }
        let turn = main.compact(how).await?;
        let heading = match how {
            CompactionTrigger::Auto => "(one turn with the agent's own threshold lowered)",
            CompactionTrigger::Manual => "(the agent's own compact command)",
        };
        context.record_turn(phase::BREAK, heading, &turn);
        context.record_main_line(&turn);
        if sealed {
            context.check_seal(&turn).await?;
        }
        if let Some(compaction) = merge_compactions(turn.compactions) {
            let conditions = BreakConditions {
                forced: how == CompactionTrigger::Auto,
                sealed,
                read,
            };
            let sessions = BrokenSessions { main, snapshot };
            return record_break(context, sessions, compaction, context_size, conditions).await;
        }
    }
    if let Some(snapshot) = snapshot {
        snapshot.close().await;
    }
    main.close().await;
    record_no_break(context, plan).await
}

/// Performs one turn of the deep dive.
async fn deep_dive_turn(
    context: &mut RunContext,
    main: &mut Session,
    teaching: &[String],
    files: &[String],
) -> Result<Vec<Compaction>, JobError> {
    context.stats.deep_dive_iterations += 1;
    let turn = context.stats.deep_dive_iterations;
    let text = DeepDive {
        turn,
        teaching,
        files,
    }
    .render()?;
    let turn = context
        .prompt_main_line(main, &heading(turn), &text)
        .await?;
    Ok(turn.compactions)
}

/// Returns a sealed fork, if the agent can fork.
async fn snapshot(context: &RunContext, main: &mut Session) -> Result<Option<Session>, JobError> {
    if !context.can_fork() {
        return Ok(None);
    }
    Ok(Some(main.fork(Access::Sealed).await?))
}
