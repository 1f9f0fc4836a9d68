//! `membreak plan`: how many pull requests and trials it takes to see a difference, before they are paid
//! for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use comfy_table::Table;
use evaluation::statistics::{POWER, mean, sample_size, smallest_detectable, standard_deviation};
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
    /// How many agents are compared; each runs every trial. Or, with --from, which two: `A,B`.
    #[arg(long, default_value = "2", value_name = "NUMBER|A,B")]
    agents: Agents,
    /// Take the spreads from these results (`result.json`). Where they have more than two agents,
    /// --agents names the two.
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Print one JSON document, and nothing else, on standard output.
    #[arg(long)]
    json: bool,
}

/// Which agents are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Agents {
    /// So many.
    Count(usize),
    /// These two.
    Pair(String, String),
}

impl Agents {
    fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Pair(..) => 2,
        }
    }
}

impl FromStr for Agents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(count) = text.parse::<usize>() {
            return if count >= 2 {
                Ok(Self::Count(count))
            } else {
                Err("two agents are the least".to_owned())
            };
        }
        match text.split_once(',') {
            Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(',') && a != b => {
                Ok(Self::Pair(a.to_owned(), b.to_owned()))
            }
            Some(_) | None => Err("a number, or two different agents: A,B".to_owned()),
        }
    }
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
    /// How many times larger the variance is than if every session had a pull request of its own.
    design_effect: Option<f64>,
    /// So many sessions, each of a pull request of its own, would say as much.
    effective_sessions: Option<f64>,
}

/// How many pull requests show the difference, with so many trials of each.
#[derive(Serialize)]
struct Needed {
    trials: usize,
    /// Null where a million are not enough.
    pull_requests: Option<usize>,
}

