//! Checks of breaks: real ones and apparent ones.

use std::time::Duration;

use agents::adapter::{AgentSession, Turn};
use agents::event::{AgentEvent, Compaction, CompactionTrigger};
use anyhow::{Context as _, ensure};

use super::bench::{Bench, CONTEXT, filler, send, unique_word};
use super::check::{CheckResult, declared};
use crate::model_stub::{Fault, Purpose};

/// Characters of one filling prompt.
const FILLER_CHARS: usize = 24_000;
/// Number of filling prompts that displace everything earlier from the end of a conversation that a
/// program keeps: ten messages, a third of it, or 80,000 characters of the user's messages.
const FULL_FILLING: u32 = 6;
/// Number of filling prompts after which there is something to compact.
const SHORT_FILLING: u32 = 2;
/// Number of turns in which a context must become full.
const MAX_TURNS: u32 = 20;

/// Returns the only compaction of a turn, if the model was asked for a summary.
fn proved_compaction(
    bench: &Bench,
    turn: &Turn,
    trigger: CompactionTrigger,
) -> anyhow::Result<Compaction> {
    let compaction = turn
        .compactions
        .first()
        .context("no compaction was reported")?;
    ensure!(
        turn.compactions.len() == 1,
        "{} compactions were reported instead of one",
        turn.compactions.len()
    );
    ensure!(
        compaction.trigger == trigger,
        "the reported trigger is {:?}",
        compaction.trigger
    );
    let summaries = bench
        .stub
        .requests()
        .iter()
        .filter(|request| request.purpose == Purpose::Compaction && request.status == 200)
        .count();
    ensure!(summaries > 0, "the model was not asked for a summary");
    if let (Some(before), Some(after)) = (compaction.tokens_before, compaction.tokens_after) {
        ensure!(after < before, "{before} tokens became {after}");
    }
    Ok(compaction.clone())
}

