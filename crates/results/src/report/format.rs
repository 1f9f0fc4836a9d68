//! Figures as text, and the syntax of templates.

use std::collections::BTreeMap;

use evaluation::leaderboard::Estimate;
use minijinja::syntax::SyntaxConfig;

/// Text for a missing figure.
pub(super) const MISSING: &str = "–";

/// Returns a figure with two digits.
pub(super) fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| format!("{value:.2}"))
}

/// Returns a value as text, or a dash if it is missing.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// Returns a figure with its interval, if it has one.
pub(super) fn estimate(value: &Estimate) -> String {
    match (value.low, value.high) {
        (Some(low), Some(high)) => format!("{} [{low:.2}, {high:.2}]", figure(value.mean)),
        (None | Some(_), None) | (None, Some(_)) => figure(value.mean),
    }
}

/// Returns names with their counts.
pub(super) fn counts(counts: &BTreeMap<String, usize>) -> String {
    let texts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    texts.join(", ")
}

/// Returns the syntax of the report templates: a line with only a block leaves no empty line.
pub(super) fn template_syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .unwrap_or_default()
}
