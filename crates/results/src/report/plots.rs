//! The plots of a report, each an SVG picture.

use std::collections::BTreeMap;

use evaluation::leaderboard::{estimate, retention_estimate};
use evaluation::statistics::RiskCoverage;

use super::format::{estimate as interval, figure};
use super::model::Plot;
use super::svg::{Anchor, COLOURS, Drawing};
use crate::document::{ResultDocument, RowPart, RunPart};
use crate::overall_document::OverallDocument;
use crate::run_stats::ContextPoint;

/// Right edge of the agents' names, where the figures begin.
const LEFT: f64 = 190.0;
const WIDTH: f64 = 700.0;
const ROW: f64 = 30.0;
/// Maximum number of runs with a picture of their own.
const MAX_PICTURES: usize = 12;

/// Returns all plots of a task for which there are figures.
pub fn task_plots(document: &ResultDocument) -> Vec<Plot> {
    let runs = &document.runs;
    [
        scores(&document.leaderboard),
        retention(runs),
        context(runs),
        forgetting(runs, |_| ""),
        attribution(runs),
        risk_coverage(&document.risk_coverage),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns all plots over several tasks for which there are figures.
pub(super) fn overall_plots(overall: &OverallDocument) -> Vec<Plot> {
    let runs = &overall.measured;
    [
        scores(&overall.leaderboard),
        retention(runs),
        forgetting(runs, |run| {
            overall
                .pull_requests
                .get(&run.id)
                .map_or("", String::as_str)
        }),
        attribution(runs),
        risk_coverage(&overall.risk_coverage),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Shortens a name so that it fits beside a plot.
fn short(name: &str) -> String {
    if name.chars().count() <= 26 {
        return name.to_owned();
    }
    // The end of a name distinguishes snapshots of a model.
    let letters: Vec<char> = name.chars().collect();
    let start: String = letters.iter().take(13).collect();
    let end: String = letters[letters.len() - 12..].iter().collect();
    format!("{start}…{end}")
}

/// Draws an axis of shares at the bottom. Returns a function from a share to its position.
fn shares(drawing: &mut Drawing, bottom: f64, most: f64) -> impl Fn(f64) -> f64 + use<> {
    let place = move |share: f64| LEFT + (WIDTH - LEFT - 30.0) * share / most;
    drawing.line((LEFT, bottom), (place(most), bottom), "#444444", 1.0);
    for step in 0..=4 {
        let share = most * f64::from(step) / 4.0;
        drawing.line((place(share), 30.0), (place(share), bottom), "#e3e6ea", 1.0);
        let told = format!("{share:.2}");
        drawing.text((place(share), bottom + 16.0), Anchor::Middle, &told);
    }
    place
}

/// Plots scores with their intervals, one agent per row.
fn scores(rows: &[RowPart]) -> Option<Plot> {
    if rows.is_empty() {
        return None;
    }
    let title = "Score with 95 % interval, by agent";
    let bottom = 30.0 + ROW * rows.len() as f64;
    let mut drawing = Drawing::new(WIDTH, bottom + 45.0);
    let place = shares(&mut drawing, bottom, 1.0);
    let mut descriptions = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let y = 30.0 + ROW * (at as f64 + 0.5);
        drawing.text((LEFT - 8.0, y + 4.0), Anchor::End, &short(&row.agent));
        if let (Some(low), Some(high)) = (row.score.low, row.score.high) {
            let (low, high) = (place(low), place(high));
            drawing.line((low, y), (high, y), COLOURS[0], 1.5);
            for end in [low, high] {
                drawing.line((end, y - 5.0), (end, y + 5.0), COLOURS[0], 1.5);
            }
        }
        if let Some(mean) = row.overall_score {
            drawing.dot((place(mean), y), COLOURS[0]);
        }
        descriptions.push(format!("{} {}", row.agent, interval(&row.score)));
    }
    drawing.text(
        (place(0.5), bottom + 36.0),
        Anchor::Middle,
        "mean grade after the break",
    );
    Some(Plot {
        name: "score",
        title,
        svg: drawing.finish(title, &descriptions.join("; ")),
    })
}

/// Groups measurements by agent, in the order of the runs.
fn by_agent(runs: &[RunPart]) -> Vec<(&str, Vec<&RunPart>)> {
    let mut agents: Vec<(&str, Vec<&RunPart>)> = Vec::new();
    for run in runs.iter().filter(|run| run.state().may_be_scored()) {
        match agents.iter_mut().find(|(agent, _)| *agent == run.agent) {
            Some((_, own)) => own.push(run),
            None => agents.push((&run.agent, vec![run])),
        }
    }
    agents
}

/// Plots retention by dimension, four rows per agent.
fn retention(runs: &[RunPart]) -> Option<Plot> {
    let title = "Retention by dimension";
    let agents = by_agent(runs);
    let mut rows = Vec::new();
    for (agent, own) in &agents {
        let mut dimensions: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for run in own {
            for (name, part) in &run.dimensions {
                dimensions.entry(name).or_default().extend(part.retention);
            }
        }
        for (at, (name, figures)) in dimensions.into_iter().enumerate() {
            rows.push((if at == 0 { *agent } else { "" }, *agent, name, figures));
        }
    }
    if rows.iter().all(|(_, _, _, figures)| figures.is_empty()) {
        return None;
    }
    let step = 18.0;
    let bottom = 34.0 + step * rows.len() as f64;
    let mut drawing = Drawing::new(WIDTH, bottom + 45.0);
    let place = shares(&mut drawing, bottom, 1.25);
    let mut descriptions = Vec::new();
    for (at, (label, agent, name, figures)) in rows.iter().enumerate() {
        let y = 34.0 + step * at as f64;
        drawing.text((LEFT - 40.0, y + 13.0), Anchor::End, &short(label));
        drawing.text((LEFT - 8.0, y + 13.0), Anchor::End, name);
        let found = estimate(figures, 1);
        match found.mean {
            Some(mean) => {
                let colour = COLOURS[at % 4];
                drawing.bar((LEFT, y + 3.0), (place(mean) - LEFT, step - 6.0), colour);
                drawing.text(
                    (place(mean) + 5.0, y + 13.0),
                    Anchor::Start,
                    &figure(Some(mean)),
                );
            }
            None => drawing.text((LEFT + 5.0, y + 13.0), Anchor::Start, "– not defined"),
        }
        descriptions.push(format!("{agent} {name} {}", figure(found.mean)));
    }
    drawing.text(
        (place(0.625), bottom + 36.0),
        Anchor::Middle,
        "share of the knowledge that survived the break",
    );
    Some(Plot {
        name: "retention",
        title,
        svg: drawing.finish(title, &descriptions.join("; ")),
    })
}

/// Plots the context size over the turns of each run, with its breaks.
fn context(runs: &[RunPart]) -> Option<Plot> {
    let title = "Context over the turns of the main line; dashed: a break";
    let told = |run: &&RunPart| run.context.iter().any(|point| point.tokens.is_some());
    let shown: Vec<&RunPart> = runs.iter().filter(told).take(MAX_PICTURES).collect();
    if shown.is_empty() {
        return None;
    }
    let (columns, width, height) = (3, WIDTH / 3.0, 150.0);
    let lines = shown.len().div_ceil(columns);
    let mut drawing = Drawing::new(WIDTH, height * lines as f64);
    let mut descriptions = Vec::new();
    for (at, run) in shown.iter().enumerate() {
        let left = width * (at % columns) as f64 + 50.0;
        let top = height * (at / columns) as f64 + 26.0;
        small(
            &mut drawing,
            &run.context,
            (left, top),
            (width - 65.0, height - 52.0),
        );
        let label = format!("{} #{}", short(&run.agent), run.trial);
        drawing.text((left, top - 10.0), Anchor::Start, &label);
        let breaks = run
            .context
            .iter()
            .filter(|point| point.break_index.is_some());
        descriptions.push(format!(
            "{} trial {}: {} turns, {} breaks",
            run.agent,
            run.trial,
            run.context.len(),
            breaks.count()
        ));
    }
    Some(Plot {
        name: "context",
        title,
        svg: drawing.finish(title, &descriptions.join("; ")),
    })
}

fn small(drawing: &mut Drawing, points: &[ContextPoint], at: (f64, f64), size: (f64, f64)) {
    let ((left, top), (width, height)) = (at, size);
    let most = points.iter().filter_map(|point| point.tokens).max();
    let most = most.unwrap_or(1).max(1) as f64;
    let last = points.len().saturating_sub(1).max(1) as f64;
    let x = |turn: usize| left + width * turn as f64 / last;
    let y = |tokens: u64| top + height * (1.0 - tokens as f64 / most);
    drawing.line((left, top), (left, top + height), "#444444", 1.0);
    let floor = top + height;
    drawing.line((left, floor), (left + width, floor), "#444444", 1.0);
    drawing.text((left - 4.0, top + 6.0), Anchor::End, &thousands(most));
    drawing.text((left - 4.0, floor), Anchor::End, "0");
    drawing.text(
        (left + width, floor + 14.0),
        Anchor::End,
        &points.len().to_string(),
    );
    for (turn, point) in points.iter().enumerate() {
        if point.break_index.is_some() {
            let mut from = top;
            while from < floor {
                let to = (from + 4.0).min(floor);
                drawing.line((x(turn), from), (x(turn), to), COLOURS[1], 1.0);
                from += 8.0;
            }
        }
    }
    let line: Vec<(f64, f64)> = points
        .iter()
        .enumerate()
        .filter_map(|(turn, point)| Some((x(turn), y(point.tokens?))))
        .collect();
    drawing.path(&line, COLOURS[0]);
}

fn thousands(tokens: f64) -> String {
    if tokens >= 10_000.0 {
        format!("{:.0}k", tokens / 1_000.0)
    } else {
        format!("{tokens:.0}")
    }
}

/// Plots the share of the original knowledge by number of breaks. Each line contains only the runs
/// that went through all breaks.
fn forgetting<'a>(
    runs: &'a [RunPart],
    pull_request: impl Fn(&'a RunPart) -> &'a str,
) -> Option<Plot> {
    let title = "Forgetting curve: share of the knowledge from before the first break";
    let most = runs.iter().map(|run| run.by_break.len()).max()?;
    if most < 2 {
        return None;
    }
    let agents = by_agent(runs);
    let (top, floor) = (30.0, 280.0);
    let legend = 18.0 * agents.len() as f64;
    let mut drawing = Drawing::new(WIDTH, floor + 50.0 + legend);
    let x = |number: usize| 70.0 + (WIDTH - 120.0) * number as f64 / most as f64;
    let y = |share: f64| floor - (floor - top) * share.min(1.25) / 1.25;
    for step in 0..=5 {
        let share = f64::from(step) / 4.0;
        drawing.line((x(0), y(share)), (x(most), y(share)), "#e3e6ea", 1.0);
        drawing.text(
            (x(0) - 6.0, y(share) + 4.0),
            Anchor::End,
            &format!("{share:.2}"),
        );
    }
    for number in 0..=most {
        drawing.text(
            (x(number), floor + 18.0),
            Anchor::Middle,
            &number.to_string(),
        );
    }
    drawing.text(
        (x(0) + (x(most) - x(0)) / 2.0, floor + 36.0),
        Anchor::Middle,
        "breaks",
    );
    let mut descriptions = Vec::new();
    for (at, (agent, own)) in agents.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let mut line = vec![(x(0), y(1.0))];
        let mut told = Vec::new();
        let breaks = own.iter().map(|run| run.by_break.len()).max().unwrap_or(0);
        let whole: Vec<(&str, Vec<f64>)> = own
            .iter()
            .map(|run| {
                let kept = run.by_break.iter().filter_map(|seen| seen.kept_of_first);
                (pull_request(run), kept.collect())
            })
            .filter(|(_, kept): &(_, Vec<f64>)| kept.len() == breaks)
            .collect();
        for number in 0..breaks {
            let sessions = whole.iter().map(|(name, kept)| (*name, vec![kept[number]]));
            let found = retention_estimate(sessions, 1);
            let number = number + 1;
            if let Some(mean) = found.mean {
                // Small offsets separate the intervals of several agents.
                let place = x(number) + 5.0 * (at as f64 - agents.len() as f64 / 2.0);
                if let (Some(low), Some(high)) = (found.low, found.high) {
                    drawing.line((place, y(low)), (place, y(high)), colour, 1.0);
                }
                drawing.dot((place, y(mean)), colour);
                line.push((place, y(mean)));
            }
            told.push(interval(&found));
        }
        if line.len() < 2 {
            told = vec!["not defined".to_owned()];
        } else {
            drawing.path(&line, colour);
        }
        let below = floor + 58.0 + 18.0 * at as f64;
        drawing.dot((80.0, below - 4.0), colour);
        let mut words = told.join(", ");
        if whole.len() < own.len() {
            words = format!("{words} ({} of {} runs)", whole.len(), own.len());
        }
        let label = format!("{}: {words}", short(agent));
        drawing.text((92.0, below), Anchor::Start, &label);
        descriptions.push(format!("{agent} {words}"));
    }
    Some(Plot {
        name: "forgetting",
        title,
        svg: drawing.finish(title, &descriptions.join("; ")),
    })
}

/// Plots the attributions of right answers, as shares of an agent's right answers.
fn attribution(runs: &[RunPart]) -> Option<Plot> {
    const KINDS: [&str; 5] = ["summary", "reinjected", "guessable", "model", "reread"];
    let title = "Sources of right answers after the break";
    let rows: Vec<(&str, BTreeMap<&str, usize>)> = by_agent(runs)
        .into_iter()
        .map(|(agent, own)| {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for run in own {
                for (kind, count) in &run.attribution {
                    *counts.entry(kind).or_default() += count;
                }
            }
            (agent, counts)
        })
        .filter(|(_, counts)| counts.values().sum::<usize>() > 0)
        .collect();
    if rows.is_empty() {
        return None;
    }
    let bottom = 50.0 + ROW * rows.len() as f64;
    let mut drawing = Drawing::new(WIDTH, bottom + 30.0);
    let place = shares(&mut drawing, bottom, 1.0);
    let mut descriptions = Vec::new();
    for (at, kind) in KINDS.iter().enumerate() {
        let left = LEFT + 100.0 * at as f64;
        drawing.bar((left, 10.0), (12.0, 12.0), COLOURS[at]);
        drawing.text((left + 17.0, 20.0), Anchor::Start, kind);
    }
    for (at, (agent, counts)) in rows.iter().enumerate() {
        let y = 36.0 + ROW * at as f64;
        drawing.text((LEFT - 8.0, y + 18.0), Anchor::End, &short(agent));
        let all: usize = counts.values().sum();
        let mut before = 0;
        for (number, kind) in KINDS.iter().enumerate() {
            let count = counts.get(kind).copied().unwrap_or_default();
            if count == 0 {
                continue;
            }
            let from = place(before as f64 / all as f64);
            before += count;
            let to = place(before as f64 / all as f64);
            drawing.bar((from, y + 4.0), (to - from, ROW - 10.0), COLOURS[number]);
            if to - from > 34.0 {
                let middle = from + (to - from) / 2.0;
                drawing.text((middle, y + 18.0), Anchor::Middle, &count.to_string());
            }
            descriptions.push(format!("{agent} {kind} {count}"));
        }
    }
    Some(Plot {
        name: "attribution",
        title,
        svg: drawing.finish(title, &descriptions.join("; ")),
    })
}

/// Plots the error rate by the share of answered questions.
fn risk_coverage(curves: &BTreeMap<String, RiskCoverage>) -> Option<Plot> {
    let title = "Risk and coverage: error rate by share of answered questions";
    let curves: Vec<_> = curves
        .iter()
        .filter(|(_, curve)| !curve.points.is_empty())
        .collect();
    if curves.is_empty() {
        return None;
    }
    let (top, floor) = (30.0, 280.0);
    let legend = 18.0 * curves.len() as f64;
    let mut drawing = Drawing::new(WIDTH, floor + 50.0 + legend);
    let x = |share: f64| 70.0 + (WIDTH - 120.0) * share;
    let y = |share: f64| floor - (floor - top) * share;
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let told = format!("{share:.2}");
        drawing.line((x(0.0), y(share)), (x(1.0), y(share)), "#e3e6ea", 1.0);
        drawing.text((x(0.0) - 6.0, y(share) + 4.0), Anchor::End, &told);
        drawing.text((x(share), floor + 18.0), Anchor::Middle, &told);
    }
    drawing.text(
        (x(0.5), floor + 36.0),
        Anchor::Middle,
        "coverage: share of the questions that are answered",
    );
    let mut descriptions = Vec::new();
    for (at, (agent, curve)) in curves.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let line: Vec<(f64, f64)> = curve
            .points
            .iter()
            .map(|point| (x(point.coverage), y(point.risk)))
            .collect();
        drawing.path(&line, colour);
        for point in &line {
            drawing.dot(*point, colour);
        }
        let last = curve.points.last().map_or_else(String::new, |point| {
            format!("coverage {:.2}, risk {:.2}", point.coverage, point.risk)
        });
        let below = floor + 58.0 + 18.0 * at as f64;
        drawing.dot((80.0, below - 4.0), colour);
        let label = format!("{}: {last}, area {}", short(agent), figure(curve.area));
        drawing.text((92.0, below), Anchor::Start, &label);
        descriptions.push(format!("{agent} {last}"));
    }
    Some(Plot {
        name: "risk_coverage",
        title,
        svg: drawing.finish(title, &descriptions.join("; ")),
    })
}
