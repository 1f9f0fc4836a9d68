//! The order of the steps of a flow: through one body, or on into that of a function which it calls
//! and another file defines.

use crate::facts::{FactSheet, FlowFact};
use crate::probe::Part;
use crate::probes::places::ambiguous_names;

/// More steps than this are too many for one question.
const MOST_STEPS: usize = 6;

/// Steps before and after those of the other file, at most.
const BEFORE: usize = 2;

/// Steps of the other file, at most.
const INSIDE: usize = 3;

/// Steps in their order, with the lines that prove each.
pub(in crate::probes) struct Way {
    pub(in crate::probes) steps: Vec<Part>,
    /// The function of another file into which the way goes.
    pub(in crate::probes) through: Option<String>,
}

impl Way {
    /// Through another file where there is such a way, else through the body alone.
    pub(in crate::probes) fn of(sheet: &FactSheet, flow: &FlowFact) -> Self {
        Self::across(sheet, flow).unwrap_or_else(|| Self::within(flow))
    }

    /// The names, in order.
    pub(in crate::probes) fn names(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.value.clone()).collect()
    }

    fn within(flow: &FlowFact) -> Self {
        Self {
            steps: parts(flow).take(MOST_STEPS).collect(),
            through: None,
        }
    }

    /// Every way that may be asked about.
    pub(in crate::probes) fn all(sheet: &FactSheet, flow: &FlowFact) -> impl Iterator<Item = Self> {
        Self::across(sheet, flow)
            .into_iter()
            .chain([Self::within(flow)])
    }

    /// Only where every step of both bodies has one place: else its first call may be in either.
    fn across(sheet: &FactSheet, flow: &FlowFact) -> Option<Self> {
        let ambiguous = ambiguous_names(sheet);
        let is_clear = |name: &str| {
            let flows = sheet.flows.iter().filter(|other| other.function == name);
            flows.count() == 1 && !ambiguous.contains(name)
        };
        flow.steps.iter().enumerate().find_map(|(at, step)| {
            let mut others = sheet.flows.iter();
            let inner = others.find(|other| other.function == *step)?;
            let apart = |name: &String| *name != flow.function && !flow.steps.contains(name);
            let fits = inner.file != flow.file && is_clear(step) && inner.steps.iter().all(apart);
            if !fits || !line_each(flow) || !line_each(inner) {
                return None;
            }
            let mut steps: Vec<Part> = parts(flow)
                .take(at + 1)
                .skip((at + 1).saturating_sub(BEFORE))
                .collect();
            steps.extend(parts(inner).take(INSIDE));
            let left = MOST_STEPS.saturating_sub(steps.len());
            steps.extend(parts(flow).skip(at + 1).take(left));
            Some(Self {
                steps,
                through: Some(step.clone()),
            })
        })
    }
}

/// Whether the evidence has the line of the definition and one for each step.
fn line_each(flow: &FlowFact) -> bool {
    flow.evidence.text.len() == flow.steps.len() + 1
}

fn parts(flow: &FlowFact) -> impl Iterator<Item = Part> {
    let text = &flow.evidence.text;
    flow.steps.iter().enumerate().map(move |(at, step)| Part {
        evidence: if line_each(flow) {
            vec![text[0].clone(), text[at + 1].clone()]
        } else {
            text.clone()
        },
        value: step.clone(),
    })
}
