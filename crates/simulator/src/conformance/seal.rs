//! Sealed turns, and what must not be kept.

use agents::adapter::Access;
use anyhow::ensure;

use super::Found;
use super::bench::{Bench, say, word};
use super::conversation::declared;

/// A sealed turn offers no tools, whether it is the first of a session or the turn of a copy.
pub(super) async fn tools(bench: &Bench) -> Found {
    let can = bench.adapter.profile().capabilities;
    let mut session = bench.open().await?;
    say(&mut session, "REPEAT: with tools").await?;
    ensure!(
        !bench.last()?.tools.is_empty(),
        "no tools are offered even with access"
    );
    let mut sealed = vec![bench.adapter.open(bench.spec(2, Access::Sealed)?).await?];
    if can.fork {
        sealed.push(session.fork(Access::Sealed).await?);
    }
    for mut session in sealed {
        say(&mut session, "REPEAT: sealed").await?;
        let offered = bench.last()?.tools;
        session.close().await;
        if !can.tools_off {
            continue;
        }
        ensure!(offered.is_empty(), "sealed, it offers {offered:?}");
    }
    session.close().await;
    if can.tools_off {
        Ok(None)
    } else {
        declared("offers tools while sealed; the seal rests on the sandbox")
    }
}

/// A sealed turn cannot read a file of the workspace, whatever it is asked.
pub(super) async fn canary(bench: &Bench) -> Found {
    let canary = word("canary");
    let path = bench.file("canary.txt", &format!("{canary}\n"))?;
    let mut session = bench.open().await?;
    let read = format!("READ: {}", path.display());
    let turn = say(&mut session, &read).await?;
    ensure!(
        turn.text.contains(&canary),
        "with access it cannot be read either: {:?}",
        turn.text
    );
    session.close().await;
    let seen = bench.stub.requests().len();
    let mut other = bench
        .adapter
        .open(bench.spec(2, Access::Workspace)?)
        .await?;
    say(&mut other, "REPEAT: nothing yet").await?;
    let mut sealed = vec![bench.adapter.open(bench.spec(3, Access::Sealed)?).await?];
    if bench.adapter.profile().capabilities.fork {
        sealed.push(other.fork(Access::Sealed).await?);
    }
    for mut session in sealed {
        // A refusal may be an error of the turn; what counts is what reached the model.
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
            .skip(seen)
            .all(|request| !request.contains(&canary)),
        "the canary reached the model while sealed"
    );
    Ok(None)
}

/// The provider's key is in nothing that is kept: raw lines, events, checkpoints.
pub(super) async fn secrets(bench: &Bench) -> Found {
    bench.file("notes.txt", "nothing\n")?;
    let mut session = bench.open().await?;
    say(&mut session, "Read these files:\n\n- `notes.txt`\n").await?;
    let checkpoint = session.checkpoint().await?;
    session.close().await;
    bench
        .stub
        .fail(crate::model_stub::Fault::Unauthorized, usize::MAX);
    let mut session = bench
        .adapter
        .open(bench.spec(2, Access::Workspace)?)
        .await?;
    let failure = session.prompt("REPEAT: something").await;
    session.close().await;
    let key = bench.stub.key();
    ensure!(
        !bench.kept.raw().contains(key),
        "the key is in the raw stream"
    );
    let events = format!("{:?} {failure:?}", bench.kept.events());
    ensure!(!events.contains(key), "the key is in an event");
    let state = String::from_utf8_lossy(&checkpoint.state).into_owned();
    ensure!(!state.contains(key), "the key is in the checkpoint");
    Ok(None)
}
