//! Failures of a turn, and those that mean only that a compaction did not happen.

use std::time::Instant;

use super::session::CliSession;
use crate::adapter::Turn;
use crate::failure::Failure;
use crate::turn_builder::TurnBuilder;

/// A failure of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::adapters) struct TurnFault {
    pub(in crate::adapters) failure: Failure,
    /// The provider refused the request for the summary, for a reason of that request. The provider
    /// itself is available.
    pub(in crate::adapters) no_summary: bool,
}

impl From<Failure> for TurnFault {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            no_summary: false,
        }
    }
}

/// Returns the turn in which a compaction was requested. A turn without a summary is a turn without
/// a compaction, and reports the error as an event.
pub(in crate::adapters) async fn compaction_turn(
    session: &CliSession,
    turn: Result<Turn, TurnFault>,
    started: Instant,
) -> Result<Turn, Failure> {
    match turn {
        Ok(turn) => Ok(turn),
        Err(fault) if fault.no_summary => {
            let mut turn = TurnBuilder::default();
            turn.error(&fault.failure.message);
            session.send_events(&mut turn).await?;
            Ok(turn.finish(started.elapsed()))
        }
        Err(fault) => Err(fault.failure),
    }
}
