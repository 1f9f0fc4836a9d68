//! Checks of turns, tool calls, forks and resumed sessions.

use agents::adapter::{Access, Presence};
use agents::event::AgentEvent;
use anyhow::{Context as _, ensure};

use super::bench::{Bench, send, unique_word};
use super::check::{CheckResult, declared};

/// The program is installed and prints its version.
pub(super) async fn probe(bench: &Bench) -> CheckResult {
    match bench.adapter.probe().await {
        Presence::Installed { version, .. } => {
            ensure!(
                version.chars().any(|c| c.is_ascii_digit()),
                "{version:?} is not a version"
            );
            Ok(None)
        }
        Presence::Missing { why, fix } => anyhow::bail!("{why} ({fix})"),
    }
}

/// Prompts reach the model, its answers come back, and there are no other requests.
pub(super) async fn turn(bench: &Bench) -> CheckResult {
    let mut session = bench.open().await?;
    let (one, two) = (unique_word("one"), unique_word("two"));
    let turn = send(&mut session, &format!("REPEAT: {one}")).await?;
    ensure!(turn.text.trim() == one, "it answered {:?}", turn.text);
    let turn = send(&mut session, &format!("REPEAT: {two}")).await?;
    ensure!(turn.text.trim() == two, "it answered {:?}", turn.text);
    let requests = bench.stub.model_requests();
    ensure!(
        requests.len() == 2,
        "{} requests for two turns: {:?}",
        requests.len(),
        requests
            .iter()
            .map(|request| &request.path)
            .collect::<Vec<_>>()
    );
    ensure!(
        requests[1].contains(&one),
        "the second request does not contain the first turn"
    );
    session.close().await;
    let events = bench.recorder.events();
    ensure!(
        events
            .iter()
            .any(|event| matches!(event, AgentEvent::Text { text } if text.contains(&one))),
        "no event contains the answer"
    );
    ensure!(
        bench.recorder.raw().contains(&one),
        "the raw stream does not contain the answer"
    );
    Ok(None)
}

/// A file of the workspace is read by a tool, and its content reaches the model.
pub(super) async fn tool_call(bench: &Bench) -> CheckResult {
    let content = unique_word("content");
    bench.write_file("notes.txt", &format!("first\n{content}\nlast\n"))?;
    let mut session = bench.open().await?;
    let turn = send(&mut session, "Read these files:\n\n- `notes.txt`\n").await?;
    ensure!(!turn.tool_calls.is_empty(), "no tool call was reported");
    let call = &turn.tool_calls[0];
    ensure!(
        call.target.contains("notes.txt"),
        "the reported target of the call of {} is {:?}",
        call.tool,
        call.target
    );
    ensure!(
        bench.last_request()?.contains(&content),
        "the content did not reach the model"
    );
    session.close().await;
    Ok(None)
}

/// The size of the context and the billed tokens are reported.
pub(super) async fn usage(bench: &Bench) -> CheckResult {
    let mut session = bench.open().await?;
    let turn = send(&mut session, "REPEAT: so much").await?;
    session.close().await;
    if !bench.adapter.profile().capabilities.usage {
        ensure!(
            turn.usage.is_none(),
            "it reports a size, but declares that it does not"
        );
        return declared("does not report the size of its context");
    }
    let usage = turn
        .usage
        .context("the agent did not report the size of its context")?;
    let sent = bench.last_request()?.input_tokens;
    ensure!(
        usage.context >= sent / 2 && usage.context <= sent * 2,
        "it reports {} tokens in the context, but {sent} were sent",
        usage.context
    );
    if let Some(tokens) = turn.tokens {
        ensure!(
            tokens.input >= sent / 2 && tokens.input <= sent * 2 && tokens.output > 0,
            "it reports {tokens:?}, but {sent} were sent"
        );
    }
    Ok(None)
}

/// A copy has the messages of the original, and later turns of one do not reach the other.
pub(super) async fn fork(bench: &Bench) -> CheckResult {
    if !bench.adapter.profile().capabilities.fork {
        return declared("cannot copy a conversation");
    }
    let (before, copied, later) = (
        unique_word("before"),
        unique_word("copied"),
        unique_word("later"),
    );
    let mut session = bench.open().await?;
    send(&mut session, &format!("Keep this in mind: {before}")).await?;
    let state = session.checkpoint().await?.state;
    for access in [Access::Sealed, Access::Workspace] {
        let mut copy = session.fork(access).await?;
        let turn = send(&mut copy, "RECALL: before-").await?;
        ensure!(
            turn.text.contains(&before),
            "the copy lacks the earlier message: {:?}",
            turn.text
        );
        send(&mut copy, &format!("Keep this in mind: {copied}")).await?;
        copy.close().await;
    }
    let untouched = session.checkpoint().await?.state;
    ensure!(state == untouched, "the copy changed the original");
    let mut copy = session.fork(Access::Sealed).await?;
    send(&mut session, &format!("Keep this in mind: {later}")).await?;
    ensure!(
        !bench.last_request()?.contains(&copied),
        "a message of the copy reached the original"
    );
    let turn = send(&mut copy, "RECALL: later-").await?;
    ensure!(
        turn.text.trim() == "nothing",
        "a message of the original reached the copy: {:?}",
        turn.text
    );
    copy.close().await;
    session.close().await;
    Ok(None)
}

/// A conversation continues in another process and another HOME after the first process was killed.
pub(super) async fn resume(bench: &Bench) -> CheckResult {
    if !bench.adapter.profile().capabilities.resume {
        return declared("cannot continue from a checkpoint");
    }
    let marker = unique_word("said");
    let mut session = bench.open().await?;
    send(&mut session, &format!("Keep this in mind: {marker}")).await?;
    let checkpoint = session.checkpoint().await?;
    // Like the death of a worker: nothing is closed, and the HOME is gone.
    drop(session);
    std::fs::remove_dir_all(bench.home(1)).context("removing the first HOME")?;
    for (number, access) in [(2, Access::Workspace), (3, Access::Sealed)] {
        let spec = bench.spec(number, access)?;
        let mut session = bench.adapter.resume(spec, &checkpoint).await?;
        let turn = send(&mut session, "RECALL: said-").await?;
        ensure!(
            turn.text.contains(&marker),
            "it lacks the earlier message: {:?}",
            turn.text
        );
        session.close().await;
    }
    Ok(None)
}
