//! A report as Markdown. Plots are named, not shown: they are files of their own.

use super::plots::Plot;
use super::sections::{Part, Report, Table};

/// Writes it, for a place where the plots lie beside it.
pub fn markdown(report: &Report) -> String {
    written(report, |plot| {
        format!("Plot: `{}` ({})", plot.file(), plot.title)
    })
}

/// Writes it, for a place where there are no plots: none is named that nobody can open.
pub fn markdown_alone(report: &Report) -> String {
    written(report, |plot| {
        format!("Plot, in the HTML report only: {}", plot.title)
    })
}

fn written(report: &Report, plotted: impl Fn(&Plot) -> String) -> String {
    let mut text = format!("# {}\n\n", cell(&report.title));
    if let Some(warning) = &report.warning {
        text.push_str(&format!("> **{}**\n\n", cell(warning)));
    }
    for (name, value) in &report.facts {
        text.push_str(&format!("* {name}: {}\n", cell(value)));
    }
    for section in &report.sections {
        text.push_str(&format!("\n## {}\n\n{}\n\n", section.title, section.note));
        for part in &section.parts {
            match part {
                Part::Table(found) => table(&mut text, found),
                Part::Plot(plot) => {
                    text.push_str(&plotted(plot));
                    text.push_str("\n\n");
                }
                Part::Missing(why) => text.push_str(&format!("{}\n\n", cell(why))),
            }
        }
    }
    text
}

fn table(text: &mut String, table: &Table) {
    text.push_str(&format!("| {} |\n", table.head.join(" | ")));
    text.push_str(&format!("|{}\n", " --- |".repeat(table.head.len())));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text.push('\n');
}

/// Text from outside in a table or a line: one line, no new cell, no markup.
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
