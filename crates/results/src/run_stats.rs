//! Statistics of a run that are not scores: context sizes, turns, costs and breaks.
//!
//! The worker writes [`RunStats`] and [`StoredBreak`] into the JSON columns `stats` and `breaks` of
//! `agent_run`. Result documents and the API read the same types. Every field has a default, because
//! rows of earlier versions lack some of them.

use std::collections::BTreeMap;

use domain::vocabulary::CostSource;
use domain::{Cost, Tokens};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Number of the first break of a run, whose figures are the score.
pub const FIRST_BREAK: i32 = 1;

/// Statistics of one run. The first fields have the names of the first service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunStats {
    /// Context size after the study.
    pub initial_tokens: Option<u64>,
    /// Context size just before the first break.
    pub pre_compression_tokens: Option<u64>,
    /// Turns of the deep dive.
    pub deep_dive_iterations: u32,
    /// Last reported context size of the main line. Forks that answer probes do not count.
    pub total_tokens: Option<u64>,
    /// Whether the deep dive reached its limit of turns.
    pub hit_limit: bool,
    /// Context size that the run was planned for.
    pub max_tokens_configured: u64,
    /// Kind of evidence by which the break was detected.
    pub detection_method: String,
    /// Confinement of the agent's processes.
    pub sandbox: String,
    /// Prompts sent to any session of the run.
    pub prompts: u32,
    /// Whether the agent asked a model stub. The figures then say nothing about any model.
    pub model_stub: bool,
    /// Billed tokens and cost of all prompts.
    pub bill: Bill,
    /// Tool calls in all turns.
    pub tool_calls: u32,
    /// Context size of the main line after each turn.
    pub context: Vec<ContextPoint>,
    /// `unseen` or `seen`, once the workspace is sealed.
    pub canary: Option<String>,
    /// How strictly the asked sessions are sealed: `full`, `permissions` or `workspace`.
    pub seal: Option<String>,
    /// Taught items by turn.
    pub planted: Vec<PlantedPart>,
    /// Breaks that the run is planned to go through. A split baseline allows one.
    pub breaks_planned: Option<u32>,
    /// Dimension → its halves, if the baseline is split.
    pub halves: BTreeMap<String, HalvesPart>,
    /// Reason why the run is void: the first of `tool_call`, `canary` and `compaction`.
    pub void_reason: Option<String>,
    /// Wall time of each phase.
    pub phase_ms: BTreeMap<String, u64>,
}

/// Context size of the main line after one turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContextPoint {
    /// Number of the turn in the run, from 1.
    pub turn: u32,
    /// Phase in which the turn took place.
    pub phase: String,
    /// Context size, null if the program did not report it.
    pub tokens: Option<u64>,
    /// Number of the break that came in this turn.
    #[serde(rename = "break", default)]
    pub break_index: Option<u32>,
}

/// Items taught in one turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlantedPart {
    /// Number of the turn, as in `context`.
    pub turn: u32,
    /// Context size after it, null if the program did not report it.
    pub tokens: Option<u64>,
    /// Labels of the probes that ask for the items.
    pub probes: Vec<String>,
}

/// Number of probes in the two halves of a split baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HalvesPart {
    /// Probes asked before the break.
    pub before: usize,
    /// Probes asked after the break.
    pub after: usize,
}

/// One break, as it is stored in `agent_run.breaks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBreak {
    /// Number of the break, from 1.
    #[serde(rename = "break")]
    pub break_index: i32,
    /// Evidence that result documents show.
    #[serde(flatten)]
    pub evidence: BreakPart,
    /// Name of the artifact with the texts that the program reinjected.
    pub reinjected_artifact: Option<String>,
}

/// Evidence of one break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakPart {
    /// `auto` or `manual`.
    pub trigger: String,
    /// Context size before the break, null if the program did not report it.
    pub tokens_before: Option<u64>,
    /// Context size after the break, null if the program did not report it.
    pub tokens_after: Option<u64>,
    /// Whether the program's own threshold was lowered to cause the break.
    #[serde(default)]
    pub forced: bool,
    /// Whether the workspace was empty at the break.
    #[serde(default)]
    pub sealed: bool,
    /// Reading turns completed since the teaching or the previous break. With 0, the text that was
    /// taught last may be in what the program keeps verbatim.
    #[serde(default)]
    pub reading_turns: Option<u32>,
    /// `reported` by the program, or `structural`: detected from the context size.
    #[serde(default)]
    pub proof: Option<String>,
    /// Name of the artifact with the compaction summary.
    #[serde(default)]
    pub summary_artifact: Option<String>,
    /// Texts that the program reinjected beside the summary.
    #[serde(default)]
    pub reinjected: Vec<ReinjectedPart>,
}

/// A text that a program reinjected at a compaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReinjectedPart {
    /// `file`, `tail` or `memory`.
    pub kind: String,
    /// File name, if the text is from a file.
    pub name: Option<String>,
    /// Length in characters.
    pub chars: u64,
}

