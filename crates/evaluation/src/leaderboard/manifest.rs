//! Manifest entries that differ between runs.

use std::collections::{BTreeMap, BTreeSet};

use super::run_result::RunResult;

/// Entries that always differ between agents.
const OF_THE_AGENT: [&str; 2] = ["agent_version", "model"];

pub(super) fn differs_between(runs: &[&RunResult]) -> Vec<String> {
    differs(runs, &OF_THE_AGENT)
}

/// Returns the names of the manifest entries that differ, each with its values.
pub(super) fn differs(runs: &[&RunResult], except: &[&str]) -> Vec<String> {
    let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for run in runs {
        for (name, value) in &run.manifest {
            values.entry(name).or_default().insert(value.clone());
        }
        // Manifests of older runs lack this entry, and scores of other dimensions are other scores.
        let asked: Vec<&str> = run
            .score
            .dimensions
            .keys()
            .map(|one| one.as_str())
            .collect();
        values.entry(RUBRIC).or_default().insert(asked.join(", "));
    }
    values
        .into_iter()
        .filter(|(name, values)| values.len() > 1 && !except.contains(name))
        .map(|(name, values)| {
            let values: Vec<String> = values.into_iter().collect();
            format!("{name}: {}", values.join(" | "))
        })
        .collect()
}

/// Manifest entry for the requested dimensions: their codes, separated by commas.
pub const RUBRIC: &str = "rubric";

/// Manifest entry for the origin of the probes: [`GENERATED`] or [`IMPORTED`].
pub const PROBES: &str = "probes";

/// The instrument generated the probes.
pub const GENERATED: &str = "generated";

/// The probes come from a question bank of the request, and were chosen by its author.
pub const IMPORTED: &str = "imported";
