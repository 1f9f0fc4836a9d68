//! What a run was billed for: whole, or missing.

use agents::adapter::Turn;
use domain::Tokens;
use domain::vocabulary::CostSource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The sum over all turns of a run. A turn that does not tell makes the sum missing for good:
/// a part of it would look like a cheap run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bill {
    /// All turns together; none where one of them did not tell.
    pub(crate) tokens: Option<Tokens>,
    /// US dollars; none where the cost of one turn is not known.
    pub(crate) cost_usd: Option<f64>,
    /// `program`, `price_table` or, where some turns are from the one and some from the other,
    /// `mixed`.
    pub(crate) cost_source: Option<String>,
    /// How many turns are counted.
    pub(crate) turns: u32,
    /// How many turns did not tell their tokens, or their cost.
    pub(crate) turns_without_tokens: u32,
    pub(crate) turns_without_cost: u32,
    /// US dollars that are known: at least so much was spent.
    #[serde(default)]
    pub(crate) known_usd: f64,
    /// Attempts whose last turns nobody can count any more.
    #[serde(default)]
    pub(crate) lost: u32,
}

impl Bill {
    /// A new bill after the stored figures of an earlier attempt: what is known to be spent is.
    pub(crate) fn after(stats: &Value) -> Self {
        let spent = stats.pointer("/bill/known_usd").and_then(Value::as_f64);
        Self {
            known_usd: spent.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Whether the stored figures tell of turns of an earlier attempt.
    pub(crate) fn is_begun(stats: &Value) -> bool {
        ["/bill/turns", "/bill/lost", "/bill/known_usd"]
            .iter()
            .any(|name| stats.pointer(name).and_then(Value::as_f64) > Some(0.0))
    }

    /// Adds a turn.
    pub(crate) fn add(&mut self, turn: &Turn) {
        let first = self.turns == 0;
        self.turns += 1;
        let before = if first {
            Some(Tokens::default())
        } else {
            self.tokens
        };
        if turn.tokens.is_none() {
            self.turns_without_tokens += 1;
        }
        self.tokens = before
            .zip(turn.tokens)
            .and_then(|(before, more)| before.plus(more));
        let before = if first { Some(0.0) } else { self.cost_usd };
        match turn.cost {
            Some(cost) => self.known_usd += cost.usd,
            None => self.turns_without_cost += 1,
        }
        self.cost_usd = before
            .zip(turn.cost)
            .map(|(before, more)| before + more.usd);
        self.cost_source = match (self.cost_usd, turn.cost) {
            (Some(_), Some(cost)) => {
                let source = match cost.source {
                    CostSource::Program => "program",
                    CostSource::PriceTable => "price_table",
                };
                match self.cost_source.take() {
                    Some(known) if known != source => Some("mixed".to_owned()),
                    Some(_) | None => Some(source.to_owned()),
                }
            }
            _ => None,
        };
    }

    /// Turns were taken that nobody can count any more: an earlier attempt's.
    pub(crate) fn lose(&mut self) {
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
    use domain::Cost;

    use super::*;

    fn turn(input: u64, usd: f64) -> Turn {
        Turn {
            tokens: Some(Tokens {
                input,
                cached: 1,
                output: 2,
            }),
            cost: Some(Cost {
                usd,
                source: CostSource::Program,
            }),
            ..Turn::default()
        }
    }

    #[test]
    fn turns_that_tell_add_up() {
        let mut bill = Bill::default();
        bill.add(&turn(10, 0.5));
        bill.add(&turn(20, 0.25));
        let tokens = bill.tokens.expect("both turns told");
        assert_eq!((tokens.input, tokens.cached, tokens.output), (30, 2, 4));
        assert_eq!(bill.cost_usd, Some(0.75));
        assert_eq!(bill.cost_source.as_deref(), Some("program"));
    }

    #[test]
    fn one_silent_turn_makes_the_sum_missing_for_good() {
        let mut bill = Bill::default();
        bill.add(&turn(10, 0.5));
        bill.add(&Turn::default());
        bill.add(&turn(20, 0.25));
        assert_eq!((bill.tokens, bill.cost_usd), (None, None));
        assert_eq!((bill.turns, bill.turns_without_tokens), (3, 1));
        let mut lost = Bill::default();
        lost.lose();
        lost.add(&turn(10, 0.5));
        assert_eq!(lost.tokens, None);
    }
}