/// Billed tokens and cost of all turns of a run.
///
/// If one turn does not report its usage, the sum stays missing: a partial sum would make the run
/// look cheap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bill {
    /// Tokens of all turns, or `None` if one turn did not report them.
    pub tokens: Option<Tokens>,
    /// US dollars, or `None` if the cost of one turn is unknown.
    pub cost_usd: Option<f64>,
    /// `program`, `price_table`, or `mixed` if turns have different sources.
    pub cost_source: Option<String>,
    /// Number of turns in the sum.
    pub turns: u32,
    /// Number of turns without reported tokens.
    pub turns_without_tokens: u32,
    /// Number of turns without a known cost.
    pub turns_without_cost: u32,
    /// Lower bound of the cost in US dollars: the sum of all known costs.
    pub known_usd: f64,
    /// Number of attempts whose last turns can no longer be counted.
    pub lost: u32,
}

impl Bill {
    /// Returns a new bill that carries over the known cost of an earlier attempt's stored statistics.
    pub fn after(stats: &Value) -> Self {
        let spent = stats.pointer("/bill/known_usd").and_then(Value::as_f64);
        Self {
            known_usd: spent.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Returns whether the stored statistics contain turns of an earlier attempt.
    pub fn is_begun(stats: &Value) -> bool {
        ["/bill/turns", "/bill/lost", "/bill/known_usd"]
            .iter()
            .any(|name| stats.pointer(name).and_then(Value::as_f64) > Some(0.0))
    }

    /// Adds the usage of one turn.
    pub fn add(&mut self, tokens: Option<Tokens>, cost: Option<Cost>) {
        let first = self.turns == 0;
        self.turns += 1;
        let before = if first {
            Some(Tokens::default())
        } else {
            self.tokens
        };
        if tokens.is_none() {
            self.turns_without_tokens += 1;
        }
        self.tokens = before
            .zip(tokens)
            .and_then(|(before, more)| before.plus(more));
        let before = if first { Some(0.0) } else { self.cost_usd };
        match cost {
            Some(cost) => self.known_usd += cost.usd,
            None => self.turns_without_cost += 1,
        }
        self.cost_usd = before.zip(cost).map(|(before, more)| before + more.usd);
        self.cost_source = match (self.cost_usd, cost) {
            (Some(_), Some(cost)) => {
                let source = match cost.source {
                    CostSource::Program => "program",
                    CostSource::PriceTable => "price_table",
                };
                match self.cost_source.take() {
                    Some(earlier) if earlier != source => Some("mixed".to_owned()),
                    Some(_) | None => Some(source.to_owned()),
                }
            }
            _ => None,
        };
    }

    /// Records that turns of an earlier attempt can no longer be counted.
    pub fn mark_lost(&mut self) {
        *self = Self {
            tokens: None,
            cost_usd: None,
            cost_source: None,
            turns: self.turns.max(1),
            turns_without_tokens: self.turns_without_tokens,
            turns_without_cost: self.turns_without_cost,
            known_usd: self.known_usd,
            lost: self.lost + 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(bill: &mut Bill, input: u64, usd: f64) {
        let tokens = Tokens {
            input,
            cached: 1,
            output: 2,
        };
        let cost = Cost {
            usd,
            source: CostSource::Program,
        };
        bill.add(Some(tokens), Some(cost));
    }

    #[test]
    fn reported_turns_are_summed() {
        let mut bill = Bill::default();
        add(&mut bill, 10, 0.5);
        add(&mut bill, 20, 0.25);
        let tokens = bill.tokens.expect("both turns reported tokens");
        assert_eq!((tokens.input, tokens.cached, tokens.output), (30, 2, 4));
        assert_eq!(bill.cost_usd, Some(0.75));
        assert_eq!(bill.cost_source.as_deref(), Some("program"));
    }

    #[test]
    fn one_unreported_turn_makes_the_sum_missing_for_good() {
        let mut bill = Bill::default();
        add(&mut bill, 10, 0.5);
        bill.add(None, None);
        add(&mut bill, 20, 0.25);
        assert_eq!((bill.tokens, bill.cost_usd), (None, None));
        assert_eq!((bill.turns, bill.turns_without_tokens), (3, 1));
        let mut lost = Bill::default();
        lost.mark_lost();
        add(&mut lost, 10, 0.5);
        assert_eq!(lost.tokens, None);
    }

    #[test]
    fn statistics_of_runs_that_never_started_can_be_read() {
        for stored in ["{}", r#"{"bill": {"known_usd": 0.5}}"#] {
            let stats: Result<RunStats, _> = serde_json::from_str(stored);
            assert!(stats.is_ok(), "{stored}");
        }
    }

    #[test]
    fn a_stored_break_is_one_flat_object() {
        let stored = r#"{"break": 2, "trigger": "auto", "tokens_before": 9, "tokens_after": 1,
            "forced": true, "reinjected_artifact": "reinjected-2.md"}"#;
        let stored: StoredBreak = serde_json::from_str(stored).expect("a stored break");
        assert_eq!((stored.break_index, stored.evidence.forced), (2, true));
        let value = serde_json::to_value(&stored).expect("JSON");
        assert_eq!(value["trigger"], "auto");
    }
}
