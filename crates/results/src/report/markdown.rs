//! A report as Markdown. Plots are named and not embedded.

use minijinja::value::Serde;
use minijinja::{Environment, Error, context};

use super::format::template_syntax;
use super::model::{Report, plot_file};

/// Returns the report as Markdown, for a folder that also contains the plots.
///
/// # Errors
///
/// The template cannot be rendered, which is an error of this program.
pub fn markdown(report: &Report) -> Result<String, Error> {
    render(report, true)
}

/// Returns the report as Markdown, for a place without plots.
///
/// # Errors
///
/// The template cannot be rendered, which is an error of this program.
pub fn markdown_without_plots(report: &Report) -> Result<String, Error> {
    render(report, false)
}

fn render(report: &Report, has_plot_files: bool) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(template_syntax());
    environment.add_filter("cell", |text: &str| cell(text));
    environment.add_filter("plot_file", |name: &str| plot_file(name));
    environment.add_template("report.md", include_str!("../../templates/report.md.j2"))?;
    environment.get_template("report.md")?.render(context! {
        has_plot_files,
        ..Serde(report)
    })
}

/// Returns untrusted text as one line that starts no new cell and contains no markup.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' => safe.push(' '),
            '|' | '<' | '`' | '[' => {
                safe.push('\\');
                safe.push(letter);
            }
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn text_from_outside_makes_no_new_cell_and_no_markup() {
        assert_eq!(cell("a|b\nc <img>"), "a\\|b c \\<img>");
    }
}