#[derive(Serialize)]
struct Plan {
    difference: f64,
    power: f64,
    sd_between: f64,
    sd_within: f64,
    /// Where the spreads come from.
    spreads: String,
    /// How alike the trials of one pull request are: the share of the variance that is between pull
    /// requests.
    icc: Option<f64>,
    designs: Vec<Design>,
    needed: Vec<Needed>,
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
        let found = measured(&options.from, &options.agents).await?;
        (between, within) = (found.between, found.within);
        spreads = format!(
            "measured: {} − {} in {} results of {} pull requests",
            found.a,
            found.b,
            options.from.len(),
            found.pull_requests
        );
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
    let agents = options.agents.count();
    // Kish's design effect, as `evaluation::statistics::design_effect` has it of data.
    let whole = between * between + within * within;
    let icc = (whole > 0.0).then(|| between * between / whole);
    let of_mean = |trials: usize| (between * between + within * within / trials as f64).sqrt();
    let mut designs = Vec::new();
    for pull_requests in PULL_REQUESTS {
        for trials in TRIALS {
            // Trials of one pull request share what is particular to it. With one pull request nothing
            // can be said of others: then its trials are the sample.
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
        icc,
        designs,
        needed: TRIALS
            .into_iter()
            .map(|trials| Needed {
                trials,
                pull_requests: sample_size(options.difference, of_mean(trials), options.power),
            })
            .collect(),
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
    output::say(&format!(
        "needed for {}, pull requests x trials: {}",
        plan.difference,
        needed.join(", ")
    ));
    if let Some(icc) = plan.icc {
        let of: Vec<String> = TRIALS
            .iter()
            .map(|&trials| format!("{:.1} with {trials}", 1.0 + (trials as f64 - 1.0) * icc))
            .collect();
        output::say(&format!(
            "trials of one pull request are alike (ICC {icc:.2}); design effect: {} trials",
            of.join(", ")
        ));
    }
    match plan.cheapest {
        Some((pull_requests, trials)) => output::say(&format!(
            "cheapest: {pull_requests} pull requests x {trials} trials"
        )),
        None => output::say("none of these designs shows so small a difference"),
    }
}

/// The spreads of the difference of two agents.
#[derive(Debug, PartialEq)]
struct Spreads {
    a: String,
    b: String,
    pull_requests: usize,
    between: f64,
    within: f64,
}

/// The spreads of the difference of two agents over results.
async fn measured(files: &[PathBuf], agents: &Agents) -> anyhow::Result<Spreads> {
    let mut documents = Vec::with_capacity(files.len());
    for file in files {
        let text = tokio::fs::read_to_string(file)
            .await
            .with_context(|| format!("reading {}", file.display()))?;
        let document: ResultDocument = serde_json::from_str(&text)
            .with_context(|| format!("{} is no result document", file.display()))?;
        documents.push(document);
    }
    let (a, b) = pair(&documents, agents)?;
    // Several results of one pull request are more trials of it.
    let mut by_pull_request: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for document in &documents {
        let of = |agent: &str, trial: i32| {
            let mut runs = document.runs.iter();
            runs.find(|run| run.agent == agent && run.trial == trial)
                .and_then(|run| run.overall_score)
        };
        let own = by_pull_request.entry(&document.task.pr_url).or_default();
        own.extend(
            (1..=document.task.trials).filter_map(|trial| Some(of(&a, trial)? - of(&b, trial)?)),
        );
    }
    let differences: Vec<Vec<f64>> = by_pull_request.into_values().collect();
    let (between, within) = spreads(&differences)?;
    Ok(Spreads {
        a,
        b,
        pull_requests: differences.len(),
        between,
        within,
    })
}

/// The two agents that are compared, always in the same order.
fn pair(documents: &[ResultDocument], agents: &Agents) -> anyhow::Result<(String, String)> {
    if let Agents::Pair(a, b) = agents {
        return Ok((a.clone(), b.clone()));
    }
    let measured: BTreeSet<&str> = documents
        .iter()
        .flat_map(|document| &document.runs)
        .filter(|run| run.overall_score.is_some())
        .map(|run| run.agent.as_str())
        .collect();
    let measured: Vec<&str> = measured.into_iter().collect();
    match measured.as_slice() {
        [a, b] => Ok(((*a).to_owned(), (*b).to_owned())),
        [] | [_] => bail!("the results have scores of fewer than two agents"),
        several => bail!(
            "the results have scores of {}: name two of them with --agents A,B",
            several.join(", ")
        ),
    }
}

/// The standard deviations between and within pull requests, from the differences of each.
///
/// Within: the pooled variance, weighted by degrees of freedom. Between: the variance of the means
/// holds what is left of the trials' own, `within² / trials`, which is taken away (the analysis of
/// variance of a random effect; Searle, Casella and `McCulloch`, Variance Components, 1992, 3.6). It
/// can be less than nothing, and is nothing then.
fn spreads(differences: &[Vec<f64>]) -> anyhow::Result<(f64, f64)> {
    let filled: Vec<&Vec<f64>> = differences.iter().filter(|one| !one.is_empty()).collect();
    let (mut squares, mut freedom) = (0.0, 0.0);
    for one in &filled {
        if let Some(spread) = standard_deviation(one) {
            let own = one.len() as f64 - 1.0;
            squares += own * spread * spread;
            freedom += own;
        }
    }
    if freedom <= 0.0 {
        bail!("it takes two trials or more of a pull request to tell how trials vary");
    }
    let within = squares / freedom;
    let means: Vec<f64> = filled.iter().filter_map(|one| mean(one)).collect();
    let of_means = standard_deviation(&means)
        .context("it takes results of two pull requests or more to tell how they vary")?;
    let shares: Vec<f64> = filled.iter().map(|one| 1.0 / one.len() as f64).collect();
    let share = mean(&shares).unwrap_or(1.0);
    let between = (of_means * of_means - within * share).max(0.0);
    Ok((between.sqrt(), within.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::{Agents, spreads};

    /// statsmodels 0.15.0, the random intercept of these twelve differences by restricted maximum
    /// likelihood, which for equal numbers of trials is the analysis of variance: 0.152 45
    /// between, 0.096 82 within.
    #[test]
    fn what_trials_vary_is_not_counted_between_pull_requests_again() {
        let (between, within) = spreads(&[
            vec![0.10, 0.25, 0.05],
            vec![0.40, 0.30, 0.50],
            vec![-0.05, 0.10, 0.00],
            vec![0.20, 0.35, 0.15],
        ])
        .expect("four pull requests of three trials");
        assert!((between - 0.152_449).abs() < 1e-4, "{between}");
        assert!((within - 0.096_825).abs() < 1e-4, "{within}");
        // Means that vary no more than trials explain show nothing between pull requests.
        let (between, _) = spreads(&[vec![0.1, -0.1], vec![0.1, -0.1]]).expect("two");
        assert!(between.abs() < 1e-12);
        assert!(spreads(&[vec![0.1], vec![0.2]]).is_err());
        assert!(spreads(&[vec![0.1, 0.2]]).is_err());
    }

    /// Pooled by degrees of freedom: three trials weigh twice as much as two.
    #[test]
    fn variances_within_pull_requests_are_pooled() {
        let (_, within) = spreads(&[vec![0.0, 0.2], vec![0.0, 0.3, 0.6]]).expect("two");
        let pooled = (0.02 + 2.0 * 0.09) / 3.0_f64;
        assert!((within - pooled.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn agents_are_a_number_or_a_pair() {
        let pair = Agents::Pair("claude".to_owned(), "control-lossy:0.5".to_owned());
        assert_eq!("claude,control-lossy:0.5".parse(), Ok(pair));
        assert_eq!("3".parse(), Ok(Agents::Count(3)));
        for wrong in ["1", "claude", "a,a", "a,b,c", ",b"] {
            assert!(wrong.parse::<Agents>().is_err(), "{wrong}");
        }
    }
}
