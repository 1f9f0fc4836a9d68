//! Checks the controls against their expected results in the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use agents::control::Behaviour;
use domain::vocabulary::RunStatus;
use evaluation::scoring::DimensionScore;
use results::document::{ResultDocument, RunPart};

/// One-sided tail probability at which a lossy control counts as broken. The kept share must lie in
/// the exact binomial interval (Clopper and Pearson 1934) of 99.99 % over all known items of all
/// trials.
///
/// Each item is kept or lost by its own draw, so a correct instrument misses this in one of ten
/// thousand demos, for any number of trials. The sample has about thirty items: a share of 0.5 may
/// be measured as 0.17 to 0.83 in one trial and as 0.3 to 0.7 in three.
/// `worker/tests/control_table.rs` detects smaller deviations, over two hundred runs.
const TAIL: f64 = 0.0001 / 2.0;

/// Result of the check.
pub(crate) struct CheckResult {
    /// Number of controls.
    pub(crate) controls: usize,
    /// Deviations, for display.
    pub(crate) misses: Vec<String>,
}

/// Known and kept items of a lossy control.
#[derive(Default)]
struct Items {
    share: f64,
    known: usize,
    kept: usize,
}

/// Checks the control agents of a result against their expected results. Ignores other agents.
pub(crate) fn check(document: &ResultDocument) -> CheckResult {
    let mut misses = Vec::new();
    let mut controls = BTreeSet::new();
    let mut lossy: BTreeMap<&str, Items> = BTreeMap::new();
    for run in &document.runs {
        let Ok(control) = Behaviour::from_agent_name(&run.agent) else {
            continue;
        };
        controls.insert(&run.agent);
        let found = misses_of_run(control, run);
        if found.is_empty()
            && let Behaviour::Lossy(share) = control
        {
            let items = lossy.entry(&run.agent).or_default();
            items.share = share;
            for part in run.dimensions.values() {
                items.known += part.known.unwrap_or_default();
                items.kept += part.kept.unwrap_or_default();
            }
        }
        misses.extend(
            found
                .into_iter()
                .map(|miss| format!("{} trial {}: {miss}", run.agent, run.trial)),
        );
    }
    for (agent, items) in lossy {
        if items.known == 0 || !is_draw(items.kept, items.known, items.share) {
            misses.push(format!(
                "{agent}: kept {} of {} items, which is implausible for a share of {}",
                items.kept, items.known, items.share
            ));
        }
    }
    let voided: Vec<&RunPart> = document.runs.iter().filter(|run| run.seal_broken).collect();
    for row in &document.leaderboard {
        if voided.iter().any(|run| run.agent == row.agent) {
            misses.push(format!("{} is ranked with a broken seal", row.agent));
        }
    }
    CheckResult {
        controls: controls.len(),
        misses,
    }
}

/// Returns the deviations of one run.
fn misses_of_run(control: Behaviour, run: &RunPart) -> Vec<String> {
    if run.status != RunStatus::Done {
        let why = run.error.as_deref().unwrap_or("unknown reason");
        return vec![format!("ended {}: {why}", run.status)];
    }
    if !run.compression_detected {
        return vec!["had no break".to_owned()];
    }
    let mut misses = Vec::new();
    let is_void = control == Behaviour::Cheater;
    if run.seal_broken != is_void {
        misses.push(format!("seal_broken is {}", run.seal_broken));
    }
    let asked = run.dimensions.iter().filter(|(_, part)| part.n > 0);
    if !is_void && asked.clone().next().is_none() {
        misses.push("was asked no probe".to_owned());
    }
    for (dimension, part) in asked {
        if let Some(miss) = wrong(control, dimension, part) {
            misses.push(format!("{dimension}: {miss}"));
        }
    }
    misses
}

/// Returns the deviation of one dimension.
fn wrong(control: Behaviour, dimension: &str, part: &DimensionScore) -> Option<String> {
    let is = |figure: Option<f64>, expected: f64| {
        figure.is_some_and(|figure| (figure - expected).abs() < 1e-9)
    };
    let (holds, expected) = match control {
        Behaviour::Perfect => (
            is(part.baseline, 1.0) && is(part.post, 1.0),
            "base and post must be 1",
        ),
        Behaviour::Amnesiac => (
            is(part.baseline, 1.0) && is(part.retention, 0.0),
            "base must be 1 and retention 0",
        ),
        // The kept share is checked over all items.
        Behaviour::Lossy(_) => (is(part.baseline, 1.0), "base must be 1"),
        Behaviour::Stale => match dimension {
            "SF" => (
                part.post.is_some_and(|post| post < 0.1),
                "post must be below 0.1",
            ),
            "AR" => (is(part.post, 1.0), "post must be 1"),
            _ => (true, ""),
        },
        Behaviour::Guesser => (part.retention.is_none(), "retention must not be defined"),
        Behaviour::Vague | Behaviour::Silent => (
            is(part.post, 0.0) && part.retention.is_none(),
            "post must be 0 and retention not defined",
        ),
        // A void run has no expected scores.
        Behaviour::Cheater => (true, ""),
    };
    (!holds).then(|| format!("{expected}, but it is {part:?}"))
}

/// Returns whether `kept` of `known` items is plausible if each is kept with the probability
/// `share`.
fn is_draw(kept: usize, known: usize, share: f64) -> bool {
    let kept = kept.min(known);
    // Logarithms of factorials, because factorials overflow.
    let factorials: Vec<f64> = iter::once(0.0)
        .chain((1..=known).scan(0.0, |sum, number| {
            *sum += (number as f64).ln();
            Some(*sum)
        }))
        .collect();
    let power = |base: f64, times: usize| match times {
        0 => 0.0,
        _ => times as f64 * base.ln(),
    };
    let probability = |kept: usize| {
        let choices = factorials[known] - factorials[kept] - factorials[known - kept];
        (choices + power(share, kept) + power(1.0 - share, known - kept)).exp()
    };
    let at_most: f64 = (0..=kept).map(probability).sum();
    let at_least: f64 = (kept..=known).map(probability).sum();
    at_most >= TAIL && at_least >= TAIL
}

#[cfg(test)]
mod tests {
    use super::is_draw;

    /// Bounds computed with exact fractions (Python's `math.comb` and `fractions`).
    #[test]
    fn a_share_is_denied_only_where_no_draw_explains_what_is_kept() {
        let bounds = |known: usize, share: f64| {
            let possible: Vec<usize> = (0..=known)
                .filter(|&kept| is_draw(kept, known, share))
                .collect();
            (possible[0], possible[possible.len() - 1])
        };
        assert_eq!(bounds(100, 0.5), (31, 69));
        assert_eq!(bounds(300, 0.5), (116, 184));
        assert_eq!(bounds(100, 0.9), (77, 99));
        // Certain outcomes allow one value, and without known items everything is plausible.
        assert_eq!(bounds(100, 0.0), (0, 0));
        assert_eq!(bounds(100, 1.0), (100, 100));
        assert!(is_draw(0, 0, 0.5));
        // Logarithms also work for many trials.
        assert!(is_draw(5_000, 10_000, 0.5) && !is_draw(5_300, 10_000, 0.5));
    }
}
