//! Facts about the order in which a function of the diff calls others.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::names::{Names, identifies, repeated};
use crate::facts::sections::{Section, Sections};
use crate::facts::sheet::FlowFact;
use crate::symbols::{Call, Definition};

/// Returns every function with three or more calls, all in the diff, by file and name.
pub(super) fn flows(sections: &Sections<'_>, names: &Names<'_>) -> Vec<FlowFact> {
    let mut facts = Vec::new();
    for section in &sections.all {
        let definitions = &section.symbols.definitions;
        let several = repeated(
            definitions
                .iter()
                .map(|definition| definition.name.as_str()),
        );
        for function in definitions {
            if identifies(&function.name) && !several.contains(function.name.as_str()) {
                facts.extend(flow(section, function, names, sections.head));
            }
        }
    }
    facts.sort_by(|one, other| (&one.file, &one.function).cmp(&(&other.file, &other.function)));
    facts
}

fn flow(
    section: &Section<'_>,
    function: &Definition,
    names: &Names<'_>,
    head: &str,
) -> Option<FlowFact> {
    if function.calls.iter().any(|call| !section.shows(call.line)) {
        return None;
    }
    let is_step = |name: &str| identifies(name) && name != function.name;
    let own = first_calls(&function.calls, |name| is_step(name) && names.defines(name));
    let steps = if own.len() >= 3 {
        own
    } else {
        // A name in capitals is usually the constructor of a type or variant, not a step.
        let step = |name: &str| is_step(name) && !name.starts_with(char::is_uppercase);
        first_calls(&function.calls, step)
    };
    if steps.len() < 3 {
        return None;
    }
    let lines: Vec<u32> = [function.line]
        .into_iter()
        .chain(steps.iter().map(|call| call.line))
        .collect();
    Some(FlowFact {
        function: function.name.clone(),
        file: section.file.path.clone(),
        steps: steps.iter().map(|call| call.name.clone()).collect(),
        evidence: section.bare_evidence(head, &lines)?,
    })
}

/// Returns the first call of each name, if the order of the text is also the order of execution.
/// For `outer(inner())` only one order is beyond dispute.
fn first_calls(calls: &[Call], wanted: impl Fn(&str) -> bool) -> Vec<&Call> {
    let mut finished: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls {
        let first = finished.entry(&call.name).or_insert(call.finished);
        *first = call.finished.min(*first);
    }
    let mut seen = BTreeSet::new();
    let mut steps = Vec::new();
    let mut last = None;
    for call in calls {
        let first = finished.get(call.name.as_str()).copied();
        if seen.insert(call.name.as_str()) && !call.elsewhen && wanted(&call.name) && first > last {
            last = first;
            steps.push(call);
        }
    }
    steps
}
