//! Checks that failures have the right cause and leave no process running.

use std::time::Duration;

use agents::adapter::Access;
use agents::failure::Cause;
use anyhow::ensure;

use super::bench::{Bench, processes_below};
use super::check::CheckResult;
use crate::model_stub::{Fault, Purpose};

/// Interval at which a condition is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Time limit for a condition.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Returns the result of a turn with a faulty provider.
async fn turn_result(
    bench: &Bench,
    number: u32,
    fault: Fault,
) -> anyhow::Result<Result<String, Cause>> {
    let spec = bench.spec(number, Access::Workspace)?;
    let mut session = bench.adapter.open(spec).await?;
    bench.stub.fail(fault, usize::MAX);
    let turn = session.prompt("REPEAT: something").await;
    bench.stub.heal();
    session.close().await;
    Ok(turn.map(|turn| turn.text).map_err(|failure| failure.cause))
}

/// A refused key, a rate limit, an outage.
pub(super) async fn errors(bench: &Bench) -> CheckResult {
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
        let result = turn_result(bench, u32::try_from(number)? + 1, fault.clone()).await?;
        ensure!(
            result == Err(expected),
            "{fault:?} is reported as {result:?} instead of {expected:?}"
        );
    }
    Ok(None)
}

/// Invalid data is never an answer, and never blocks the turn forever.
pub(super) async fn garbage(bench: &Bench) -> CheckResult {
    for (number, fault) in [(1, Fault::Garbage), (2, Fault::Truncate)] {
        let result = turn_result(bench, number, fault.clone()).await?;
        ensure!(
            matches!(
                result,
                Err(Cause::ProviderDown | Cause::AgentCrashed | Cause::TimedOut)
            ),
            "{fault:?} is reported as {result:?}"
        );
    }
    Ok(None)
}

/// A provider that does not answer is detected.
pub(super) async fn hang(bench: &Bench) -> CheckResult {
    let result = turn_result(bench, 1, Fault::Hang).await?;
    ensure!(
        result == Err(Cause::TimedOut),
        "a hanging provider is reported as {result:?}"
    );
    wait_for_exit(bench, 1).await?;
    Ok(None)
}

/// Waits until no process of a session is left.
async fn wait_for_exit(bench: &Bench, number: u32) -> anyhow::Result<()> {
    let home = bench.home(number);
    let waited = tokio::time::timeout(Duration::from_secs(5), async {
        while !processes_below(&home).is_empty() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    });
    ensure!(
        waited.await.is_ok(),
        "processes are still running: {:?}",
        processes_below(&home)
    );
    Ok(())
}

/// Cancelling ends the turn and every process of it.
pub(super) async fn cancel(bench: &Bench) -> CheckResult {
    bench.stub.fail(Fault::Hang, usize::MAX);
    let mut session = bench.open().await?;
    let asking = async {
        let has_asked = || {
            bench
                .stub
                .requests()
                .iter()
                .any(|request| request.purpose == Purpose::Turn)
        };
        while !has_asked() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        let running = processes_below(&bench.home(1));
        bench.cancel.cancel();
        running
    };
    let turn = session.prompt("REPEAT: something");
    let (turn, running) = tokio::join!(turn, tokio::time::timeout(WAIT_LIMIT, asking));
    let running = running.map_err(|_| anyhow::anyhow!("no request reached the model"))?;
    ensure!(!running.is_empty(), "no process of the turn was found");
    let cause = turn.map(|turn| turn.text).map_err(|failure| failure.cause);
    ensure!(
        cause == Err(Cause::Cancelled),
        "a cancelled turn is reported as {cause:?}"
    );
    session.close().await;
    wait_for_exit(bench, 1).await?;
    Ok(None)
}
