//! The report of a task for people: Markdown. A figure that is not defined is shown as "–".

use std::fmt::Write;

use crate::result::{ResultDocument, RunPart};

/// Writes the report.
pub(crate) fn report(document: &ResultDocument) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write(&mut text, document);
    text
}

fn write(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    let task = &document.task;
    writeln!(text, "# Memory across a break: {}\n", cell(&task.repo))?;
    writeln!(text, "* Pull request: {}", cell(&task.pr_url))?;
    writeln!(
        text,
        "* Commits: {} → {}",
        task.base.as_deref().unwrap_or("–"),
        task.head.as_deref().unwrap_or("–")
    )?;
    writeln!(text, "* Status: {}", task.status)?;
    if let Some(error) = &task.error {
        writeln!(text, "* Error: {}", cell(error))?;
    }
    let probes: Vec<String> = task
        .probes
        .iter()
        .map(|(dimension, count)| format!("{dimension} {count}"))
        .collect();
    writeln!(text, "* Probes: {}", probes.join(", "))?;
    writeln!(
        text,
        "* Trials: {}, seed {}, pass mark {}, instrument {}\n",
        task.trials, task.seed, task.pass_mark, task.instrument_version
    )?;
    leaderboard(text, document)?;
    runs(text, document)?;
    dimensions(text, document)?;
    writeln!(
        text,
        "\n**post** is the score: the mean grade after the break. **retention** is \
         (post − cold) / (baseline − cold); where the agent knew next to nothing before the break \
         it is not defined, and shown as –."
    )
}

fn leaderboard(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    writeln!(text, "## Leaderboard\n")?;
    if document.leaderboard.is_empty() {
        return writeln!(text, "No run counts.\n");
    }
    writeln!(
        text,
        "| rank | agent | n | overall | AR | TTL | LRU | SF | retention (95 %) | passed |"
    )?;
    writeln!(
        text,
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |"
    )?;
    for row in &document.leaderboard {
        let of = |dimension: &str| figure(row.scores.get(dimension).copied().flatten());
        let interval = match (row.retention.low, row.retention.high) {
            (Some(low), Some(high)) => format!(" [{low:.2}, {high:.2}]"),
            (None | Some(_), None) | (None, Some(_)) => String::new(),
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {}{interval} | {} |",
            row.rank,
            cell(&row.agent),
            row.trials,
            figure(row.overall_score),
            of("AR"),
            of("TTL"),
            of("LRU"),
            of("SF"),
            figure(row.retention.mean),
            if row.passed { "yes" } else { "no" },
        )?;
    }
    writeln!(text)
}

fn runs(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    writeln!(text, "## Runs\n")?;
    writeln!(
        text,
        "| agent | trial | status | break | tokens before → after | overall | remarks |"
    )?;
    writeln!(text, "| --- | ---: | --- | --- | --- | ---: | --- |")?;
    for run in &document.runs {
        let (trigger, tokens) = match run.breaks.first() {
            Some(seen) => (
                seen.trigger.as_str(),
                format!(
                    "{} → {}",
                    number(seen.tokens_before),
                    number(seen.tokens_after)
                ),
            ),
            None => ("no break", "–".to_owned()),
        };
        writeln!(
            text,
            "| {} | {} | {} | {trigger} | {tokens} | {} | {} |",
            cell(&run.agent),
            run.trial,
            run.status,
            figure(run.overall_score),
            remarks(run),
        )?;
    }
    writeln!(text)
}

fn remarks(run: &RunPart) -> String {
    let mut remarks = Vec::new();
    if run.seal_broken {
        remarks.push("seal broken: void".to_owned());
    }
    if run.retry_count > 0 {
        remarks.push(format!("tried again {}×", run.retry_count));
    }
    if let Some(cause) = run.failure_cause {
        remarks.push(format!("cause: {cause}"));
    }
    if let Some(error) = &run.error {
        remarks.push(cell(error));
    }
    remarks.join("; ")
}

fn dimensions(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    writeln!(text, "## Dimensions\n")?;
    writeln!(
        text,
        "| agent | trial | dimension | n | cold | baseline | post | retention | item retention | \
         stale | don't recall | wrong |"
    )?;
    writeln!(
        text,
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )?;
    for run in &document.runs {
        for (dimension, part) in &run.dimensions {
            writeln!(
                text,
                "| {} | {} | {dimension} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                cell(&run.agent),
                run.trial,
                part.n,
                figure(part.cold),
                figure(part.baseline),
                figure(part.post),
                figure(part.retention),
                figure(part.item_retention),
                figure(part.stale_rate),
                figure(part.abstained_rate),
                figure(part.wrong_rate),
            )?;
        }
    }
    Ok(())
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// Text from outside in a table or a line: one line, and no new cell.
fn cell(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_not_defined_is_a_dash() {
        assert_eq!(figure(None), "–");
        assert_eq!(figure(Some(0.0)), "0.00");
    }

    #[test]
    fn text_from_outside_makes_no_new_cell() {
        assert_eq!(cell("a|b\nc"), "a\\|b c");
    }
}
