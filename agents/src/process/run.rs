//! Runs a program to its end.

use std::process::ExitStatus;

use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::time::Instant;

use super::group::{Group, append_to_tail};
use super::launch::Launch;
use super::limits::{send_events, stalled, too_much_output, turn_timed_out, unreadable};
use super::lines::{Line, LineReader};
use crate::adapter::{SessionSpec, Stream};
use crate::event::AgentEvent;
use crate::failure::Failure;

/// Exit of a program.
#[derive(Clone, Debug)]
pub struct ProgramExit {
    pub status: ExitStatus,
    /// The end of its standard error.
    pub stderr: String,
}

/// Runs a program to its end, within the limits of `spec`.
///
/// Every line of its standard output goes to `on_line`. The events that `on_line` returns are sent
/// before the next line is read, and its failure ends the program. Every line of both streams goes
/// to the raw sink unchanged.
///
/// # Errors
///
/// Fails with [`Cause::Harness`](crate::failure::Cause::Harness) if the program cannot be started,
/// with [`Cause::TimedOut`](crate::failure::Cause::TimedOut) at a time limit, with
/// [`Cause::AgentCrashed`](crate::failure::Cause::AgentCrashed) if it prints too much, and with
/// [`Cause::Cancelled`](crate::failure::Cause::Cancelled). The exit status is for the caller to
/// interpret.
pub async fn run(
    launch: &Launch,
    spec: &SessionSpec,
    mut on_line: impl FnMut(&Line) -> Result<Vec<AgentEvent>, Failure> + Send,
) -> Result<ProgramExit, Failure> {
    let (limits, raw, cancel) = (&spec.limits, &spec.raw, &spec.cancel);
    let (mut group, pipes) = Group::start(launch, spec)?;
    let input = write_input(pipes.stdin, launch.input.clone());
    let mut stdout = LineReader::new(pipes.stdout, limits.line_bytes, limits.output_bytes);
    let mut stderr = LineReader::new(pipes.stderr, limits.line_bytes, limits.output_bytes);
    let mut stderr_tail = Vec::new();
    let mut total: u64 = 0;
    let (mut stdout_open, mut stderr_open) = (true, true);
    let mut leader_runs = true;
    let turn_ends = Instant::now() + limits.turn;
    let mut stall_ends = Instant::now() + limits.stall;

    while stdout_open || stderr_open {
        let (stream, line) = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                group.terminate().await;
                return Err(Failure::cancelled());
            }
            () = tokio::time::sleep_until(turn_ends) => {
                group.terminate().await;
                return Err(turn_timed_out(limits));
            }
            () = tokio::time::sleep_until(stall_ends) => {
                group.terminate().await;
                return Err(stalled(limits));
            }
            line = stdout.next(), if stdout_open => (Stream::Stdout, line),
            line = stderr.next(), if stderr_open => (Stream::Stderr, line),
            // Processes that the program left behind may hold its pipes open forever. They are
            // killed here, and the rest of the pipes is read. An error of waiting recurs below.
            _ = group.wait(), if leader_runs => {
                leader_runs = false;
                group.kill();
                continue;
            }
        };
        stall_ends = Instant::now() + limits.stall;
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => {
                match stream {
                    Stream::Stdout => stdout_open = false,
                    Stream::Stderr | Stream::Stdin => stderr_open = false,
                }
                continue;
            }
            Err(error) => {
                group.terminate().await;
                return Err(unreadable(&error, limits));
            }
        };
        total += line.whole_length;
        if total > limits.output_bytes {
            group.terminate().await;
            return Err(too_much_output(limits));
        }
        raw.line(stream, &line.bytes);
        match stream {
            Stream::Stdout => {
                let sent = match on_line(&line) {
                    Ok(events) => send_events(&spec.events, cancel, events, turn_ends).await,
                    Err(failure) => Err(failure),
                };
                if let Err(failure) = sent {
                    group.terminate().await;
                    return Err(failure);
                }
                // A slow reader of events does not make the agent a stalled one.
                stall_ends = Instant::now() + limits.stall;
            }
            Stream::Stderr | Stream::Stdin => append_to_tail(&mut stderr_tail, &line.bytes),
        }
    }

    // The pipes are closed, but the program may still run.
    let status = tokio::select! {
        () = cancel.cancelled() => {
            group.terminate().await;
            return Err(Failure::cancelled());
        }
        () = tokio::time::sleep_until(turn_ends) => {
            group.terminate().await;
            return Err(turn_timed_out(limits));
        }
        status = group.wait() => status,
    };
    group.terminate().await;
    input.abort();
    let status = status
        .map_err(|error| Failure::harness(format!("could not wait for the agent: {error}")))?;
    Ok(ProgramExit {
        status,
        stderr: String::from_utf8_lossy(&stderr_tail).trim().to_owned(),
    })
}

/// Writes the input while the output is read, so that neither side waits for the other forever.
fn write_input(mut stdin: ChildStdin, input: Vec<u8>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        // A program may exit without reading all of its input.
        let _ = stdin.write_all(&input).await;
        let _ = stdin.shutdown().await;
    })
}
