//! Saying, reading, forking, going on.

use agents::adapter::{Access, Presence};
use agents::event::AgentEvent;
use anyhow::{Context as _, ensure};

use super::Found;
use super::bench::{Bench, say, word};

/// Cannot be done, as declared.
pub(super) fn declared(what: &str) -> Found {
    Ok(Some(what.to_owned()))
}

/// The program is there and tells its version.
pub(super) async fn probe(bench: &Bench) -> Found {
    match bench.adapter.probe().await {
        Presence::Installed { version, .. } => {
            ensure!(
                version.chars().any(|c| c.is_ascii_digit()),
                "{version:?} is no version"
            );
            Ok(None)
        }
        Presence::Missing { why, fix } => anyhow::bail!("{why} ({fix})"),
    }
}

/// What is said reaches the model, what the model answers comes back, and nothing else is asked.
pub(super) async fn turn(bench: &Bench) -> Found {
    let mut session = bench.open().await?;
    let (one, two) = (word("one"), word("two"));
    let turn = say(&mut session, &format!("REPEAT: {one}")).await?;
    ensure!(turn.text.trim() == one, "it answered {:?}", turn.text);
    let turn = say(&mut session, &format!("REPEAT: {two}")).await?;
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
        "the second request does not hold the first turn"
    );
    session.close().await;
    let told = bench.kept.events();
    ensure!(
        told.iter()
            .any(|event| matches!(event, AgentEvent::Text { text } if text.contains(&one))),
        "no event told what it said"
    );
    ensure!(
        bench.kept.raw().contains(&one),
        "the raw stream is not kept"
    );
    Ok(None)
}

/// A file of the workspace is read by a tool, and its content reaches the model.
pub(super) async fn tool_call(bench: &Bench) -> Found {
    let content = word("content");
    bench.file("notes.txt", &format!("first\n{content}\nlast\n"))?;
    let mut session = bench.open().await?;
    let turn = say(&mut session, "Read these files:\n\n- `notes.txt`\n").await?;
    ensure!(!turn.tool_calls.is_empty(), "no tool call was told");
    let call = &turn.tool_calls[0];
    ensure!(
        call.target.contains("notes.txt"),
        "the call of {} is told to be on {:?}",
        call.tool,
        call.target
    );
    ensure!(
        bench.last()?.contains(&content),
        "the content did not reach the model"
    );
    session.close().await;
    Ok(None)
}

/// The context's size is told, and what was billed.
pub(super) async fn usage(bench: &Bench) -> Found {
    let mut session = bench.open().await?;
    let turn = say(&mut session, "REPEAT: so much").await?;
    session.close().await;
    if !bench.adapter.profile().capabilities.usage {
        ensure!(
            turn.usage.is_none(),
            "it tells a size, but declares that it does not"
        );
        return declared("does not tell how full its context is");
    }
    let usage = turn.usage.context("the size of the context is not told")?;
    let sent = bench.last()?.input_tokens;
    ensure!(
        usage.context >= sent / 2 && usage.context <= sent * 2,
        "it tells {} tokens in the context, {sent} were sent",
        usage.context
    );
    if let Some(tokens) = turn.tokens {
        ensure!(
            tokens.input >= sent / 2 && tokens.input <= sent * 2 && tokens.output > 0,
            "it tells {tokens:?}, {sent} were sent"
        );
    }
    Ok(None)
}

/// A copy knows what the original knew, and neither hears the other.
pub(super) async fn fork(bench: &Bench) -> Found {
    if !bench.adapter.profile().capabilities.fork {
        return declared("cannot copy a conversation");
    }
    let (before, copied, later) = (word("before"), word("copied"), word("later"));
    let mut session = bench.open().await?;
    say(&mut session, &format!("Keep this in mind: {before}")).await?;
    let state = session.checkpoint().await?.state;
    for access in [Access::Sealed, Access::Workspace] {
        let mut copy = session.fork(access).await?;
        let turn = say(&mut copy, "RECALL: before-").await?;
        ensure!(
            turn.text.contains(&before),
            "the copy does not know what was said before: {:?}",
            turn.text
        );
        say(&mut copy, &format!("Keep this in mind: {copied}")).await?;
        copy.close().await;
    }
    let untouched = session.checkpoint().await?.state;
    ensure!(state == untouched, "the original is not what it was");
    let mut copy = session.fork(Access::Sealed).await?;
    say(&mut session, &format!("Keep this in mind: {later}")).await?;
    ensure!(
        !bench.last()?.contains(&copied),
        "the original heard its copy"
    );
    let turn = say(&mut copy, "RECALL: later-").await?;
    ensure!(
        turn.text.trim() == "nothing",
        "the copy heard the original: {:?}",
        turn.text
    );
    copy.close().await;
    session.close().await;
    Ok(None)
}

/// A conversation goes on in another process and another HOME after the first one was killed.
pub(super) async fn resume(bench: &Bench) -> Found {
    if !bench.adapter.profile().capabilities.resume {
        return declared("cannot go on from a checkpoint");
    }
    let said = word("said");
    let mut session = bench.open().await?;
    say(&mut session, &format!("Keep this in mind: {said}")).await?;
    let checkpoint = session.checkpoint().await?;
    // As a worker's death would: nothing is closed, and the HOME is gone.
    drop(session);
    std::fs::remove_dir_all(bench.home(1)).context("removing the first HOME")?;
    for (number, access) in [(2, Access::Workspace), (3, Access::Sealed)] {
        let spec = bench.spec(number, access)?;
        let mut session = bench.adapter.resume(spec, &checkpoint).await?;
        let turn = say(&mut session, "RECALL: said-").await?;
        ensure!(
            turn.text.contains(&said),
            "it does not know what was said before: {:?}",
            turn.text
        );
        session.close().await;
    }
    Ok(None)
}
