//! Estimate of a task's prompts, tokens and list-price cost, made and stored when the task is
//! prepared.
//!
//! It is an estimate and no limit: the number of requests in a turn is the agent's own choice. The
//! assumptions are shown with the figures.

use std::collections::BTreeMap;

use agents::adapter::{AgentAdapter, SessionSpec};
use agents::prices;
use domain::Tokens;
use evaluation::judging::FACTS_AT_ONCE;
use evaluation::probe::ProbeSet;
use serde::Serialize;

use crate::judges::battery::battery_requests;
use crate::material::{MAX_FACTS, OWN_PROMPT};

/// Tokens of an answer with some thinking, and of the text around a tool call.
const ANSWER: u64 = 300;
/// Tokens that a question adds to the conversation.
const QUESTION: u64 = 500;
/// Reading turns before a break. One turn reads about an eighth of the context.
const TURNS: u64 = 8;
/// Requests in a reading turn: one per tool call, and one for the reply.
const ROUNDS: u64 = 4;
/// Forks asked at once at the start of an arm. None of them finds the conversation in a cache.
const AT_ONCE: u64 = 4;

/// Assumptions, for people.
const ASSUMES: [&str; 4] = [
    "8 turns of reading before each break, of 4 requests each: a request for every call of a tool",
    "16,000 tokens of the program's own prompt in every request, and the teaching in the context",
    "after a break half of the context is left",
    "a prompt cache, and that writing into it costs what fresh input costs",
];

/// Requests of one kind.
#[derive(Clone, Copy, Debug)]
struct Requests {
    count: u64,
    /// Tokens of each request.
    tokens: Tokens,
}

/// Questions of a run, beside the probes themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuestionPlan {
    /// Probes in one prompt, from 1.
    pub(crate) per_prompt: u64,
    /// Open questions in an arm.
    pub(crate) topics: u64,
}

impl Requests {
    fn new(count: u64, input: u64, fresh: u64) -> Self {
        let tokens = Tokens {
            input,
            cached: input.saturating_sub(fresh),
            output: ANSWER,
        };
        Self { count, tokens }
    }
}

/// Estimate of one agent's runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AgentEstimate {
    runs: u64,
    model: Option<String>,
    /// Prompts of all runs together.
    prompts: u64,
    /// Tokens of all runs together. The input includes cached tokens.
    tokens: TokensEstimate,
    /// US dollars by list price, `None` for a model without one.
    cost_usd: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct TokensEstimate {
    input: u64,
    cached: u64,
    output: u64,
}

/// Estimate of a task. It is stored as JSON: fields are only added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CostEstimate {
    /// Estimates by agent. Control agents ask no model and are left out.
    agents: BTreeMap<String, AgentEstimate>,
    /// US dollars of all agents whose model has a list price, `None` if there is no such agent.
    cost_usd: Option<f64>,
    /// Agents whose cost is unknown and therefore not included.
    without_cost: Vec<String>,
    prices_of: &'static str,
    assumes: [&'static str; 4],
}

impl CostEstimate {
    /// Estimates a task. `agents` contains the number of runs and the model of each agent.
    pub(crate) fn new(
        agents: BTreeMap<String, (u64, Option<String>)>,
        probes: &ProbeSet,
        asks: QuestionPlan,
        context_tokens: u64,
        breaks: u64,
    ) -> Self {
        let prompts = prompts_of(probes, asks, breaks);
        let requests = requests(probes, asks, context_tokens, breaks);
        let agents: BTreeMap<String, AgentEstimate> = agents
            .into_iter()
            .map(|(agent, (runs, model))| {
                let mut tokens = TokensEstimate::default();
                for Requests { count, tokens: one } in &requests {
                    tokens.input += runs * count * one.input;
                    tokens.cached += runs * count * one.cached;
                    tokens.output += runs * count * one.output;
                }
                let cost_usd = model
                    .as_deref()
                    .and_then(|model| cost(model, &requests))
                    .map(|usd| usd * runs as f64);
                let expected = AgentEstimate {
                    runs,
                    prompts: prompts * runs,
                    tokens,
                    cost_usd,
                    model,
                };
                (agent, expected)
            })
            .collect();
        let known: Vec<f64> = agents.values().filter_map(|one| one.cost_usd).collect();
        Self {
            cost_usd: (!known.is_empty()).then(|| known.iter().sum()),
            without_cost: agents
                .iter()
                .filter(|(_, one)| one.cost_usd.is_none())
                .map(|(agent, _)| agent.clone())
                .collect(),
            agents,
            prices_of: prices::AS_OF,
            assumes: ASSUMES,
        }
    }

