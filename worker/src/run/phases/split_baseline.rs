//! The baseline of an agent that cannot fork: a random half of the probes is asked before the break
//! in the main line, and only the other half after it. So asking before the break puts nothing into
//! the context that is asked after it.

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::Arm;
use entity::ProbeId;
use sha2::{Digest, Sha256};

use results::run_stats::{FIRST_BREAK, HalvesPart};

use crate::job_error::JobError;
use crate::run::context::{RunContext, Session, phase, run_seed};
use crate::run::phases::ask::{SessionSource, ask_all};

/// Asks the first half in the main line, sealed as far as possible: the workspace is empty
/// meanwhile, and a tool call is a violation.
pub(crate) async fn ask_first_half(
    context: &mut RunContext,
    main: &mut Session,
) -> Result<(), JobError> {
    if context.break_index != FIRST_BREAK {
        return Ok(());
    }
    context.enter_phase(phase::BASELINE).await?;
    context.seal().await?;
    let half = halves(context).0;
    record_split(context).await?;
    ask_all(
        context,
        Arm::Baseline,
        SessionSource::Same(main),
        Some(&half),
    )
    .await?;
    context.unseal().await?;
    context.enter_phase(phase::DEEP_DIVE).await
}

/// Records the split of the probes, and warns about measurements that it prevents.
async fn record_split(context: &mut RunContext) -> Result<(), JobError> {
    let (before, after) = halves(context);
    let mut split: BTreeMap<String, HalvesPart> = BTreeMap::new();
    for (id, probe) in &context.probes {
        let halves = split
            .entry(probe.dimension.as_str().to_owned())
            .or_default();
        halves.before += usize::from(before.contains(id));
        halves.after += usize::from(after.contains(id));
    }
    let mut remarks = Vec::new();
    let planned = context.breaks_planned();
    if planned < context.task.breaks {
        remarks.push(context.warning_event(format!(
            "{} breaks were requested and {planned} is measured: the agent cannot fork, and its \
             split baseline allows one break",
            context.task.breaks
        )));
    }
    for (dimension, halves) in &split {
        let none = match (halves.before, halves.after) {
            (0, _) => "before",
            (_, 0) => "after",
            _ => continue,
        };
        remarks.push(context.warning_event(format!(
            "{dimension} has too few probes to split: none of them is asked {none} the break"
        )));
    }
    context.stats.halves = split;
    let change = context.progress_row();
    context.write(change, remarks).await
}

/// Returns the probes asked before the break and those asked after it: alternating within each
/// dimension, in an order drawn per trial. The half that gets the odd probe is drawn, too.
pub(crate) fn halves(context: &RunContext) -> (BTreeSet<ProbeId>, BTreeSet<ProbeId>) {
    let seed = run_seed(context.task.seed, &context.identity);
    let mut by_dimension: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, probe) in &context.probes {
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
