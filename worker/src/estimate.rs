//! What a task will ask, before it asks: prompts, tokens and list-price cost of each agent, as an upper
//! estimate that is told when the task is prepared.

use std::collections::BTreeMap;

use agents::adapter::{AgentAdapter, SessionSpec};
use agents::event::Tokens;
use agents::prices;
use evaluation::judging::FACTS_AT_ONCE;
use evaluation::probe::ProbeSet;

use crate::judges::battery_requests;
use crate::stages::recalls::MOST_FACTS;

/// What an answer takes, in tokens, with some thinking.
const ANSWER: u64 = 300;
/// What is said to a model beside the conversation: its program's own prompt, and a question.
const QUESTION: u64 = 16_500;
/// Turns of a deep dive: a turn reads about an eighth of the context.
const TURNS: u64 = 8;

/// The estimate of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) prompts: u64,
    /// Input counts what comes from a prompt cache; all but the last part of a conversation does, where
    /// the provider has one.
    pub(crate) tokens: Tokens,
    /// US dollars by list price; none for a model without one.
    pub(crate) cost_usd: Option<f64>,
}

/// Estimates one run. Every probe carries the whole conversation: before the break a full context, after
/// it at most half of one, cold nothing but the question.
pub(crate) fn estimate(
    model: Option<&str>,
    probes: &ProbeSet,
    context_tokens: u64,
    breaks: u64,
) -> Estimate {
    let full = SessionSpec::full(context_tokens);
    let asked = probes.probes.len() as u64;
    // With free recall.
    let per_arm = asked + 1;
    let taught = probes.teaching.len().min(4) as u64;
    let turns = 1 + taught + TURNS * breaks;
    let prompts = turns + 2 * per_arm * breaks + asked;
    let before = per_arm * (full + QUESTION);
    let after = per_arm * (full / 2 + QUESTION);
    let dive = turns * (full / 2 + QUESTION);
    let input = dive + breaks * (before + after) + asked * QUESTION;
    let tokens = Tokens {
        input,
        cached: input - turns * (full / TURNS) - prompts * (QUESTION / 33),
        output: prompts * ANSWER,
    };
    Estimate {
        prompts,
        cost_usd: model
            .and_then(|model| prices::cost(model, tokens))
            .map(|cost| cost.usd),
        tokens,
    }
}

/// One line per agent, for people.
pub(crate) fn told(
    agents: &BTreeMap<String, (usize, Option<String>)>,
    of: impl Fn(Option<&str>) -> Estimate,
) -> Vec<String> {
    agents
        .iter()
        .map(|(agent, (runs, model))| {
            let one = of(model.as_deref());
            let runs_count = *runs as u64;
            let cost = one.cost_usd.map_or_else(
                || "cost not known: no list price".to_owned(),
                |usd| {
                    format!(
                        "about {:.2} US dollars (list prices of {}, prompt caching counted)",
                        usd * *runs as f64,
                        model.as_deref().map_or(prices::AS_OF, prices::as_of)
                    )
                },
            );
            format!(
                "{agent}: at most about {} prompts and {} million tokens in {runs} runs; {cost}",
                one.prompts * runs_count,
                one.tokens.input * runs_count / 1_000_000 + 1,
            )
        })
        .collect()
}

/// One line for the models that judge, for people; none where there are none. The battery is counted,
/// though what it found for an earlier task may still hold.
pub(crate) fn judging(judges: usize, runs: usize, breaks: u64) -> Option<String> {
    let requests = |facts: u64| facts.div_ceil(FACTS_AT_ONCE as u64);
    // Just before each break and after it.
    let recalls = 2 * breaks * runs as u64 * requests(MOST_FACTS as u64);
    let battery = battery_requests() as u64;
    (judges > 0).then(|| {
        format!(
            "judging: {judges} models, with at most about {recalls} requests each for free recall, and {battery} for the adversarial battery"
        )
    })
}

/// The model that an adapter asks, where it names one.
pub(crate) fn model_of(adapter: &dyn AgentAdapter) -> Option<String> {
    adapter.profile().default_model.clone()
}

#[cfg(test)]
mod tests {
    use evaluation::probe::GeneratorReport;

    use super::*;

    #[test]
    fn more_breaks_cost_more_and_an_unlisted_model_has_no_cost() {
        let probes = ProbeSet {
            seed: 1,
            probes: Vec::new(),
            teaching: Vec::new(),
            report: GeneratorReport::default(),
        };
        let one = estimate(Some("gpt-5"), &probes, 100_000, 1);
        let three = estimate(Some("gpt-5"), &probes, 100_000, 3);
        assert!(three.prompts > one.prompts && three.tokens.input > one.tokens.input);
        assert!(one.tokens.cached < one.tokens.input);
        assert!(one.cost_usd < three.cost_usd && one.cost_usd > Some(0.0));
        assert_eq!(estimate(Some("m-1"), &probes, 100_000, 1).cost_usd, None);
        assert_eq!(estimate(None, &probes, 100_000, 1).cost_usd, None);
    }

    #[test]
    fn judges_are_told_too() {
        assert_eq!(judging(0, 6, 1), None);
        let told = judging(2, 6, 1).unwrap_or_default();
        assert!(
            told.starts_with("judging: 2 models, with at most about 60 requests"),
            "{told}"
        );
    }
}
