//! Reports of a result document for people and for other programs: HTML and Markdown say the same,
//! CSV holds the figures, SVG the plots. A figure that is not defined is shown as "–".

mod sections;
mod csv;
mod html;
mod markdown;
mod plots;
mod svg;
mod schema;

pub use csv::{csv, csv_across};
pub use html::html;
pub use markdown::{markdown, markdown_alone};
pub use plots::{Plot, plots};
pub use schema::{across_schema, json_schema};
pub use sections::{Part, Report, Section, Table, of_across, of_task};

/// A figure with two digits.
fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

/// A figure with its interval, where it has one.
fn estimate(value: &evaluation::leaderboard::Estimate) -> String {
    match (value.low, value.high) {
        (Some(low), Some(high)) => format!("{} [{low:.2}, {high:.2}]", figure(value.mean)),
        (None | Some(_), None) | (None, Some(_)) => figure(value.mean),
    }
}

/// The runs of an agent that ended without a measurement, by cause.
fn failures(row: &crate::document::RowPart) -> String {
    counts(&row.failures)
}

/// Each with its number.
fn counts(of: &std::collections::BTreeMap<String, usize>) -> String {
    let told: Vec<String> = of
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    told.join(", ")
}
