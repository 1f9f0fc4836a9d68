//! A program that runs through many turns and exchanges lines with the worker.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::group::{GRACE_PERIOD, Group, append_to_tail};
use super::launch::Launch;
use super::limits::{self, stalled, too_much_output, turn_timed_out, unreadable};
use super::lines::{Line, LineReader};
use crate::adapter::{Limits, RawSink, SessionSpec, Stream};
use crate::event::AgentEvent;
use crate::failure::{Cause, Failure};

/// A running program. Its process group ends with the value.
pub struct InteractiveProcess {
    group: Group,
    stdin: Option<ChildStdin>,
    stdout: LineReader<ChildStdout>,
    stderr: JoinHandle<()>,
    stderr_tail: Arc<Mutex<Vec<u8>>>,
    limits: Limits,
    raw: Arc<dyn RawSink>,
    events: mpsc::Sender<AgentEvent>,
    cancel: CancellationToken,
    turn_ends: Instant,
    output_bytes: u64,
}

impl InteractiveProcess {
    /// Starts a program. [`Launch::input`] is written to it, and its standard input stays open.
    ///
    /// # Errors
    ///
    /// Fails with [`Cause::Harness`] if the program cannot be started.
    pub async fn start(launch: &Launch, spec: &SessionSpec) -> Result<Self, Failure> {
        let (group, pipes) = Group::start(launch, spec)?;
        let stderr_tail = Arc::new(Mutex::new(Vec::new()));
        let reading_stderr = read_stderr(
            pipes.stderr,
            spec.limits,
            Arc::clone(&spec.raw),
            Arc::clone(&stderr_tail),
        );
        let limits = spec.limits;
        let mut process = Self {
            group,
            stdin: Some(pipes.stdin),
            stdout: LineReader::new(pipes.stdout, limits.line_bytes, limits.output_bytes),
            stderr: tokio::spawn(reading_stderr),
            stderr_tail,
            limits,
            raw: Arc::clone(&spec.raw),
            events: spec.events.clone(),
            cancel: spec.cancel.clone(),
            turn_ends: Instant::now() + limits.turn,
            output_bytes: 0,
        };
        if !launch.input.is_empty() {
            process.write(&launch.input).await?;
        }
        Ok(process)
    }

    /// Begins a turn, and with it the turn's limits of time and output.
    pub fn begin_turn(&mut self) {
        self.turn_ends = Instant::now() + self.limits.turn;
        self.stdout.allow(self.limits.output_bytes);
        self.output_bytes = 0;
    }

    /// Writes a line.
    ///
    /// # Errors
    ///
    /// Fails with [`Cause::AgentCrashed`] if the program no longer reads, and at the limits of
    /// [`InteractiveProcess::next`].
    pub async fn write_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.raw.line(Stream::Stdin, line);
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        self.write(&bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(stdin) = &mut self.stdin else {
            return Err(Failure::harness("the agent's standard input is closed"));
        };
        let written = async {
            stdin.write_all(bytes).await?;
            stdin.flush().await
        };
        let written = tokio::select! {
            written = written => written,
            () = self.cancel.cancelled() => return Err(Failure::cancelled()),
            () = tokio::time::sleep_until(self.turn_ends) => {
                return Err(turn_timed_out(&self.limits));
            }
        };
        written.map_err(|error| {
            Failure::new(
                Cause::AgentCrashed,
                format!(
                    "could not write to the agent: {error}; {}",
                    self.stderr_tail()
                ),
            )
        })
    }

    /// Returns the next line of the standard output. Returns `None` once it is closed. Dropping the
    /// future and calling again loses nothing.
    ///
    /// # Errors
    ///
    /// Fails with [`Cause::TimedOut`] and [`Cause::AgentCrashed`] at the limits of a turn, and with
    /// [`Cause::Cancelled`]. The program still runs then. The caller must terminate it.
    pub async fn next(&mut self) -> Result<Option<Line>, Failure> {
        let line = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Failure::cancelled()),
            () = tokio::time::sleep_until(self.turn_ends) => {
                return Err(turn_timed_out(&self.limits));
            }
            line = self.stdout.next() => line,
            () = tokio::time::sleep(self.limits.stall) => return Err(stalled(&self.limits)),
        };
        let line = line.map_err(|error| unreadable(&error, &self.limits))?;
        if let Some(line) = &line {
            self.raw.line(Stream::Stdout, &line.bytes);
            self.output_bytes += line.whole_length;
            if self.output_bytes > self.limits.output_bytes {
                return Err(too_much_output(&self.limits));
            }
        }
        Ok(line)
    }

    /// Sends events. Waits while their reader is slow.
    ///
    /// # Errors
    ///
    /// Fails with [`Cause::Cancelled`], and with [`Cause::Harness`] if the events are not received
    /// within the turn.
    pub async fn send_events(&self, events: Vec<AgentEvent>) -> Result<(), Failure> {
        limits::send_events(&self.events, &self.cancel, events, self.turn_ends).await
    }

    /// Closes the standard input, waits for the program to exit within the limits of a turn, and
    /// then ends its process group.
    ///
    /// # Errors
    ///
    /// Fails as [`InteractiveProcess::next`] does. The process group is ended in any case.
    pub async fn finish(mut self) -> Result<(), Failure> {
        drop(self.stdin.take());
        let drained = loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        if drained.is_ok() {
            let _ = tokio::time::timeout_at(self.turn_ends, self.group.wait()).await;
        }
        self.group.terminate().await;
        self.stderr.abort();
        drained
    }

    /// Returns the next line of the standard output, without any time limit: for programs that use
    /// another channel for their messages. Returns `None` once it is closed. Dropping the future
    /// and calling again loses nothing.
    pub async fn next_unlimited(&mut self) -> Option<Line> {
        let line = self.stdout.next().await.ok().flatten()?;
        self.raw.line(Stream::Stdout, &line.bytes);
        Some(line)
    }

    /// Returns the end of the standard error.
    pub fn stderr_tail(&self) -> String {
        let tail = self
            .stderr_tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&tail).trim().to_owned()
    }

    /// Closes the standard input, waits a moment, and ends the process group. Returns the exit
    /// status if the program exited by itself.
    pub async fn terminate(mut self) -> Option<ExitStatus> {
        drop(self.stdin.take());
        let exit = tokio::time::timeout(GRACE_PERIOD, self.group.wait()).await;
        self.group.terminate().await;
        self.stderr.abort();
        exit.ok().and_then(Result::ok)
    }
}

impl Drop for InteractiveProcess {
    fn drop(&mut self) {
        self.stderr.abort();
    }
}

/// Reads the standard error to its end without a limit. A full pipe would block the program.
async fn read_stderr(
    stderr: ChildStderr,
    limits: Limits,
    raw: Arc<dyn RawSink>,
    stderr_tail: Arc<Mutex<Vec<u8>>>,
) {
    let mut lines = LineReader::new(stderr, limits.line_bytes, u64::MAX);
    while let Ok(Some(line)) = lines.next().await {
        raw.line(Stream::Stderr, &line.bytes);
        let mut tail = stderr_tail.lock().unwrap_or_else(PoisonError::into_inner);
        append_to_tail(&mut tail, &line.bytes);
    }
}
