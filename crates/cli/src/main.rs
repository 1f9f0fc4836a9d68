//! `membreak`: the command line program.

mod demo;
mod doctor;
mod settings_report;
mod all_in_one;
mod eval;
mod local_evaluation;
mod forge;
mod judge;
mod usage_error;
mod plan;
mod report;
mod output;
mod progress;
mod self_check;
mod serve;
mod model_stub;
mod conformance;
mod model_stub_session;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::print_error;
use crate::usage_error::UsageError;

/// Measures what coding agents forget when their context is compacted.
///
/// Exit status: 0 measured, 1 failed or nothing measured, 2 usage error, 130 cancelled.
#[derive(Debug, Parser)]
#[command(name = "membreak", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Evaluate a sample pull request with the control agents. Shows and checks the instrument.
    Demo(demo::Options),
    /// Evaluate a pull request.
    Eval(Box<eval::Options>),
    /// Write the report of one task, or of all tasks together.
    Report(report::Options),
    /// Compute the number of pull requests and trials that a difference needs.
    Plan(plan::Options),
    /// Repeat the judging of a finished task without running its agents. The old scores stay.
    Judge(judge::Options),
    /// Check an agent's adapter against the model stub.
    Conformance(conformance::Options),
    /// Serve a model stub that answers from the content of each request. For writing adapters.
    ModelStub(model_stub::Options),
    /// Run the API and a worker in one process.
    Serve(serve::Options),
    /// Check programs, services and settings, and suggest fixes.
    Doctor(doctor::Options),
    /// Serve the sample pull request as a local forge, to try the API without a network.
    Forge(forge::Options),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_some_and(|first| first == agents::control::SUBCOMMAND)
    {
        return agents::control::program::main(args);
    }
    let file = platform::settings::file::load();
    let arguments = Arguments::parse();
    if let Err(error) = file {
        print_error(&platform::telemetry::chain(&error));
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("could not start the async runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match arguments.command {
            Command::Demo(options) => demo::run(options).await,
            Command::Eval(options) => eval::run(*options).await,
            Command::Report(options) => report::run(&options).await,
            Command::Plan(options) => plan::run(&options).await,
            Command::Judge(options) => judge::run(&options).await,
            Command::Conformance(options) => conformance::run(&options).await,
            Command::ModelStub(options) => model_stub::run(&options).await,
            Command::Serve(options) => serve::run(options).await,
            Command::Doctor(options) => doctor::run(&options).await,
            Command::Forge(options) => forge::run(&options).await,
        }
    });
    // Background work must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended.unwrap_or_else(|error| {
        print_error(&format!("{error:#}"));
        if error.is::<UsageError>() {
            ExitCode::from(2)
        } else {
            ExitCode::FAILURE
        }
    })
}
