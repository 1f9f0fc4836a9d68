//! A report as one HTML file. It fetches nothing, runs no script, and escapes all text.

use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, Output, State, Value, context};

use super::format::template_syntax;
use super::model::Report;
use super::svg::escaped;

/// Number of rows above which a table is folded.
const LONG_TABLE: usize = 24;

/// Returns the report as HTML.
///
/// # Errors
///
/// The template cannot be rendered, which is an error of this program.
pub fn html(report: &Report) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(template_syntax());
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(write_escaped);
    environment.add_template(
        "report.html",
        include_str!("../../templates/report.html.j2"),
    )?;
    environment.get_template("report.html")?.render(context! {
        style => include_str!("../../templates/report.css").trim_end(),
        long_table => LONG_TABLE,
        ..Serde(report)
    })
}

/// Writes a value as text that is valid in HTML and in XML.
fn write_escaped(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = value.to_string();
    let is_markup = value.kind() == ValueKind::String && value.is_safe();
    let text = if is_markup { text } else { escaped(&text) };
    out.write_str(&text).map_err(Error::from)
}
