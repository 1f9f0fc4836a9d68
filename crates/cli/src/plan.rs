//! `membreak plan`: computes the number of pull requests and trials that a difference needs.

mod results;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use comfy_table::Table;
use evaluation::statistics::{POWER, sample_size, smallest_detectable};
use serde::Serialize;

use crate::output;
use crate::usage_error::UsageError;
use results::{Agents, measured};

/// Considered designs: pull requests, and trials of each.
const PULL_REQUESTS: [usize; 10] = [1, 2, 3, 5, 8, 12, 20, 30, 50, 100];
const TRIALS: [usize; 5] = [1, 2, 3, 5, 10];

#[derive(Debug, clap::Args)]
#[command(after_help = crate::output::GLOSSARY)]
pub(crate) struct Options {
    /// Difference of two agents' scores (from 0 to 1) that should be detected.
    #[arg(long)]
    difference: f64,
    /// Standard deviation of that difference between pull requests.
    #[arg(long, value_name = "SD")]
    sd_between: Option<f64>,
    /// Standard deviation of that difference between trials of one pull request.
    #[arg(long, value_name = "SD")]
    sd_within: Option<f64>,
    /// Statistical power: the probability of detecting the difference if it exists.
    #[arg(long, default_value_t = POWER)]
    power: f64,
    /// Number of compared agents, each of which runs every trial. With --from, the names of two
    /// agents: `A,B`.
    #[arg(long, default_value = "2", value_name = "NUMBER|A,B")]
    agents: Agents,
    /// Take the standard deviations from these results (`result.json`). If they have more than two
    /// agents, --agents names the two.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    json: bool,
}

/// One design.
#[derive(Serialize)]
struct Design {
    pull_requests: usize,
    trials: usize,
    /// Number of runs of all agents.
    runs: usize,
    /// Smallest detectable difference. Null if none is detectable.
    smallest_detectable: Option<f64>,
    enough: bool,
    /// Design effect: the ratio of the variance to that of the same number of independent sessions.
    design_effect: Option<f64>,
    /// Effective sample size: the number of independent sessions with the same information.
    effective_sessions: Option<f64>,
}

/// Number of pull requests that detect the difference, by trials per pull request.
#[derive(Serialize)]
struct Needed {
    trials: usize,
    /// Null if a million are not enough.
    pull_requests: Option<usize>,
}

#[derive(Serialize)]
struct Plan {
    difference: f64,
    power: f64,
    sd_between: f64,
    sd_within: f64,
    /// Source of the standard deviations.
    spreads: String,
    /// Intraclass correlation: the share of the variance that is between pull requests.
    icc: Option<f64>,
    designs: Vec<Design>,
    needed: Vec<Needed>,
    /// The entry of `needed` with the fewest runs: pull requests and trials.
    cheapest: Option<(usize, usize)>,
    /// Notes on the results from which the standard deviations come.
    notes: Vec<String>,
}

