//! `membreak`: one program for a first look and for the command line.

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

/// Measures how much coding agents forget when their context is compacted.
///
/// Exit status: 0 measured, 1 failed or nothing could be measured, 2 used wrongly, 130 cancelled.
#[derive(Debug, Parser)]
#[command(name = "membreak", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Evaluates a sample pull request with the control agents: shows and tests the instrument.
    Demo(demo::Options),
    /// Evaluates a pull request.
    Eval(eval::Options),
    /// Writes the report of a task, or of all tasks together.
    Report(report::Options),
    /// Tells how many pull requests and trials it takes to see a difference.
    Plan(plan::Options),
    /// Judges a finished task again, without running its agents; the old figures stay.
    Judge(judge::Options),
    /// Checks an agent's adapter against the model stub: what every adapter must do.
    Conformance(conformance::Options),
    /// Answers like a model, from what stands in each request: for writing and testing adapters.
    ModelStub(model_stub::Options),
    /// Serves the API and works, in one process.
    Serve(serve::Options),
    /// Tells what is installed, reachable and configured, and how to mend what is not.
    Doctor(doctor::Options),
    /// Serves the sample pull request as a forge on this machine, to try the API without network.
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
            print_error(&format!("the runtime cannot be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match arguments.command {
            Command::Demo(options) => demo::run(options).await,
            Command::Eval(options) => eval::run(options).await,
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
    // Nothing that still runs in the background may hold the exit up.
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
