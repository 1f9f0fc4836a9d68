//! A report as one HTML file: nothing is fetched, no script runs, and what comes from outside is text.

use super::sections::{Part, Report, Table};
use super::svg::escaped;

/// Light and dark as the reader's system has it; tables scroll on small screens; prints.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#c8ced6;--soft:#f2f4f7;--warn:#8a3b00}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--paper:#15181c;--line:#3a424d;--soft:#1f242a;--warn:#ffb27a}}\
body{margin:0 auto;max-width:76rem;padding:1.5rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.2rem;border-top:1px solid var(--line);padding-top:1rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}\
.warning{border:2px solid var(--warn);color:var(--warn);padding:.6rem 1rem;font-weight:600}\
summary{cursor:pointer;font-weight:600}.note{max-width:60rem}.table{overflow-x:auto;margin:1rem 0}\
table{border-collapse:collapse;font-size:.9rem}caption{text-align:left;font-weight:600;padding:.3rem 0}\
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}\
th{background:var(--soft)}td{font-variant-numeric:tabular-nums}\
figure{margin:1rem 0;background:#fff;border:1px solid var(--line);padding:.5rem;max-width:50rem}\
figcaption{color:#1b1f24;font-size:.9rem}svg{max-width:100%;height:auto}\
@media print{body{max-width:none}h2,figure{break-inside:avoid}}";

/// Writes it.
pub fn html(report: &Report) -> String {
    let title = escaped(&report.title);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    if let Some(warning) = &report.warning {
        text.push_str(&format!(
            "<p class=\"warning\" role=\"note\">{}</p>\n",
            escaped(warning)
        ));
    }
    text.push_str("<dl>\n");
    for (name, value) in &report.facts {
        text.push_str(&format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(value)));
    }
    text.push_str("</dl>\n");
    for section in &report.sections {
        text.push_str(&format!(
            "<section>\n<h2>{}</h2>\n<p class=\"note\">{}</p>\n",
            escaped(section.title),
            escaped(section.note)
        ));
        for part in &section.parts {
            match part {
                Part::Table(found) => table(&mut text, found),
                Part::Plot(plot) => text.push_str(&format!(
                    "<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n",
                    plot.svg,
                    escaped(plot.title)
                )),
                Part::Missing(why) => text.push_str(&format!("<p>{}</p>\n", escaped(why))),
            }
        }
        text.push_str("</section>\n");
    }
    text.push_str("</main>\n</body>\n</html>\n");
    text
}

/// Longer tables are folded.
const LONG: usize = 24;

fn table(text: &mut String, table: &Table) {
    let folded = table.rows.len() > LONG;
    if folded {
        text.push_str(&format!(
            "<details><summary>{} ({} rows)</summary>\n",
            escaped(table.caption),
            table.rows.len()
        ));
    }
    text.push_str(&format!(
        "<div class=\"table\"><table>\n<caption>{}</caption>\n<thead><tr>",
        escaped(table.caption)
    ));
    for head in &table.head {
        text.push_str(&format!("<th scope=\"col\">{}</th>", escaped(head)));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        text.push_str("<tr>");
        for cell in row {
            text.push_str(&format!("<td>{}</td>", escaped(cell)));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table></div>\n");
    if folded {
        text.push_str("</details>\n");
    }
}
