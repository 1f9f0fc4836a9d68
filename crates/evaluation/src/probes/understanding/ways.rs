//! The order of the steps of a flow: through one body, or through that of a called function in
//! another file as well.

use crate::facts::{FactSheet, FlowFact};
use crate::probe::Part;
use crate::probes::places::ambiguous_names;

/// Maximum number of steps in one question.
const MOST_STEPS: usize = 6;

/// Maximum number of steps before and after those of the other file.
const BEFORE: usize = 2;

/// Maximum number of steps in the other file.
const INSIDE: usize = 3;

/// Steps in order, with the lines that prove each.
pub(in crate::probes) struct Way {
    pub(in crate::probes) steps: Vec<Part>,
    /// The function of another file that the flow enters.
    pub(in crate::probes) through: Option<String>,
}

impl Way {
    /// Returns a flow through another file if there is one, else the flow through the body alone.
    pub(in crate::probes) fn for_flow(sheet: &FactSheet, flow: &FlowFact) -> Self {
        Self::across(sheet, flow).unwrap_or_else(|| Self::within(flow))
    }

    /// Returns the names, in order.
    pub(in crate::probes) fn names(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.value.clone()).collect()
    }

    fn within(flow: &FlowFact) -> Self {
        Self {
            steps: parts(flow).take(MOST_STEPS).collect(),
            through: None,
        }
    }

    /// Returns every flow that may be asked about.
    pub(in crate::probes) fn all(sheet: &FactSheet, flow: &FlowFact) -> impl Iterator<Item = Self> {
        Self::across(sheet, flow)
            .into_iter()
            .chain([Self::within(flow)])
    }

    /// Returns a flow only if every step of both bodies has one place. Otherwise its first call may
    /// be in either.
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

/// Returns whether the evidence has the line of the definition and one for each step.
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
