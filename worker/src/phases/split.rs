//! The baseline of an agent that cannot copy a conversation: a random half of the probes is asked
//! before the break, in the main line itself, and only the other half after it. So nothing that is
//! asked after the break was put into the context by being asked before.

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::Arm;
use entity::ProbeId;
use sha2::{Digest, Sha256};

use super::arms::{Origin, ask_all};
use super::running::{Running, Session, phase, seed};
use crate::job::StageError;
use results::run_stats::{FIRST_BREAK, HalvesPart};

/// Asks its half in the main line, sealed as far as that can be: the workspace is empty meanwhile,
/// and a tool call is a violation.
pub(crate) async fn before(running: &mut Running, main: &mut Session) -> Result<(), StageError> {
    if running.break_index != FIRST_BREAK {
        return Ok(());
    }
    running.enter(phase::BASELINE).await?;
    running.seal().await?;
    let half = halves(running).0;
    tell(running).await?;
    ask_all(running, Arm::Baseline, Origin::Same(main), Some(&half)).await?;
    running.unseal().await?;
    running.enter(phase::DEEP_DIVE).await
}

/// Notes how the probes are split, and tells what cannot be measured so.
async fn tell(running: &mut Running) -> Result<(), StageError> {
    let (before, after) = halves(running);
    let mut split: BTreeMap<String, HalvesPart> = BTreeMap::new();
    for (id, probe) in &running.probes {
        let halves = split
            .entry(probe.dimension.as_str().to_owned())
            .or_default();
        halves.before += usize::from(before.contains(id));
        halves.after += usize::from(after.contains(id));
    }
    let mut remarks = Vec::new();
    let planned = running.breaks_planned();
    if planned < running.task.breaks {
        remarks.push(running.remark(format!(
            "{} breaks were asked for and {planned} is measured: the agent cannot be copied, and \
             the halves of its split baseline are used up by one",
            running.task.breaks
        )));
    }
    for (dimension, halves) in &split {
        let none = match (halves.before, halves.after) {
            (0, _) => "before",
            (_, 0) => "after",
            _ => continue,
        };
        remarks.push(running.remark(format!(
            "{dimension} has too few probes to be split: none of them is asked {none} the break"
        )));
    }
    running.figures.halves = split;
    let change = running.progress_row();
    running.write(change, remarks).await
}

/// The probes asked before the break, and those asked after it: every other one of each dimension,
/// in an order drawn per trial; it is also drawn who gets the odd one.
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
    for (dimension, probes) in &mut by_dimension {
        probes.sort_by_cached_key(|(_, label)| Sha256::digest(format!("{seed}/split/{label}")));
        let drawn = Sha256::digest(format!("{seed}/split/{}", dimension.as_str()));
        let first = usize::from(drawn[0] % 2);
        for (at, (id, _)) in probes.iter().enumerate() {
            let half = if (at + first).is_multiple_of(2) {
                &mut before
            } else {
                &mut after
            };
            half.insert(*id);
        }
    }
    (before, after)
}
