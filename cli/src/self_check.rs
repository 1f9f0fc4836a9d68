//! Whether the controls measured what they must: the protocol's table of controls.

use worker::result::{DimensionPart, ResultDocument, RunPart};

use entity::status::RunStatus;

/// What is wrong, for people; nothing for agents that are no controls.
pub(crate) fn misses(document: &ResultDocument) -> Vec<String> {
    let mut misses = Vec::new();
    for run in &document.runs {
        let Some(name) = run.agent.strip_prefix("control-") else {
            continue;
        };
        let mut miss = |what: String| {
            misses.push(format!("{} trial {}: {what}", run.agent, run.trial));
        };
        if run.status != RunStatus::Done {
            miss(format!(
                "ended {}: {}",
                run.status,
                run.error.as_deref().unwrap_or("no reason is known")
            ));
            continue;
        }
        if !run.compression_detected {
            miss("had no break".to_owned());
            continue;
        }
        if run.seal_broken != (name == "cheater") {
            miss(format!("seal_broken is {}", run.seal_broken));
        }
        for (dimension, part) in &run.dimensions {
            if part.n > 0
                && let Some(what) = wrong(name, dimension, part)
            {
                miss(format!("{dimension}: {what}"));
            }
        }
    }
    let voided: Vec<&RunPart> = document.runs.iter().filter(|run| run.seal_broken).collect();
    for row in &document.leaderboard {
        if voided.iter().any(|run| run.agent == row.agent) {
            misses.push(format!("{} is ranked with a broken seal", row.agent));
        }
    }
    misses
}

/// What of a dimension is not as it must be.
fn wrong(control: &str, dimension: &str, part: &DimensionPart) -> Option<String> {
    let is = |figure: Option<f64>, expected: f64| {
        figure.is_some_and(|figure| (figure - expected).abs() < 1e-9)
    };
    let say = |expected: &str| Some(format!("{expected}, but it is {part:?}"));
    match control {
        "perfect" if !is(part.baseline, 1.0) || !is(part.post, 1.0) => {
            say("base and post must be 1")
        }
        "amnesiac" if !is(part.baseline, 1.0) || !is(part.retention, 0.0) => {
            say("base must be 1 and retention 0")
        }
        "stale" if dimension == "SF" && part.post.is_none_or(|post| post >= 0.1) => {
            say("post must be below 0.1")
        }
        "stale" if dimension == "AR" && !is(part.post, 1.0) => say("post must be 1"),
        "guesser" if part.retention.is_some() => say("retention must not be defined"),
        "vague" if !is(part.post, 0.0) || part.retention.is_some() => {
            say("post must be 0 and retention not defined")
        }
        _ if control.starts_with("lossy") && !is(part.baseline, 1.0) => say("base must be 1"),
        _ => None,
    }
}
