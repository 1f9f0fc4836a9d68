//! What goes wrong is told by its cause, and nothing is left running.

use std::time::Duration;

use agents::adapter::Access;
use agents::failure::Cause;
use anyhow::ensure;

use super::Found;
use super::bench::{Bench, processes_below};
use crate::model_stub::{Fault, Purpose};

/// How often it is looked whether something happened, and for how long.
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

/// What a turn ends with while the provider does this.
async fn cause(bench: &Bench, number: u32, fault: Fault) -> anyhow::Result<Result<String, Cause>> {
    let spec = bench.spec(number, Access::Workspace)?;
    let mut session = bench.adapter.open(spec).await?;
    bench.stub.fail(fault, usize::MAX);
    let turn = session.prompt("REPEAT: something").await;
    bench.stub.heal();
    session.close().await;
    Ok(turn.map(|turn| turn.text).map_err(|failure| failure.cause))
}

/// A refused key, a rate limit, an outage.
pub(super) async fn errors(bench: &Bench) -> Found {
    let expected = [
        (Fault::Unauthorized, Cause::Refused),
        (
            Fault::RateLimit {
                retry_after: Some(1),
            },
            Cause::RateLimited,
        ),
        (Fault::ServerError, Cause::ProviderDown),
        (Fault::Overloaded, Cause::ProviderDown),
    ];
    for (number, (fault, expected)) in expected.into_iter().enumerate() {
        let found = cause(bench, u32::try_from(number)? + 1, fault.clone()).await?;
        ensure!(
            found == Err(expected),
            "{fault:?} is told as {found:?}, not as {expected:?}"
        );
    }
    Ok(None)
}

/// What is not of the protocol is never an answer, and never the end of our patience.
pub(super) async fn garbage(bench: &Bench) -> Found {
    for (number, fault) in [(1, Fault::Garbage), (2, Fault::Truncate)] {
        let found = cause(bench, number, fault.clone()).await?;
        ensure!(
            matches!(
                found,
                Err(Cause::ProviderDown | Cause::AgentCrashed | Cause::TimedOut)
            ),
            "{fault:?} is told as {found:?}"
        );
    }
    Ok(None)
}

/// A provider that does not answer is noticed.
pub(super) async fn hang(bench: &Bench) -> Found {
    let found = cause(bench, 1, Fault::Hang).await?;
    ensure!(
        found == Err(Cause::TimedOut),
        "a hanging provider is told as {found:?}"
    );
    gone(bench, 1).await?;
    Ok(None)
}

/// Waits until no process of a session is left.
async fn gone(bench: &Bench, number: u32) -> anyhow::Result<()> {
    let home = bench.home(number);
    let waited = tokio::time::timeout(Duration::from_secs(5), async {
        while !processes_below(&home).is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    });
    ensure!(
        waited.await.is_ok(),
        "processes are left: {:?}",
        processes_below(&home)
    );
    Ok(())
}

/// Cancelling ends the turn and every process of it.
pub(super) async fn cancel(bench: &Bench) -> Found {
    bench.stub.fail(Fault::Hang, usize::MAX);
    let mut session = bench.open().await?;
    let asked = async {
        let asks = || {
            bench
                .stub
                .requests()
                .iter()
                .any(|request| request.purpose == Purpose::Turn)
        };
        while !asks() {
            tokio::time::sleep(LOOK).await;
        }
        let running = processes_below(&bench.home(1));
        bench.cancel.cancel();
        running
    };
    let turn = session.prompt("REPEAT: something");
    let (turn, running) = tokio::join!(turn, tokio::time::timeout(PATIENCE, asked));
    let running = running.map_err(|_| anyhow::anyhow!("the model was not asked"))?;
    ensure!(!running.is_empty(), "no process of the turn was seen");
    let cause = turn.map(|turn| turn.text).map_err(|failure| failure.cause);
    ensure!(
        cause == Err(Cause::Cancelled),
        "a cancelled turn is told as {cause:?}"
    );
    session.close().await;
    gone(bench, 1).await?;
    Ok(None)
}
