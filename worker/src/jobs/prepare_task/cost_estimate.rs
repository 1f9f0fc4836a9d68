//! What a task will ask, before it asks: prompts, tokens and list-price cost of each agent. It is told
//! and stored when the task is prepared.
//!
//! An estimate and no limit: how often an agent asks its model in a turn is its own choice. What is
//! assumed of it is told with the figures.

use std::collections::BTreeMap;

use agents::adapter::{AgentAdapter, SessionSpec};
use agents::prices;
use domain::Tokens;
use evaluation::judging::FACTS_AT_ONCE;
use evaluation::probe::ProbeSet;
use serde::Serialize;

use crate::judges::battery::battery_requests;
use crate::material::{MAX_FACTS, OWN_PROMPT};

/// What an answer takes, in tokens, with some thinking; also what is said around a tool call.
const ANSWER: u64 = 300;
/// What asking a question adds to the conversation.
const QUESTION: u64 = 500;
/// Turns of reading before a break: a turn reads about an eighth of the context.
const TURNS: u64 = 8;
/// Requests of a turn that reads: each call of a tool is one, and so is the reply.
const ROUNDS: u64 = 4;
/// Copies that are asked at once at the beginning of an arm: none of them finds the conversation in
/// a cache.
const AT_ONCE: u64 = 4;

/// What is assumed, for people.
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
    /// Of each of them.
    tokens: Tokens,
}

/// What is asked beside what the probes say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuestionPlan {
    /// Probes of one prompt, from 1.
    pub(crate) per_prompt: u64,
    /// Open questions of an arm.
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

/// The estimate of the runs of one agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AgentEstimate {
    runs: u64,
    model: Option<String>,
    /// Of all runs together.
    prompts: u64,
    /// Input counts what comes from a prompt cache.
    tokens: TokensEstimate,
    /// US dollars by list price; none for a model without one.
    cost_usd: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct TokensEstimate {
    input: u64,
    cached: u64,
    output: u64,
}

/// The estimate of a task. Stored as JSON: fields are only added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CostEstimate {
    /// By agent; controls ask no model, and are not among them.
    agents: BTreeMap<String, AgentEstimate>,
    /// US dollars of all agents whose model has a listed price; none where no model has one, or none
    /// is asked.
    cost_usd: Option<f64>,
    /// Agents whose cost is not known, and so not in it.
    without_cost: Vec<String>,
    prices_of: &'static str,
    assumes: [&'static str; 4],
}

impl CostEstimate {
    /// Estimates a task. `agents`: how many runs of each, and the model that it asks.
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

    /// For people: a line per agent, and what is assumed.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .agents
            .iter()
            .map(|(agent, one)| {
                let cost = one.cost_usd.map_or_else(
                    || "cost not known: no list price".to_owned(),
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

    /// What is to be said where the estimate is more than a task may cost.
    pub(crate) fn warning_over(&self, most: f64) -> Option<String> {
        let usd = self.cost_usd.filter(|usd| *usd > most)?;
        Some(format!(
            "about {usd:.2} US dollars are expected, and max_cost_usd is {most}: the task will \
             probably be stopped before all of its runs are measured"
        ))
    }
}

impl QuestionPlan {
    /// Prompts of an arm, without free recall.
    fn prompts(self, probes: &ProbeSet) -> u64 {
        let probes = probes.probes.len() as u64;
        probes.div_ceil(self.per_prompt.max(1)) + self.topics
    }
}

/// Prompts of one run.
fn prompts_of(probes: &ProbeSet, asks: QuestionPlan, breaks: u64) -> u64 {
    let asked = asks.prompts(probes);
    // With free recall.
    let per_arm = asked + 1;
    1 + taught(probes) + TURNS * breaks + 2 * per_arm * breaks + asked
}

/// Turns of teaching.
fn taught(probes: &ProbeSet) -> u64 {
    let turns: std::collections::BTreeSet<usize> =
        probes.teaching.iter().map(|lesson| lesson.turn).collect();
    turns.len() as u64
}

/// All requests of one run. Every probe carries the whole conversation: before the break a full
/// context, after it half of one, cold the program's own prompt.
fn requests(
    probes: &ProbeSet,
    asks: QuestionPlan,
    context_tokens: u64,
    breaks: u64,
) -> Vec<Requests> {
    let full = SessionSpec::full_context(context_tokens).max(OWN_PROMPT);
    let asked = asks.prompts(probes);
    // Every probe is answered, whatever it shares a prompt with.
    let answers = (probes.probes.len() as u64 + asks.topics).div_ceil(asked.max(1));
    let reading = ROUNDS * (1 + TURNS * breaks) + taught(probes);
    // The context grows from the program's own prompt until it is full, and again from a half.
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

/// Request by request: some prices depend on the size of each.
fn cost(model: &str, requests: &[Requests]) -> Option<f64> {
    requests
        .iter()
        .map(|requests| {
            let one = prices::cost(model, requests.tokens)?;
            Some(one.usd * requests.count as f64)
        })
        .sum()
}

/// One line for the models that judge, for people; none where there are none. The battery is counted,
/// though what it found for an earlier task may still hold.
pub(crate) fn judging_estimate(
    judges: usize,
    runs: usize,
    asks: QuestionPlan,
    breaks: u64,
) -> Option<String> {
    let requests = |facts: u64| facts.div_ceil(FACTS_AT_ONCE as u64);
    // Just before each break and after it.
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

/// The model that an adapter asks, where it names one.
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
    fn what_asks_no_model_has_no_cost_that_is_known() {
        let controls = CostEstimate::new(BTreeMap::new(), &probes(), ONE, 100_000, 1);
        assert_eq!(controls.cost_usd, None);
        assert_eq!(controls.warning_over(0.0), None);
    }

    #[test]
    fn a_turn_that_reads_asks_more_than_once_and_teaching_is_asked_as_well() {
        // Nothing is asked but free recall: 9 turns of 4 requests, and 2 copies of the conversation.
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
        // Cold, and before and after each of two breaks.
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
    fn what_is_more_than_a_task_may_cost_is_said() {
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
    fn judges_are_told_too() {
        assert_eq!(judging_estimate(0, 6, ONE, 1), None);
        let told = judging_estimate(2, 6, ONE, 1).unwrap_or_default();
        assert!(
            told.starts_with("judging: 2 models, with at most about 60 requests"),
            "{told}"
        );
    }
}
