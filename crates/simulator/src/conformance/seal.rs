//! Checks of sealed turns, and of secrets in recorded data.

use agents::adapter::Access;
use anyhow::ensure;

use super::bench::{Bench, send, unique_word};
use super::check::{CheckResult, declared};
use crate::model_stub::Fault;

/// A sealed turn offers no tools, whether it is the first of a session or the turn of a copy.
pub(super) async fn tools(bench: &Bench) -> CheckResult {
    let capabilities = bench.adapter.profile().capabilities;
    let mut session = bench.open().await?;
    send(&mut session, "REPEAT: with tools").await?;
    ensure!(
        !bench.last_request()?.tools.is_empty(),
        "no tools are offered with access"
    );
    let mut sealed = vec![bench.adapter.open(bench.spec(2, Access::Sealed)?).await?];
    if capabilities.fork {
        sealed.push(session.fork(Access::Sealed).await?);
    }
    for mut session in sealed {
        send(&mut session, "REPEAT: sealed").await?;
        let offered = bench.last_request()?.tools;
        session.close().await;
        if !capabilities.tools_off {
            continue;
        }
        ensure!(
            offered.is_empty(),
            "it offers tools while sealed: {offered:?}"
        );
    }
    session.close().await;
    if capabilities.tools_off {
        Ok(None)
    } else {
        declared("offers tools while sealed; the seal depends on the sandbox")
    }
}

/// A sealed turn cannot read a file of the workspace, whatever the prompt.
pub(super) async fn canary(bench: &Bench) -> CheckResult {
    let canary = unique_word("canary");
    let path = bench.write_file("canary.txt", &format!("{canary}\n"))?;
    let mut session = bench.open().await?;
    let read = format!("READ: {}", path.display());
    let turn = send(&mut session, &read).await?;
    ensure!(
        turn.text.contains(&canary),
        "it cannot be read with access either: {:?}",
        turn.text
    );
    session.close().await;
    let earlier = bench.stub.requests().len();
    let mut other = bench
        .adapter
        .open(bench.spec(2, Access::Workspace)?)
        .await?;
    send(&mut other, "REPEAT: nothing yet").await?;
    let mut sealed = vec![bench.adapter.open(bench.spec(3, Access::Sealed)?).await?];
    if bench.adapter.profile().capabilities.fork {
        sealed.push(other.fork(Access::Sealed).await?);
    }
    for mut session in sealed {
        // A refusal may fail the turn. Only the requests to the model count.
        let turn = session.prompt(&read).await;
        session.close().await;
        ensure!(
            !turn.is_ok_and(|turn| turn.text.contains(&canary)),
            "the canary was read while sealed"
        );
    }
    other.close().await;
    ensure!(
        bench
            .stub
            .requests()
            .iter()
            .skip(earlier)
            .all(|request| !request.contains(&canary)),
        "the canary reached the model while sealed"
    );
    Ok(None)
}

/// No recorded data contains the provider's key: raw lines, events, checkpoints.
pub(super) async fn secrets(bench: &Bench) -> CheckResult {
    bench.write_file("notes.txt", "nothing\n")?;
    let mut session = bench.open().await?;
    send(&mut session, "Read these files:\n\n- `notes.txt`\n").await?;
    let checkpoint = session.checkpoint().await?;
    session.close().await;
    bench.stub.fail(Fault::Unauthorized, usize::MAX);
    let mut session = bench
        .adapter
        .open(bench.spec(2, Access::Workspace)?)
        .await?;
    let failure = session.prompt("REPEAT: something").await;
    session.close().await;
    let key = bench.stub.key();
    ensure!(
        !bench.recorder.raw().contains(key),
        "the key is in the raw stream"
    );
    let events = format!("{:?} {failure:?}", bench.recorder.events());
    ensure!(!events.contains(key), "the key is in an event");
    let state = String::from_utf8_lossy(&checkpoint.state).into_owned();
    ensure!(!state.contains(key), "the key is in the checkpoint");
    Ok(None)
}