    /// Returns one line per agent and the assumptions, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .agents
            .iter()
            .map(|(agent, one)| {
                let cost = one.cost_usd.map_or_else(
                    || "cost unknown: no list price".to_owned(),
                    |usd| {
                        let as_of = one.model.as_deref().map_or(self.prices_of, prices::as_of);
                        format!("about {usd:.2} US dollars (list prices of {as_of})")
                    },
                );
                format!(
                    "{agent}: about {} prompts and {:.1} million tokens ({:.1} of them cached) in {} \
                     runs; {cost}",
                    one.prompts,
                    one.tokens.input as f64 / 1e6,
                    one.tokens.cached as f64 / 1e6,
                    one.runs,
                )
            })
            .collect();
        if !lines.is_empty() {
            lines.push(format!("this assumes {}", self.assumes.join("; ")));
        }
        lines
    }

    /// Returns a warning if the estimate exceeds the task's cost limit.
    pub(crate) fn warning_over(&self, most: f64) -> Option<String> {
        let usd = self.cost_usd.filter(|usd| *usd > most)?;
        Some(format!(
            "the estimate of {usd:.2} US dollars exceeds max_cost_usd ({most}): the task will \
             probably stop before all of its runs are measured"
        ))
    }
}

impl QuestionPlan {
    /// Returns the number of prompts in an arm, without free recall.
    fn prompts(self, probes: &ProbeSet) -> u64 {
        let probes = probes.probes.len() as u64;
        probes.div_ceil(self.per_prompt.max(1)) + self.topics
    }
}

/// Returns the number of prompts in one run.
fn prompts_of(probes: &ProbeSet, asks: QuestionPlan, breaks: u64) -> u64 {
    let asked = asks.prompts(probes);
    // One more prompt for free recall.
    let per_arm = asked + 1;
    1 + taught(probes) + TURNS * breaks + 2 * per_arm * breaks + asked
}

/// Returns the number of teaching turns.
fn taught(probes: &ProbeSet) -> u64 {
    let turns: std::collections::BTreeSet<usize> =
        probes.teaching.iter().map(|lesson| lesson.turn).collect();
    turns.len() as u64
}

/// Returns all requests of one run.
///
/// Every probe carries the whole conversation: a full context before the break, half of one after
/// it, and only the program's own prompt in the cold arm.
fn requests(
    probes: &ProbeSet,
    asks: QuestionPlan,
    context_tokens: u64,
    breaks: u64,
) -> Vec<Requests> {
    let full = SessionSpec::full_context(context_tokens).max(OWN_PROMPT);
    let asked = asks.prompts(probes);
    // Every probe is answered, also if it shares a prompt.
    let answers = (probes.probes.len() as u64 + asks.topics).div_ceil(asked.max(1));
    let reading = ROUNDS * (1 + TURNS * breaks) + taught(probes);
    // The context grows from the program's own prompt until it is full, and then from half of it.
    let grown = (full - OWN_PROMPT) + breaks.saturating_sub(1) * (full / 2);
    let mut requests = vec![Requests::new(
        reading,
        (OWN_PROMPT + full) / 2,
        grown / reading.max(1) + ANSWER,
    )];
    let mut arm = |prompts: u64, conversation: u64, times: u64| {
        let input = conversation + QUESTION;
        let first = prompts.min(AT_ONCE);
        for (count, fresh) in [(first, input), (prompts - first, QUESTION)] {
            let mut one = Requests::new(count * times, input, fresh);
            one.tokens.output *= answers.max(1);
            requests.push(one);
        }
    };
    arm(asked + 1, full, breaks);
    arm(asked + 1, full / 2, breaks);
    arm(asked, OWN_PROMPT, 1);
    requests
}

/// Returns the cost, request by request: some prices depend on the size of each.
fn cost(model: &str, requests: &[Requests]) -> Option<f64> {
    requests
        .iter()
        .map(|requests| {
            let one = prices::cost(model, requests.tokens)?;
            Some(one.usd * requests.count as f64)
        })
        .sum()
}

/// Returns one line about the models that judge, or `None` if there are none. It includes the
/// battery, although a cached result may be reused.
pub(crate) fn judging_estimate(
    judges: usize,
    runs: usize,
    asks: QuestionPlan,
    breaks: u64,
) -> Option<String> {
    let requests = |facts: u64| facts.div_ceil(FACTS_AT_ONCE as u64);
    // Free recall is asked before and after each break.
    let recalls = 2 * breaks * runs as u64 * requests(MAX_FACTS as u64);
    let open = (2 * breaks + 1) * asks.topics * runs as u64;
    let battery = battery_requests() as u64;
    (judges > 0).then(|| {
        format!(
            "judging: {judges} models, with at most about {recalls} requests each for free recall, {open} for \
             open questions, and {battery} for the adversarial battery"
        )
    })
}

/// Returns the model that an adapter asks, if it specifies one.
pub(crate) fn model_of(adapter: &dyn AgentAdapter) -> Option<String> {
    adapter.profile().default_model.clone()
}

