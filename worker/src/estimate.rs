//! What a task will ask, before it asks: prompts, tokens and list-price cost of each agent, as an upper
//! estimate that is told when the task is prepared.

use std::collections::BTreeMap;

use agents::adapter::{AgentAdapter, SessionSpec};
use agents::event::Tokens;
use agents::prices;
use evaluation::probe::ProbeSet;

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

/// What is asked beside what the probes say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    /// Probes of one prompt, from 1.
    pub(crate) per_prompt: u64,
    /// Open questions of an arm.
    pub(crate) topics: u64,
}

/// Estimates one run. Every probe carries the whole conversation: before the break a full context, after
/// it at most half of one, cold nothing but the question.
pub(crate) fn estimate(
    model: Option<&str>,
    probes: &ProbeSet,
    asks: Asks,
    context_tokens: u64,
    breaks: u64,
) -> Estimate {
    let full = SessionSpec::full(context_tokens);
    let answers = probes.probes.len() as u64;
    let cold = answers.div_ceil(asks.per_prompt.max(1)) + asks.topics;
    // With free recall.
    let per_arm = cold + 1;
    let taught = probes.teaching.len().min(4) as u64;
    let turns = 1 + taught + TURNS * breaks;
    let prompts = turns + 2 * per_arm * breaks + cold;
    let before = per_arm * (full + QUESTION);
    let after = per_arm * (full / 2 + QUESTION);
    let dive = turns * (full / 2 + QUESTION);
    let input = dive + breaks * (before + after) + cold * QUESTION;
    let tokens = Tokens {
        input,
        cached: input - turns * (full / TURNS) - prompts * (QUESTION / 33),
        // Every probe is answered, whatever it shares a prompt with.
        output: (prompts + (answers + asks.topics).saturating_sub(cold) * (2 * breaks + 1))
            * ANSWER,
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
                        prices::AS_OF
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

/// The model that an adapter asks, where it names one.
pub(crate) fn model_of(adapter: &dyn AgentAdapter) -> Option<String> {
    adapter.profile().default_model.clone()
}

#[cfg(test)]
mod tests {
    use evaluation::probe::GeneratorReport;

    use super::*;

    const ONE: Asks = Asks {
        per_prompt: 1,
        topics: 0,
    };

    fn probes(count: usize) -> ProbeSet {
        let bank = serde_json::json!({
            "label": "AR-01", "dimension": "AR", "kind": "constant_value", "question": "Which?",
            "grader": {"grader": "exact", "accept": ["1"]}, "distractors": [], "source": null,
            "key": {"combine": "single", "versions": []},
        });
        let probe: evaluation::probe::Probe = serde_json::from_value(bank).unwrap();
        ProbeSet {
            seed: 1,
            probes: vec![probe; count],
            teaching: Vec::new(),
            report: GeneratorReport::default(),
        }
    }

    #[test]
    fn open_questions_cost_prompts_and_sharing_a_prompt_saves_them_but_no_answer() {
        let of = |asks| estimate(None, &probes(10), asks, 100_000, 2);
        let (one, open) = (of(ONE), of(Asks { topics: 3, ..ONE }));
        // Cold, and before and after each of two breaks.
        assert_eq!(open.prompts, one.prompts + 3 * 5);
        let four = of(Asks {
            per_prompt: 4,
            ..ONE
        });
        assert_eq!(four.prompts, one.prompts - 7 * 5);
        assert_eq!(four.tokens.output, one.tokens.output);
        assert!(four.tokens.input < one.tokens.input);
    }

    #[test]
    fn more_breaks_cost_more_and_an_unlisted_model_has_no_cost() {
        let probes = ProbeSet {
            seed: 1,
            probes: Vec::new(),
            teaching: Vec::new(),
            report: GeneratorReport::default(),
        };
        let one = estimate(Some("gpt-5"), &probes, ONE, 100_000, 1);
        let three = estimate(Some("gpt-5"), &probes, ONE, 100_000, 3);
        assert!(three.prompts > one.prompts && three.tokens.input > one.tokens.input);
        assert!(one.tokens.cached < one.tokens.input);
        assert!(one.cost_usd < three.cost_usd && one.cost_usd > Some(0.0));
        assert_eq!(
            estimate(Some("m-1"), &probes, ONE, 100_000, 1).cost_usd,
            None
        );
        assert_eq!(estimate(None, &probes, ONE, 100_000, 1).cost_usd, None);
    }
}
