//! The baseline of an agent that cannot copy a conversation: a random half of the probes is asked
//! before the break, in the main line itself, and only the other half after it. So nothing that is
//! asked after the break was put into the context by being asked before.

use std::collections::{BTreeMap, BTreeSet};

use entity::ProbeId;
use entity::status::Arm;
use sha2::{Digest, Sha256};

use super::arms::{Origin, ask_all};
use super::running::{FIRST_BREAK, Running, Session, phase, seed};
use crate::job::StageError;

/// Asks its half in the main line, sealed as far as that can be: the workspace is empty meanwhile,
/// and a tool call is a violation.
pub(crate) async fn before(running: &mut Running, main: &mut Session) -> Result<(), StageError> {
    if running.break_index != FIRST_BREAK {
        return Ok(());
    }
    running.enter(phase::BASELINE).await?;
    running.seal().await?;
    let half = halves(running).0;
    ask_all(running, Arm::Baseline, Origin::Same(main), Some(&half)).await?;
    running.unseal().await?;
    running.enter(phase::DEEP_DIVE).await
}

/// The probes asked before the break, and those asked after it: every other one of each dimension,
/// in an order drawn per trial.
pub(crate) fn halves(running: &Running) -> (BTreeSet<ProbeId>, BTreeSet<ProbeId>) {
    let seed = seed(running.task.seed, &running.who);
    let mut by_dimension: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, probe) in &running.probes {
        by_dimension
            .entry(probe.dimension)
            .or_default()
            .push((*id, probe.label.as_str()));
    }
    let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
    for probes in by_dimension.values_mut() {
        probes.sort_by_cached_key(|(_, label)| Sha256::digest(format!("{seed}/split/{label}")));
        for (at, (id, _)) in probes.iter().enumerate() {
            let half = if at % 2 == 0 { &mut before } else { &mut after };
            half.insert(*id);
        }
    }
    (before, after)
}
