//! Failures of a turn that exceeds its limits.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::adapter::Limits;
use crate::event::AgentEvent;
use crate::failure::{Cause, Failure};

/// Returns the failure of an agent that exceeded the time limit of a turn.
pub(crate) fn turn_timed_out(limits: &Limits) -> Failure {
    timed_out("did not end its turn", limits.turn)
}

/// Returns the failure of an agent that printed nothing for too long.
pub(crate) fn stalled(limits: &Limits) -> Failure {
    timed_out("printed nothing", limits.stall)
}

fn timed_out(problem: &str, limit: Duration) -> Failure {
    Failure::new(
        Cause::TimedOut,
        format!("the agent {problem} within {} s", limit.as_secs()),
    )
}

/// Returns the failure of an agent that printed too much.
pub(super) fn too_much_output(limits: &Limits) -> Failure {
    Failure::new(
        Cause::AgentCrashed,
        format!(
            "the agent printed more than {} bytes in one turn",
            limits.output_bytes
        ),
    )
}

/// Returns the failure of reading an agent's output.
pub(super) fn unreadable(error: &std::io::Error, limits: &Limits) -> Failure {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        return too_much_output(limits);
    }
    Failure::harness(format!("could not read the agent's output: {error}"))
}

/// Sends events. Waits while their reader is slow, at most until the end of the turn.
///
/// # Errors
///
/// Fails with [`Cause::Cancelled`], and with [`Cause::Harness`] if the events are not received
/// before `turn_ends`.
pub async fn send_events(
    reader: &mpsc::Sender<AgentEvent>,
    cancel: &CancellationToken,
    events: Vec<AgentEvent>,
    turn_ends: Instant,
) -> Result<(), Failure> {
    for event in events {
        tokio::select! {
            // A closed receiver does not fail a turn.
            _ = reader.send(event) => {}
            () = cancel.cancelled() => return Err(Failure::cancelled()),
            () = tokio::time::sleep_until(turn_ends) => {
                return Err(Failure::harness("the agent's events were not received in time"));
            }
        }
    }
    Ok(())
}
