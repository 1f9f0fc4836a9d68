//! `membreak plan`: how many pull requests and trials it takes to see a difference, before they are paid
//! for.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use comfy_table::Table;
use evaluation::statistics::{POWER, mean, smallest_detectable, standard_deviation};
use serde::Serialize;
use worker::result::ResultDocument;

use crate::output;

/// Designs that are looked at: pull requests and trials of each.
const PULL_REQUESTS: [usize; 10] = [1, 2, 3, 5, 8, 12, 20, 30, 50, 100];
const TRIALS: [usize; 5] = [1, 2, 3, 5, 10];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The difference of two agents' scores (from 0 to 1) that is to be seen.
    #[arg(long)]
    difference: f64,
    /// How much that difference varies from pull request to pull request (standard deviation).
    #[arg(long, value_name = "SD")]
    sd_between: Option<f64>,
    /// How much it varies from trial to trial of one pull request.
    #[arg(long, value_name = "SD")]
    sd_within: Option<f64>,
    /// The chance of seeing it if it is there.
    #[arg(long, default_value_t = POWER)]
    power: f64,
    /// Agents that are compared; each runs every trial.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..))]
    agents: u32,
    /// Take the spreads from these results (`result.json`), by the first two agents of their
    /// leaderboards.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Print one JSON document, and nothing else, on standard output.
    #[arg(long)]
    json: bool,
}

/// One design.
#[derive(Serialize)]
struct Design {
    pull_requests: usize,
    trials: usize,
    /// Runs of all agents.
    runs: usize,
    /// The smallest difference that it shows; null where it shows none.
    smallest_detectable: Option<f64>,
    enough: bool,
}

#[derive(Serialize)]
struct Plan {
    difference: f64,
    power: f64,
    sd_between: f64,
    sd_within: f64,
    /// Where the spreads come from.
    spreads: String,
    designs: Vec<Design>,
    /// The one with the fewest runs that is enough.
    cheapest: Option<(usize, usize)>,
}

/// Where nothing is known. The same conversation gave 2.6 to 35.9 % recall over replicates of its
/// compaction (docs/protocol.md): a standard deviation of about 0.1 per run, so 0.14 for the difference
/// of two. Between pull requests no figure is published; this one is a guess, and is said to be one.
const ASSUMED: (f64, f64) = (0.15, 0.14);

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if !(options.difference > 0.0 && options.difference <= 1.0) {
        bail!(
            "--difference must be above 0 and at most 1, not {}",
            options.difference
        );
    }
    if !(options.power > 0.0 && options.power < 1.0) {
        bail!("--power must be between 0 and 1, not {}", options.power);
    }
    let (mut between, mut within, mut spreads) = (
        ASSUMED.0,
        ASSUMED.1,
        "assumed, not measured: give --from, or --sd-between and --sd-within".to_owned(),
    );
    if !options.from.is_empty() {
        (between, within) = measured(&options.from).await?;
        spreads = format!("measured in {} results", options.from.len());
    }
    for (name, told, spread) in [
        ("--sd-between", options.sd_between, &mut between),
        ("--sd-within", options.sd_within, &mut within),
    ] {
        if let Some(told) = told {
            if !(0.0..=1.0).contains(&told) {
                bail!("{name} must be from 0 to 1, not {told}");
            }
            *spread = told;
            spreads = "as given".to_owned();
        }
    }
    let plan = plan(options, between, within, spreads);
    if options.json {
        output::say_json(&plan)?;
    } else {
        tell(&plan);
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(options: &Options, between: f64, within: f64, spreads: String) -> Plan {
    let agents = usize::try_from(options.agents).unwrap_or(usize::MAX);
    let mut designs = Vec::new();
    for pull_requests in PULL_REQUESTS {
        for trials in TRIALS {
            // Trials of one pull request share what is particular to it. With one pull request nothing
            // can be said of others: then its trials are the sample.
            let (n, variance) = if pull_requests == 1 {
                (trials, within * within)
            } else {
                let of_mean = between * between + within * within / trials as f64;
                (pull_requests, of_mean)
            };
            let found = smallest_detectable(variance.sqrt(), n, options.power);
            designs.push(Design {
                pull_requests,
                trials,
                runs: pull_requests * trials * agents,
                enough: found.is_some_and(|found| found <= options.difference),
                smallest_detectable: found,
            });
        }
    }
    let enough = designs
        .iter()
        .filter(|design| design.enough && design.pull_requests > 1);
    let cheapest = enough
        .min_by_key(|design| (design.runs, design.trials))
        .map(|design| (design.pull_requests, design.trials));
    Plan {
        difference: options.difference,
        power: options.power,
        sd_between: between,
        sd_within: within,
        spreads,
        designs,
        cheapest,
    }
}

fn tell(plan: &Plan) {
    output::say(&format!(
        "spread of the difference: {:.3} between pull requests, {:.3} between trials ({})",
        plan.sd_between, plan.sd_within, plan.spreads
    ));
    let mut table = Table::new();
    let mut head = vec!["pull requests".to_owned()];
    head.extend(TRIALS.map(|trials| format!("{trials} trials")));
    table.set_header(head);
    for rows in plan.designs.chunks(TRIALS.len()) {
        let mut row = vec![rows[0].pull_requests.to_string()];
        row.extend(rows.iter().map(|design| {
            let mark = match plan.cheapest {
                Some(best) if best == (design.pull_requests, design.trials) => " <= cheapest",
                Some(_) | None if design.enough => " *",
                Some(_) | None => "",
            };
            design
                .smallest_detectable
                .map_or_else(|| "–".to_owned(), |found| format!("{found:.3}{mark}"))
        }));
        table.add_row(row);
    }
    output::say(&table.to_string());
    output::say(&format!(
        "the smallest difference that each design shows with a power of {}; * shows {} (one pull request \
         says nothing of others)",
        plan.power, plan.difference
    ));
    match plan.cheapest {
        Some((pull_requests, trials)) => output::say(&format!(
            "cheapest: {pull_requests} pull requests x {trials} trials"
        )),
        None => output::say("none of these designs shows so small a difference"),
    }
}

/// The spreads of the difference of two agents over results.
async fn measured(files: &[PathBuf]) -> anyhow::Result<(f64, f64)> {
    let (mut means, mut within) = (Vec::new(), Vec::new());
    for file in files {
        let text = tokio::fs::read_to_string(file)
            .await
            .with_context(|| format!("reading {}", file.display()))?;
        let document: ResultDocument = serde_json::from_str(&text)
            .with_context(|| format!("{} is no result document", file.display()))?;
        let [a, b, ..] = document.leaderboard.as_slice() else {
            bail!("{} ranks fewer than two agents", file.display());
        };
        let of = |agent: &str, trial: i32| {
            let mut runs = document.runs.iter();
            runs.find(|run| run.agent == agent && run.trial == trial)
                .and_then(|run| run.overall_score)
        };
        let differences: Vec<f64> = (1..=document.task.trials)
            .filter_map(|trial| Some(of(&a.agent, trial)? - of(&b.agent, trial)?))
            .collect();
        means.extend(mean(&differences));
        within.extend(standard_deviation(&differences));
    }
    let within =
        mean(&within).context("each result needs two trials or more to tell how trials vary")?;
    let between = standard_deviation(&means)
        .context("it takes two results or more to tell how pull requests vary")?;
    Ok((between, within))
}
