//! List prices of models, for programs that report tokens without a cost.
//!
//! Prices change, and contracts differ. The table has the list prices of one day, and every cost
//! computed from it is marked as such ([`CostSource::PriceTable`]). A model that is not listed has
//! no cost. A turn whose price depends on unknown facts has none either.

use domain::vocabulary::CostSource;
use domain::{Cost, Tokens};

/// Date of the table. Prices of Anthropic's models have the date [`ANTHROPIC_AS_OF`].
pub const AS_OF: &str = "2026-03-01";

/// Date of Anthropic's prices.
pub const ANTHROPIC_AS_OF: &str = "2026-11-28";

/// Price of a model, in US dollars per million tokens.
struct Price {
    model: &'static str,
    input: f64,
    cached: f64,
    output: f64,
    /// Largest input at this price. Requests with more input cost more, so a turn with more input
    /// in total has no known cost.
    max_input: Option<u64>,
}

/// List prices of pay-as-you-go use: Google's from <https://ai.google.dev/gemini-api/docs/pricing>,
/// `OpenAI`'s from <https://platform.openai.com/docs/pricing>, Anthropic's from
/// <https://platform.claude.com/docs/en/about-claude/pricing>. Anthropic's surcharge for writing a
/// cache (a quarter more than for fresh input, or twice as much) is not included: judges write
/// none, and Claude Code reports its own cost.
const TABLE: [Price; 15] = [
    Price {
        model: "gemini-2.5-pro",
        input: 1.25,
        cached: 0.125,
        output: 10.0,
        max_input: Some(200_000),
    },
    Price {
        model: "gemini-2.5-flash",
        input: 0.30,
        cached: 0.03,
        output: 2.50,
        max_input: None,
    },
    Price {
        model: "gemini-2.5-flash-lite",
        input: 0.10,
        cached: 0.01,
        output: 0.40,
        max_input: None,
    },
    Price {
        model: "gpt-5",
        input: 1.25,
        cached: 0.125,
        output: 10.0,
        max_input: None,
    },
    Price {
        model: "gpt-5-codex",
        input: 1.25,
        cached: 0.125,
        output: 10.0,
        max_input: None,
    },
    anthropic("claude-opus-5-5", 4.0, 0.2, 20.0),
    anthropic("claude-opus-5", 5.0, 0.5, 25.0),
    anthropic("claude-opus-4-8", 5.0, 0.5, 25.0),
    anthropic("claude-opus-4-7", 5.0, 0.5, 25.0),
    anthropic("claude-opus-4-6", 5.0, 0.5, 25.0),
    anthropic("claude-opus-4-5", 5.0, 0.5, 25.0),
    anthropic("claude-sonnet-5-5", 2.0, 0.1, 10.0),
    anthropic("claude-sonnet-5", 2.0, 0.2, 10.0),
    anthropic("claude-haiku-4-5", 1.0, 0.1, 5.0),
    Price {
        max_input: Some(100_000),
        ..anthropic("claude-haiku-5-5", 0.1, 0.01, 0.5)
    },
];

const fn anthropic(model: &'static str, input: f64, cached: f64, output: f64) -> Price {
    Price {
        model,
        input,
        cached,
        output,
        max_input: None,
    }
}

/// Returns the date of a model's price.
pub fn as_of(model: &str) -> &'static str {
    if model.starts_with("claude") {
        ANTHROPIC_AS_OF
    } else {
        AS_OF
    }
}

/// Returns the cost of tokens of a model. Returns `None` if it is unknown.
pub fn cost(model: &str, tokens: Tokens) -> Option<Cost> {
    let price = TABLE.iter().find(|price| price.model == model)?;
    if price.max_input.is_some_and(|max| tokens.input > max) {
        return None;
    }
    let fresh = tokens.input.checked_sub(tokens.cached)?;
    let millionths = fresh as f64 * price.input
        + tokens.cached as f64 * price.cached
        + tokens.output as f64 * price.output;
    Some(Cost {
        usd: millionths / 1e6,
        source: CostSource::PriceTable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_costs_its_fresh_cached_and_written_tokens() {
        let tokens = Tokens {
            input: 1_000_000,
            cached: 600_000,
            output: 100_000,
        };
        let cost = cost("gemini-2.5-flash", tokens).expect("a listed model");
        // 400,000 fresh at 0.30, 600,000 cached at 0.03, 100,000 written at 2.50 a million.
        assert!((cost.usd - (0.12 + 0.018 + 0.25)).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn an_unknown_price_gives_no_cost() {
        let tokens = |input, cached| Tokens {
            input,
            cached,
            output: 1,
        };
        assert_eq!(cost("a-future-model", tokens(10, 0)), None);
        assert_eq!(cost("gemini-2.5-pro", tokens(200_001, 0)), None);
        assert_eq!(cost("gpt-5", tokens(10, 11)), None);
        assert_eq!(cost("claude-haiku-5-5", tokens(100_001, 0)), None);
        assert!(cost("claude-opus-5", tokens(10, 0)).is_some());
    }
}