/// Waits for the event of the compaction. It may arrive at the recorder after the end of the turn.
async fn event_arrived(bench: &Bench) -> anyhow::Result<()> {
    let has_arrived = || {
        let events = bench.recorder.events();
        events
            .iter()
            .any(|event| matches!(event, AgentEvent::Compacted(_)))
    };
    let waited = tokio::time::timeout(Duration::from_secs(5), async {
        while !has_arrived() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited
        .await
        .map_err(|_| anyhow::anyhow!("no event reported the compaction"))
}

/// Fills a conversation without a break.
async fn fill(session: &mut Box<dyn AgentSession>, prompts: u32) -> anyhow::Result<()> {
    for number in 0..prompts {
        let turn = send(session, &filler(number, FILLER_CHARS)).await?;
        ensure!(
            turn.compactions.is_empty(),
            "it compacted by itself although it must not"
        );
    }
    Ok(())
}

/// The agent compacts by itself when its context is full, not earlier, and reports it.
pub(super) async fn auto(bench: &Bench) -> CheckResult {
    if !bench.adapter.profile().capabilities.auto_compaction {
        return declared("does not compact by itself");
    }
    let mut session = bench.open_with(|spec| spec.may_compact = true).await?;
    let mut sent = 0;
    for number in 0..MAX_TURNS {
        let turn = send(&mut session, &filler(number, FILLER_CHARS)).await?;
        if turn.compactions.is_empty() {
            sent = bench.last_request()?.input_tokens;
            continue;
        }
        proved_compaction(bench, &turn, CompactionTrigger::Auto)?;
        ensure!(
            sent >= CONTEXT / 2,
            "it compacted at {sent} tokens of a context of {CONTEXT}"
        );
        session.close().await;
        event_arrived(bench).await?;
        return Ok(None);
    }
    anyhow::bail!(
        "no compaction was reported in {MAX_TURNS} turns. The last request had {} tokens, in a context \
         of {CONTEXT}, and {} summaries were requested",
        bench.last_request()?.input_tokens,
        bench
            .stub
            .requests()
            .iter()
            .filter(|request| request.purpose == Purpose::Compaction)
            .count()
    );
}

/// With a lowered threshold the agent compacts in that turn, and only in that turn.
pub(super) async fn forced(bench: &Bench) -> CheckResult {
    if !bench.adapter.profile().capabilities.forced_compaction {
        return declared("cannot lower its threshold for one turn");
    }
    let mut session = bench.open().await?;
    fill(&mut session, SHORT_FILLING).await?;
    let turn = session.compact(CompactionTrigger::Auto).await?;
    proved_compaction(bench, &turn, CompactionTrigger::Auto)?;
    let after = send(&mut session, "REPEAT: on").await?;
    ensure!(after.compactions.is_empty(), "it compacted again");
    session.close().await;
    event_arrived(bench).await?;
    Ok(None)
}

/// The program's own command compacts.
pub(super) async fn manual(bench: &Bench) -> CheckResult {
    if !bench.adapter.profile().capabilities.manual_compaction {
        let mut session = bench.open().await?;
        send(&mut session, "REPEAT: something").await?;
        let attempt = session.compact(CompactionTrigger::Manual).await;
        ensure!(
            attempt.is_err_and(|failure| failure.cause == agents::failure::Cause::Harness),
            "it has no compact command, but using it does not fail with the cause harness"
        );
        return declared("has no compact command that works without a terminal");
    }
    let mut session = bench.open().await?;
    fill(&mut session, FULL_FILLING).await?;
    let turn = session.compact(CompactionTrigger::Manual).await?;
    proved_compaction(bench, &turn, CompactionTrigger::Manual)?;
    session.close().await;
    event_arrived(bench).await?;
    Ok(None)
}

/// Returns the triggers by which a break can be requested.
fn triggers(bench: &Bench) -> Vec<CompactionTrigger> {
    let capabilities = bench.adapter.profile().capabilities;
    [
        (capabilities.manual_compaction, CompactionTrigger::Manual),
        (capabilities.forced_compaction, CompactionTrigger::Auto),
    ]
    .into_iter()
    .filter_map(|(supported, trigger)| supported.then_some(trigger))
    .collect()
}

/// A failed compaction, or one with an empty summary, is not a break: the earlier messages are
/// still there, and no break is reported.
pub(super) async fn failed(bench: &Bench) -> CheckResult {
    let triggers = triggers(bench);
    if triggers.is_empty() {
        return declared("cannot compact on request");
    }
    for (number, (trigger, fault)) in triggers
        .iter()
        .flat_map(|trigger| {
            [
                Fault::OnlyCompaction(Box::new(Fault::BadRequest)),
                Fault::EmptySummary,
            ]
            .map(|fault| (*trigger, fault))
        })
        .enumerate()
    {
        let number = u32::try_from(number)? + 1;
        let spec = bench.spec(number, agents::adapter::Access::Workspace)?;
        let mut session = bench.adapter.open(spec).await?;
        let marker = unique_word("said");
        send(&mut session, &format!("Keep this in mind: {marker}")).await?;
        fill(&mut session, SHORT_FILLING).await?;
        bench.stub.fail(fault.clone(), usize::MAX);
        let attempt = session.compact(trigger).await;
        bench.stub.heal();
        let compactions = attempt.map(|turn| turn.compactions).unwrap_or_default();
        let has_break = !compactions.is_empty();
        let turn = send(&mut session, "RECALL: said-").await?;
        // A reported reinjection is present after a real break, too.
        let still_there = turn.text.contains(&marker) && !reinjects(&compactions, &marker);
        session.close().await;
        // A program may accept an empty summary. Then it must be a real break as well.
        ensure!(
            has_break != still_there,
            "{trigger:?} with {fault:?}: a break was {}, and the earlier messages are {}",
            if has_break {
                "reported"
            } else {
                "not reported"
            },
            if still_there { "still there" } else { "gone" },
        );
        ensure!(
            !has_break || fault == Fault::EmptySummary,
            "{trigger:?}: a refused summary was reported as a break"
        );
    }
    Ok(None)
}

/// Returns whether a break reports that it reinjected a text.
fn reinjects(compactions: &[Compaction], text: &str) -> bool {
    compactions
        .iter()
        .flat_map(|compaction| &compaction.reinjected)
        .any(|part| part.text.contains(text))
}

/// After a break the requests no longer contain the first message.
pub(super) async fn secret(bench: &Bench) -> CheckResult {
    let triggers = triggers(bench);
    if triggers.is_empty() {
        return declared("cannot compact on request");
    }
    for (number, trigger) in triggers.into_iter().enumerate() {
        let number = u32::try_from(number)? + 1;
        let spec = bench.spec(number, agents::adapter::Access::Workspace)?;
        let mut session = bench.adapter.open(spec).await?;
        let secret = unique_word("secret");
        send(&mut session, &format!("Keep this in mind: {secret}")).await?;
        fill(&mut session, FULL_FILLING).await?;
        // A copy is asked, because the answer would become part of the conversation.
        if bench.adapter.profile().capabilities.fork {
            let mut copy = session.fork(agents::adapter::Access::Sealed).await?;
            let turn = send(&mut copy, "RECALL: secret-").await?;
            copy.close().await;
            ensure!(
                turn.text.contains(&secret),
                "the first message was missing before the break"
            );
        }
        let summary = session.compact(trigger).await?;
        ensure!(
            !summary.compactions.is_empty(),
            "no compaction was reported"
        );
        // Some programs keep the last answer. It is displaced from the end, too.
        for number in 0..2 {
            send(&mut session, &filler(100 + number, 200)).await?;
        }
        send(&mut session, "REPEAT: done").await?;
        let request = bench.last_request()?;
        session.close().await;
        ensure!(
            !request.contains(&secret) || reinjects(&summary.compactions, &secret),
            "{trigger:?}: the first message is still in the request after the break, and no reinjection \
             is reported"
        );
    }
    Ok(None)
}
