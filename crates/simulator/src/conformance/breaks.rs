//! Breaks: real ones, and those that only look like one.

use std::time::Duration;

use agents::adapter::{AgentSession, Turn};
use agents::event::{AgentEvent, Compaction, CompactionTrigger};
use anyhow::{Context as _, ensure};

use super::Found;
use super::bench::{Bench, CONTEXT, filler, say, word};
use super::conversation::declared;
use crate::model_stub::{Fault, Purpose};

/// Characters of one filling turn.
const FILLING: usize = 24_000;
/// So many of them push everything before them out of whatever a program keeps of the end of a
/// conversation: ten messages, a third of it, or 80,000 characters of what a user said.
const FILLINGS: u32 = 6;
/// So many are enough for there to be something to compact.
const A_FEW: u32 = 2;
/// Turns in which a context must be full.
const MOST_TURNS: u32 = 20;

/// The one compaction of a turn, which the model was really asked for.
fn proved(bench: &Bench, turn: &Turn, trigger: CompactionTrigger) -> anyhow::Result<Compaction> {
    let compaction = turn.compactions.first().context("no compaction is told")?;
    ensure!(
        turn.compactions.len() == 1,
        "{} compactions are told",
        turn.compactions.len()
    );
    ensure!(
        compaction.trigger == trigger,
        "{:?} is told to have brought it about",
        compaction.trigger
    );
    let asked = bench
        .stub
        .requests()
        .iter()
        .filter(|request| request.purpose == Purpose::Compaction && request.status == 200)
        .count();
    ensure!(asked > 0, "the model was not asked for a summary");
    if let (Some(before), Some(after)) = (compaction.tokens_before, compaction.tokens_after) {
        ensure!(after < before, "{before} tokens became {after}");
    }
    Ok(compaction.clone())
}

