//! Contents of a report, independent of its format.

use serde::Serialize;

/// A whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Title of the report.
    pub title: String,
    /// Restriction that readers must know before they use the figures.
    pub warning: Option<String>,
    /// Facts about the measurement: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// Sections in reading order.
    pub sections: Vec<Section>,
}

/// One section.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Heading of the section.
    pub title: &'static str,
    /// Explanation of its figures.
    pub note: &'static str,
    /// Tables and plots.
    pub parts: Vec<Part>,
}

/// One part of a section.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A table.
    Table(Table),
    /// A plot.
    Plot(Plot),
    /// Reason why a table or a plot is missing.
    Missing(String),
}

/// A table. Its cells are untrusted plain text.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Caption of the table.
    pub caption: &'static str,
    /// Column headings.
    pub head: Vec<&'static str>,
    /// Rows of cells.
    pub rows: Vec<Vec<String>>,
    /// Meaning of the abbreviations in the table, if it contains any.
    pub legend: Option<&'static str>,
}

/// A plot.
#[derive(Clone, Debug, Serialize)]
pub struct Plot {
    /// Name of the plot, in snake case.
    pub name: &'static str,
    /// Title of the plot.
    pub title: &'static str,
    /// The picture.
    pub svg: String,
}

/// Meaning of the abbreviations of the dimensions.
const LEGEND: &str = "AR: accurate retrieval. TTL: test-time learning. LRU: long-range understanding. SF: selective forgetting.";

/// Abbreviations of the dimensions.
pub(super) const DIMENSIONS: [&str; 4] = ["AR", "TTL", "LRU", "SF"];

impl Table {
    /// Returns a table, or its absence if there are no rows.
    pub(super) fn part(
        caption: &'static str,
        head: &[&'static str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Part {
        let rows: Vec<Vec<String>> = rows.into_iter().collect();
        if rows.is_empty() {
            return Part::Missing(format!("{caption}: nothing to show."));
        }
        let texts = rows.iter().flatten().map(String::as_str);
        let is_abbreviated = head.iter().copied().chain(texts).any(has_dimension);
        Part::Table(Self {
            caption,
            head: head.to_vec(),
            rows,
            legend: is_abbreviated.then_some(LEGEND),
        })
    }
}

impl Plot {
    /// Returns the name of the plot's file.
    pub fn file(&self) -> String {
        plot_file(self.name)
    }
}

/// Returns the name of a plot's file.
pub(super) fn plot_file(name: &str) -> String {
    format!("plot-{}.svg", name.replace('_', "-"))
}

/// Returns whether a text contains the abbreviation of a dimension as a word.
fn has_dimension(text: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric())
        .any(|word| DIMENSIONS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_abbreviations_explains_them() {
        let row = |text: &str| vec![vec![text.to_owned()]];
        let legend = |part| match part {
            Part::Table(table) => table.legend.is_some(),
            Part::Plot(_) | Part::Missing(_) => false,
        };
        assert!(legend(Table::part("Scores", &["AR"], row("1"))));
        assert!(legend(Table::part(
            "Runs",
            &["remarks"],
            row("no probe of SF")
        )));
        assert!(!legend(Table::part("Runs", &["agent"], row("SFO-agent"))));
    }
}
