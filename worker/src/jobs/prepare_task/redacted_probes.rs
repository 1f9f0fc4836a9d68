//! Probes that cannot be asked, because redaction would change their right answers.
//!
//! Answers are redacted before they are stored and graded. A constant that looks like a key would
//! be wrong in every arm, however well the agent knows it.

use std::collections::BTreeMap;

use evaluation::probe::{Grader, Probe, ProbeSet};
use platform::redaction::Redactor;

/// Reason in the generator's report.
const REASON: &str = "the answer looks like a secret, and is not stored";

/// Returns the probes that cannot be asked: label → reason.
pub(crate) fn redacted_probes(
    set: &ProbeSet,
    redactor: &Redactor,
) -> BTreeMap<String, &'static str> {
    set.probes
        .iter()
        .filter(|probe| values(probe).any(|value| changes(redactor, value)))
        .map(|probe| (probe.label.clone(), REASON))
        .collect()
}

/// Returns all values that an answer is compared with.
fn values(probe: &Probe) -> impl Iterator<Item = &String> {
    let (values, more): (&[String], &[String]) = match &probe.grader {
        Grader::Exact { accept } => (accept, &[]),
        Grader::Set { items } | Grader::Sequence { items } => (items, &[]),
        Grader::Choice { choices, .. } => (choices, &[]),
        Grader::Current { current, replaced } => (current.as_deref().unwrap_or_default(), replaced),
    };
    values.iter().chain(more)
}

/// Returns whether redaction changes a value, alone or in the line that is graded.
fn changes(redactor: &Redactor, value: &str) -> bool {
    let line = format!("ANSWER: {value}");
    redactor.redact(value) != value || redactor.redact(&line) != line
}

#[cfg(test)]
mod tests {
    use domain::vocabulary::Dimension;
    use evaluation::probe::{Combine, GeneratorReport, Key, ProbeKind};

    use super::*;

    #[test]
    fn probes_with_redacted_answers_are_not_asked() {
        let probe = |label: &str, value: &str| Probe {
            label: label.to_owned(),
            dimension: Dimension::Ar,
            kind: ProbeKind::ConstantValue,
            question: format!("What is `{label}`?"),
            grader: Grader::Exact {
                accept: vec![value.to_owned()],
            },
            distractors: Vec::new(),
            source: None,
            key: Key {
                combine: Combine::Single,
                versions: Vec::new(),
            },
        };
        let set = ProbeSet {
            seed: 1,
            probes: vec![
                probe("AR-01", "17"),
                probe("AR-02", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
                probe("AR-03", "our-own-secret-word"),
            ],
            teaching: Vec::new(),
            report: GeneratorReport::default(),
        };
        let redactor = Redactor::new(["our-own-secret-word".to_owned()]);
        let found = redacted_probes(&set, &redactor);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["AR-02", "AR-03"]);
    }
}