/// An event told of the compaction. It may still be on its way from the session to the bench's
/// listener when the turn is over.
async fn told(bench: &Bench) -> anyhow::Result<()> {
    let is_told = || {
        let events = bench.kept.events();
        events
            .iter()
            .any(|event| matches!(event, AgentEvent::Compacted(_)))
    };
    let heard = tokio::time::timeout(Duration::from_secs(5), async {
        while !is_told() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    heard
        .await
        .map_err(|_| anyhow::anyhow!("no event told of the compaction"))
}

/// Fills a conversation, without a break.
async fn fill(session: &mut Box<dyn AgentSession>, fillings: u32) -> anyhow::Result<()> {
    for number in 0..fillings {
        let turn = say(session, &filler(number, FILLING)).await?;
        ensure!(
            turn.compactions.is_empty(),
            "it compacted by itself although it was told not to"
        );
    }
    Ok(())
}

/// When its context is full the agent compacts by itself, not before, and says so.
pub(super) async fn auto(bench: &Bench) -> Found {
    if !bench.adapter.profile().capabilities.auto_compaction {
        return declared("does not compact by itself");
    }
    let mut session = bench.open_with(|spec| spec.may_compact = true).await?;
    let mut sent = 0;
    for number in 0..MOST_TURNS {
        let turn = say(&mut session, &filler(number, FILLING)).await?;
        if turn.compactions.is_empty() {
            sent = bench.last()?.input_tokens;
            continue;
        }
        proved(bench, &turn, CompactionTrigger::Auto)?;
        ensure!(
            sent >= CONTEXT / 2,
            "it compacted at {sent} tokens of a context of {CONTEXT}"
        );
        session.close().await;
        told(bench).await?;
        return Ok(None);
    }
    anyhow::bail!(
        "no compaction was told in {MOST_TURNS} turns; {} tokens were sent last, in a context of \
         {CONTEXT}, and {} summaries were asked for",
        bench.last()?.input_tokens,
        bench
            .stub
            .requests()
            .iter()
            .filter(|request| request.purpose == Purpose::Compaction)
            .count()
    );
}

/// With its threshold lowered the agent compacts in that turn, and only in that one.
pub(super) async fn forced(bench: &Bench) -> Found {
    if !bench.adapter.profile().capabilities.forced_compaction {
        return declared("its threshold cannot be lowered for a turn");
    }
    let mut session = bench.open().await?;
    fill(&mut session, A_FEW).await?;
    let turn = session.compact(CompactionTrigger::Auto).await?;
    proved(bench, &turn, CompactionTrigger::Auto)?;
    let after = say(&mut session, "REPEAT: on").await?;
    ensure!(after.compactions.is_empty(), "it compacted again");
    session.close().await;
    told(bench).await?;
    Ok(None)
}

/// The program's own command compacts.
pub(super) async fn manual(bench: &Bench) -> Found {
    if !bench.adapter.profile().capabilities.manual_compaction {
        let mut session = bench.open().await?;
        say(&mut session, "REPEAT: something").await?;
        let tried = session.compact(CompactionTrigger::Manual).await;
        ensure!(
            tried.is_err_and(|failure| failure.cause == agents::failure::Cause::Harness),
            "it has no command of its own, but does not say so when it is asked to use it"
        );
        return declared("has no compact command that works headless");
    }
    let mut session = bench.open().await?;
    fill(&mut session, FILLINGS).await?;
    let turn = session.compact(CompactionTrigger::Manual).await?;
    proved(bench, &turn, CompactionTrigger::Manual)?;
    session.close().await;
    told(bench).await?;
    Ok(None)
}

/// The ways in which a break can be brought about.
fn ways(bench: &Bench) -> Vec<CompactionTrigger> {
    let can = bench.adapter.profile().capabilities;
    [
        (can.manual_compaction, CompactionTrigger::Manual),
        (can.forced_compaction, CompactionTrigger::Auto),
    ]
    .into_iter()
    .filter_map(|(can, way)| can.then_some(way))
    .collect()
}

/// A compaction that failed, or that kept nothing at all, is no break: what was said before is
/// still there, and nobody says otherwise.
pub(super) async fn failed(bench: &Bench) -> Found {
    let ways = ways(bench);
    if ways.is_empty() {
        return declared("a break cannot be brought about");
    }
    for (number, (way, fault)) in ways
        .iter()
        .flat_map(|way| {
            [
                Fault::OnlyCompaction(Box::new(Fault::BadRequest)),
                Fault::EmptySummary,
            ]
            .map(|fault| (*way, fault))
        })
        .enumerate()
    {
        let number = u32::try_from(number)? + 1;
        let spec = bench.spec(number, agents::adapter::Access::Workspace)?;
        let mut session = bench.adapter.open(spec).await?;
        let said = word("said");
        say(&mut session, &format!("Keep this in mind: {said}")).await?;
        fill(&mut session, A_FEW).await?;
        bench.stub.fail(fault.clone(), usize::MAX);
        let tried = session.compact(way).await;
        bench.stub.heal();
        let compactions = tried.map(|turn| turn.compactions).unwrap_or_default();
        let broke = !compactions.is_empty();
        let turn = say(&mut session, "RECALL: said-").await?;
        // What is told to be put back is there after a real break too.
        let still_there = turn.text.contains(&said) && !puts_back(&compactions, &said);
        session.close().await;
        // An empty summary may be taken by a program: then it must be a break in truth as well.
        ensure!(
            broke != still_there,
            "{way:?} with {fault:?}: a break was {}, and what was said before is {}",
            if broke { "told" } else { "not told" },
            if still_there { "still there" } else { "gone" },
        );
        ensure!(
            !broke || fault == Fault::EmptySummary,
            "{way:?}: a refused summary was taken for a break"
        );
    }
    Ok(None)
}

/// Whether a break is told to have put a text back.
fn puts_back(compactions: &[Compaction], text: &str) -> bool {
    compactions
        .iter()
        .flat_map(|compaction| &compaction.reinjected)
        .any(|put_back| put_back.text.contains(text))
}

/// After a break the requests really lack what was said in the first turn.
pub(super) async fn secret(bench: &Bench) -> Found {
    let ways = ways(bench);
    if ways.is_empty() {
        return declared("a break cannot be brought about");
    }
    for (number, way) in ways.into_iter().enumerate() {
        let number = u32::try_from(number)? + 1;
        let spec = bench.spec(number, agents::adapter::Access::Workspace)?;
        let mut session = bench.adapter.open(spec).await?;
        let secret = word("secret");
        say(&mut session, &format!("Keep this in mind: {secret}")).await?;
        fill(&mut session, FILLINGS).await?;
        // A copy is asked: the answer would stand in the conversation.
        if bench.adapter.profile().capabilities.fork {
            let mut copy = session.fork(agents::adapter::Access::Sealed).await?;
            let turn = say(&mut copy, "RECALL: secret-").await?;
            copy.close().await;
            ensure!(
                turn.text.contains(&secret),
                "it was not there before the break"
            );
        }
        let summary = session.compact(way).await?;
        ensure!(!summary.compactions.is_empty(), "no compaction is told");
        // The answer of the last turn is kept by some programs: it is pushed out of the end too.
        for filling in 0..2 {
            say(&mut session, &filler(100 + filling, 200)).await?;
        }
        say(&mut session, "REPEAT: done").await?;
        let request = bench.last()?;
        session.close().await;
        ensure!(
            !request.contains(&secret) || puts_back(&summary.compactions, &secret),
            "{way:?}: what was said in the first turn still stands in the request after the break, \
             and nobody says that it was put back"
        );
    }
    Ok(None)
}
