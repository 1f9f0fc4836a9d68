//! Comes to the answers of the closed questions about a repository again, from its facts alone.
//!
//! Knows how each kind of question names its subject, and nothing of how the question was drawn.

use crate::facts::{FactSheet, SymbolFact};
use crate::grading::{Verdict, grade};
use crate::probe::{Probe, ProbeKind};
use crate::probes::leaks::stem;
use crate::probes::retrieval::state;

/// Whether the facts lead to an answer that the probe's grader takes for right. True for what only
/// the conversation defines.
pub(super) fn follows(probe: &Probe, sheet: &FactSheet) -> bool {
    let quoted: Vec<&str> = stem(probe).split('`').skip(1).step_by(2).collect();
    let subject = quoted.first().copied().unwrap_or_default();
    let right =
        |answer: &str| grade(&probe.grader, &format!("ANSWER: {answer}")).verdict == Verdict::Right;
    let symbol = || sheet.symbols.iter().find(|symbol| symbol.name == subject);
    match probe.kind {
        ProbeKind::HunkLabel
        | ProbeKind::TaughtRule
        | ProbeKind::CorrectedFact
        | ProbeKind::RetractedFact => true,
        // Which files belong to the set is told in words; each must at least be changed.
        ProbeKind::ChangedFiles => {
            let mut parts = probe.key.versions.iter().flat_map(|version| &version.parts);
            parts.all(|part| sheet.files.iter().any(|file| file.path == part.value))
        }
        ProbeKind::SymbolFile => symbol().is_some_and(|symbol| right(&symbol.file)),
        ProbeKind::SymbolSignature => symbol().is_some_and(|symbol| signature(symbol, right)),
        ProbeKind::ConstantValue => sheet
            .constants
            .iter()
            .any(|constant| constant.name == subject && right(&constant.value)),
        ProbeKind::CoveringTest => sheet
            .tests
            .iter()
            .any(|test| test.symbol == subject && right(&test.test)),
        ProbeKind::FileStatus => sheet
            .files
            .iter()
            .any(|file| file.path == subject && right(state(file.status))),
        ProbeKind::SymbolUsers => sheet.uses.iter().any(|fact| {
            let users: Vec<&str> = fact.used_in.iter().map(|(path, _)| path.as_str()).collect();
            fact.symbol == subject && right(&users.join(", "))
        }),
        ProbeKind::ChangeTogether => sheet
            .uses
            .iter()
            .any(|fact| fact.symbol == subject && fact.used_in.iter().any(|(path, _)| right(path))),
        ProbeKind::FlowOrder => sheet.flows.iter().any(|flow| {
            let asked = probe.key.versions.iter().flat_map(|version| &version.parts);
            let steps: Vec<&str> = flow.steps.iter().map(String::as_str).collect();
            flow.function == subject && right(&steps[..asked.count().min(steps.len())].join(" -> "))
        }),
        ProbeKind::BehaviourHunk => sheet.hunks.iter().any(|hunk| {
            hunk.defines.iter().any(|name| name == subject)
                && right(&format!("{} {}", hunk.file, hunk.header))
        }),
    }
}

fn signature(symbol: &SymbolFact, right: impl Fn(&str) -> bool) -> bool {
    let parameters = symbol.parameters.as_ref().map(|names| names.join(", "));
    [symbol.returns.clone(), parameters]
        .into_iter()
        .flatten()
        .any(|answer| right(&answer))
}
