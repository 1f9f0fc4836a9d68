//! A report as Markdown. Plots are named, not shown: they are files of their own.

use super::contents::{Part, Report, Table};

/// Writes it.
pub fn markdown(report: &Report) -> String {
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
                    text.push_str(&format!("Plot: `{}` ({})\n\n", plot.file(), plot.title));
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
