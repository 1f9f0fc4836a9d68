//! `membreak model-stub`: a model stub for writing adapters without a key and without cost.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agents::control::key::AnswerKey;
use anyhow::Context as _;
use platform::settings::Environment;
use serde_json::json;
use simulator::model_stub::{Fault, Keep, KeySource, ModelStub, Rules};

use crate::all_in_one::{Settings, settings_error};
use crate::output::{print, print_json};
use crate::usage_error::UsageError;

/// Interval at which new requests are appended to the file.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Port to listen on. 0 for a free port.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Answer key as JSON: the questions that the stub can answer, and the evidence that a request
    /// must contain.
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Content that summaries keep: everything, nothing, or a share such as 0.5.
    #[arg(long, default_value = "everything", value_parser = keep)]
    keep: Keep,
    /// Write every request to this file as JSON lines.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Fault of every response: rate-limit, overloaded, server-error, unauthorized, bad-request,
    /// hang, garbage, truncate, empty-summary or failed-summary.
    #[arg(long, value_parser = fault)]
    fault: Option<Fault>,
    /// Print the address as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Parses the share that summaries keep.
pub(crate) fn keep(text: &str) -> Result<Keep, String> {
    match text {
        "everything" => Ok(Keep::Everything),
        "nothing" => Ok(Keep::Nothing),
        share => match share.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Keep::Share { share, seed: 1 }),
            Ok(_) | Err(_) => Err("everything, nothing, or a number from 0 to 1".to_owned()),
        },
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    Ok(match text {
        "rate-limit" => Fault::RateLimit { retry_after: None },
        "overloaded" => Fault::Overloaded,
        "server-error" => Fault::ServerError,
        "unauthorized" => Fault::Unauthorized,
        "bad-request" => Fault::BadRequest,
        "hang" => Fault::Hang,
        "garbage" => Fault::Garbage,
        "truncate" => Fault::Truncate,
        "empty-summary" => Fault::EmptySummary,
        "failed-summary" => Fault::OnlyCompaction(Box::new(Fault::BadRequest)),
        _ => return Err("unknown fault. Choose one that --help lists".to_owned()),
    })
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let key = match &options.key_file {
        Some(path) => {
            let text = tokio::fs::read(path)
                .await
                .with_context(|| UsageError(format!("--key-file {}", path.display())))?;
            serde_json::from_slice(&text).with_context(|| {
                UsageError(format!(
                    "--key-file {} is not an answer key",
                    path.display()
                ))
            })?
        }
        None => AnswerKey::default(),
    };
    let rules = Rules {
        key: KeySource::Fixed(key),
        keep: options.keep,
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let stub = ModelStub::start_at(address, rules)
        .await
        .with_context(|| format!("listening on {address}"))?;
    if let Some(fault) = &options.fault {
        stub.fail(fault.clone(), usize::MAX);
    }
    print_addresses(options, &stub)?;
    let recording = record(options.record.as_deref(), &stub);
    tokio::select! {
        ended = recording => ended?,
        stopped = tokio::signal::ctrl_c() => stopped.context("could not listen for Ctrl-C")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the address, and the variables that point each agent to it.
fn print_addresses(options: &Options, stub: &ModelStub) -> anyhow::Result<()> {
    let settings = Settings::read(&Environment).map_err(|errors| settings_error(&errors))?;
    let setup = settings.worker.agents.setup();
    let adapters =
        agents::adapters::all(&setup.context("could not find the path of this program")?);
    let endpoint = stub.endpoint();
    let environments: Vec<_> = adapters
        .iter()
        .filter_map(|adapter| {
            let environment = adapter.endpoint_environment(&endpoint)?;
            Some((adapter.profile().name.clone(), environment))
        })
        .collect();
    if options.json {
        let agents: serde_json::Map<_, _> = environments
            .into_iter()
            .map(|(name, environment)| (name, json!(environment)))
            .collect();
        return print_json(&json!({"url": stub.url(), "key": stub.key(), "agents": agents}));
    }
    print(&format!("listening at {}, key {}", stub.url(), stub.key()));
    for (name, environment) in environments {
        let words: Vec<String> = environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        print(&format!("{name}: {}", words.join(" ")));
    }
    print("Ctrl-C stops it");
    Ok(())
}

/// Appends new requests to a file until cancelled.
async fn record(path: Option<&std::path::Path>, stub: &ModelStub) -> anyhow::Result<()> {
    let Some(path) = path else {
        return std::future::pending().await;
    };
    let context = || format!("writing {}", path.display());
    let mut file = std::fs::File::create(path).with_context(context)?;
    let mut written = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        let requests = stub.requests();
        // A request is written after its response.
        for request in requests.iter().skip(written) {
            if request.status == 0 {
                break;
            }
            let line =
                serde_json::to_string(request).context("could not write a request as JSON")?;
            writeln!(file, "{line}").with_context(context)?;
            written += 1;
        }
    }
}