#[cfg(test)]
mod tests {
    use evaluation::probe::{GeneratorReport, Teaching};

    use super::*;

    const ONE: QuestionPlan = QuestionPlan {
        per_prompt: 1,
        topics: 0,
    };

    fn probes() -> ProbeSet {
        ProbeSet {
            seed: 1,
            probes: Vec::new(),
            teaching: Vec::new(),
            report: GeneratorReport::default(),
        }
    }

    fn expected(model: &str, probes: &ProbeSet, breaks: u64) -> CostEstimate {
        let agents = BTreeMap::from([("a".to_owned(), (2, Some(model.to_owned())))]);
        CostEstimate::new(agents, probes, ONE, 100_000, breaks)
    }

    #[test]
    fn more_breaks_cost_more_and_an_unlisted_model_has_no_cost() {
        let one = expected("gpt-5", &probes(), 1);
        let three = expected("gpt-5", &probes(), 3);
        assert!(one.cost_usd < three.cost_usd && one.cost_usd > Some(0.0));
        let (one, three) = (&one.agents["a"], &three.agents["a"]);
        assert!(three.prompts > one.prompts && three.tokens.input > one.tokens.input);
        assert!(one.tokens.cached < one.tokens.input);
        let unlisted = expected("m-1", &probes(), 1);
        assert_eq!(unlisted.cost_usd, None);
        assert_eq!(unlisted.without_cost, ["a"]);
    }

    #[test]
    fn control_agents_have_no_cost() {
        let controls = CostEstimate::new(BTreeMap::new(), &probes(), ONE, 100_000, 1);
        assert_eq!(controls.cost_usd, None);
        assert_eq!(controls.warning_over(0.0), None);
    }

    #[test]
    fn a_reading_turn_has_several_requests_and_teaching_counts() {
        // Only free recall is asked: 9 turns of 4 requests, and 2 forks of the conversation.
        let one = &expected("gpt-5", &probes(), 1).agents["a"];
        let requests = 36 * (16_000 + 80_000) / 2 + (80_000 + 500) + (40_000 + 500);
        assert_eq!(one.tokens.input, 2 * requests);
        assert_eq!(one.prompts, 2 * (1 + 8 + 2));
        let mut taught = probes();
        taught.teaching = vec![Teaching {
            turn: 0,
            probes: Vec::new(),
            text: "We say so.".to_owned(),
        }];
        let more = &expected("gpt-5", &taught, 1).agents["a"];
        assert_eq!(more.prompts, one.prompts + 2);
        assert!(more.tokens.input > one.tokens.input);
    }

    #[test]
    fn open_questions_cost_prompts_and_sharing_a_prompt_saves_them() {
        let bank = serde_json::json!({
            "label": "AR-01", "dimension": "AR", "kind": "constant_value", "question": "Which?",
            "grader": {"grader": "exact", "accept": ["1"]}, "distractors": [], "source": null,
            "key": {"combine": "single", "versions": []},
        });
        let probe: evaluation::probe::Probe = serde_json::from_value(bank).expect("a probe");
        let probes = ProbeSet {
            probes: vec![probe; 10],
            ..probes()
        };
        let of = |asks| {
            let agents = BTreeMap::from([("a".to_owned(), (1, None))]);
            CostEstimate::new(agents, &probes, asks, 100_000, 2).agents["a"].clone()
        };
        let (one, open) = (of(ONE), of(QuestionPlan { topics: 3, ..ONE }));
        // One cold arm, and two arms for each of two breaks.
        assert_eq!(open.prompts, one.prompts + 3 * 5);
        let four = of(QuestionPlan {
            per_prompt: 4,
            ..ONE
        });
        assert_eq!(four.prompts, one.prompts - 7 * 5);
        assert!(four.tokens.input < one.tokens.input);
    }

    #[test]
    fn a_price_that_depends_on_the_size_of_a_request_is_known() {
        assert!(expected("gemini-2.5-pro", &probes(), 1).cost_usd > Some(0.0));
    }

    #[test]
    fn an_estimate_over_the_limit_is_a_warning() {
        let expected = expected("gpt-5", &probes(), 1);
        let usd = expected.cost_usd.expect("a listed model");
        assert!(expected.warning_over(usd / 2.0).is_some());
        assert_eq!(expected.warning_over(usd * 2.0), None);
        let told = expected.lines();
        assert!(told[0].contains("about"), "{told:?}");
        assert!(
            told.last().is_some_and(|line| line.contains("assumes")),
            "{told:?}"
        );
    }

    #[test]
    fn the_estimate_includes_judges() {
        assert_eq!(judging_estimate(0, 6, ONE, 1), None);
        let told = judging_estimate(2, 6, ONE, 1).unwrap_or_default();
        assert!(
            told.starts_with("judging: 2 models, with at most about 60 requests"),
            "{told}"
        );
    }
}