/// Assumed standard deviations without data. The same conversation gave 2.6 to 35.9 % recall over
/// replicates of its compaction (docs/explanation/protocol.md): a standard deviation of about 0.1
/// per run, so 0.14 for the difference of two. For the spread between pull requests no figure is
/// published. This one is a guess, and the output says so.
const ASSUMED: (f64, f64) = (0.15, 0.14);

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if !(options.difference > 0.0 && options.difference <= 1.0) {
        bail!(UsageError(format!(
            "--difference must be above 0 and at most 1, not {}",
            options.difference
        )));
    }
    if !(options.power > 0.0 && options.power < 1.0) {
        bail!(UsageError(format!(
            "--power must be between 0 and 1, not {}",
            options.power
        )));
    }
    let (mut between, mut within, mut spreads) = (
        ASSUMED.0,
        ASSUMED.1,
        "assumed, not measured: give --from, or --sd-between and --sd-within".to_owned(),
    );
    let mut notes = Vec::new();
    if !options.from.is_empty() {
        let found = measured(&options.from, &options.agents).await?;
        (between, within) = (found.between, found.within);
        spreads = format!(
            "measured: {} − {} in {} results of {} pull requests",
            found.a, found.b, found.results, found.pull_requests
        );
        notes = found.notes;
    }
    for (name, given, spread) in [
        ("--sd-between", options.sd_between, &mut between),
        ("--sd-within", options.sd_within, &mut within),
    ] {
        if let Some(given) = given {
            if !(0.0..=1.0).contains(&given) {
                bail!(UsageError(format!(
                    "{name} must be from 0 to 1, not {given}"
                )));
            }
            *spread = given;
            spreads = "as given".to_owned();
        }
    }
    for note in &notes {
        output::print_error(note);
    }
    let plan = Plan {
        notes,
        ..plan(options, between, within, spreads)
    };
    if options.json {
        output::print_json(&plan)?;
    } else {
        print_plan(&plan);
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(options: &Options, between: f64, within: f64, spreads: String) -> Plan {
    let agents = options.agents.count();
    // Kish's design effect, which `evaluation::statistics::design_effect` computes from data.
    let whole = between * between + within * within;
    let icc = (whole > 0.0).then(|| between * between / whole);
    let of_mean = |trials: usize| (between * between + within * within / trials as f64).sqrt();
    let mut designs = Vec::new();
    for pull_requests in PULL_REQUESTS {
        for trials in TRIALS {
            // Trials of one pull request share its particularities. A single pull request says
            // nothing about others, so its trials are the sample then.
            let (n, spread) = if pull_requests == 1 {
                (trials, within)
            } else {
                (pull_requests, of_mean(trials))
            };
            let found = smallest_detectable(spread, n, options.power);
            let effect = icc
                .filter(|_| pull_requests > 1)
                .map(|icc| 1.0 + (trials as f64 - 1.0) * icc);
            designs.push(Design {
                pull_requests,
                trials,
                runs: pull_requests * trials * agents,
                enough: found.is_some_and(|found| found <= options.difference),
                smallest_detectable: found,
                design_effect: effect,
                effective_sessions: effect.map(|effect| (pull_requests * trials) as f64 / effect),
            });
        }
    }
    let needed: Vec<Needed> = TRIALS
        .into_iter()
        .map(|trials| Needed {
            trials,
            pull_requests: sample_size(options.difference, of_mean(trials), options.power),
        })
        .collect();
    let cheapest = needed
        .iter()
        .filter_map(|needed| Some((needed.pull_requests?, needed.trials)))
        .min_by_key(|(pull_requests, trials)| (pull_requests * trials, *trials));
    Plan {
        difference: options.difference,
        power: options.power,
        sd_between: between,
        sd_within: within,
        spreads,
        icc,
        designs,
        needed,
        cheapest,
        notes: Vec::new(),
    }
}

fn print_plan(plan: &Plan) {
    output::print(&format!(
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
    output::print(&table.to_string());
    output::print(&format!(
        "smallest detectable difference of each design with a power of {}; * detects {} (one pull \
         request says nothing about others)",
        plan.power, plan.difference
    ));
    let needed: Vec<String> = plan
        .needed
        .iter()
        .map(|needed| {
            let count = needed
                .pull_requests
                .map_or_else(|| "–".to_owned(), |count| count.to_string());
            format!("{count} x {}", needed.trials)
        })
        .collect();
    output::print(&format!(
        "needed for {}, pull requests x trials: {}",
        plan.difference,
        needed.join(", ")
    ));
    if let Some(icc) = plan.icc {
        let of: Vec<String> = TRIALS
            .iter()
            .map(|&trials| format!("{:.1} with {trials}", 1.0 + (trials as f64 - 1.0) * icc))
            .collect();
        output::print(&format!(
            "intraclass correlation of trials of one pull request: {icc:.2}; design effect: {} trials",
            of.join(", ")
        ));
    }
    match plan.cheapest {
        Some((pull_requests, trials)) => output::print(&format!(
            "cheapest: {pull_requests} pull requests x {trials} trials"
        )),
        None => output::print("even a million pull requests cannot detect this difference"),
    }
}
