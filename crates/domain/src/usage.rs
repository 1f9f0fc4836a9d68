//! Token counts and costs.

use serde::{Deserialize, Serialize};

use crate::vocabulary::CostSource;

/// Tokens that a provider billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Tokens {
    /// All tokens sent, cached or not.
    pub input: u64,
    /// The part of `input` that the provider read from its cache.
    pub cached: u64,
    /// Tokens that the model wrote.
    pub output: u64,
}

impl Tokens {
    /// Returns the sum, or `None` if a count would overflow.
    pub fn plus(self, other: Self) -> Option<Self> {
        Some(Self {
            input: self.input.checked_add(other.input)?,
            cached: self.cached.checked_add(other.cached)?,
            output: self.output.checked_add(other.output)?,
        })
    }
}

/// Cost of one or more model calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Cost {
    /// US dollars.
    pub usd: f64,
    /// Origin of `usd`.
    pub source: CostSource,
}
