//! A program that lives through many turns and is spoken to line by line.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    GRACE, Group, Launch, Line, LineReader, keep_last_words, start, timed_out, too_much, unreadable,
};
use crate::adapter::{Limits, RawSink, SessionSpec, Stream};
use crate::event::AgentEvent;
use crate::failure::{Cause, Failure};

/// A running program. Its process group ends with the value.
pub struct Peer {
    group: Group,
    stdin: Option<ChildStdin>,
    stdout: LineReader<ChildStdout>,
    stderr: JoinHandle<()>,
    last_words: Arc<Mutex<Vec<u8>>>,
    limits: Limits,
    raw: Arc<dyn RawSink>,
    events: mpsc::Sender<AgentEvent>,
    cancel: CancellationToken,
    turn_ends: Instant,
    heard: u64,
}

impl Peer {
    /// Starts a program; [`Launch::input`] is written to it and its standard input stays open.
    ///
    /// # Errors
    ///
    /// [`Cause::Harness`] where it cannot be started.
    pub async fn start(launch: &Launch, spec: &SessionSpec) -> Result<Self, Failure> {
        let mut group = start(launch, spec)?;
        let missing = |what: &str| Failure::harness(format!("no standard {what}"));
        let stdin = group.child.stdin().take().ok_or_else(|| missing("input"))?;
        let stdout = group.child.stdout().take();
        let stdout = stdout.ok_or_else(|| missing("output"))?;
        let stderr = group.child.stderr().take();
        let stderr = stderr.ok_or_else(|| missing("error"))?;
        let last_words = Arc::new(Mutex::new(Vec::new()));
        let listening = listen(
            stderr,
            spec.limits,
            Arc::clone(&spec.raw),
            Arc::clone(&last_words),
        );
        let limits = spec.limits;
        let mut peer = Self {
            group,
            stdin: Some(stdin),
            stdout: LineReader::new(stdout, limits.line_bytes, limits.output_bytes),
            stderr: tokio::spawn(listening),
            last_words,
            limits,
            raw: Arc::clone(&spec.raw),
            events: spec.events.clone(),
            cancel: spec.cancel.clone(),
            turn_ends: Instant::now() + limits.turn,
            heard: 0,
        };
        if !launch.input.is_empty() {
            peer.write(&launch.input).await?;
        }
        Ok(peer)
    }

    /// Begins a turn: from here on its limits of time and output count.
    pub fn begin_turn(&mut self) {
        self.turn_ends = Instant::now() + self.limits.turn;
        self.stdout.allow(self.limits.output_bytes);
        self.heard = 0;
    }

    /// Writes a line.
    ///
    /// # Errors
    ///
    /// [`Cause::AgentCrashed`] where the program does not read any more; the limits as in
    /// [`Peer::next`].
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
                return Err(timed_out("did not end its turn", self.limits.turn));
            }
        };
        written.map_err(|error| {
            Failure::new(
                Cause::AgentCrashed,
                format!("the agent does not listen: {error}; {}", self.last_words()),
            )
        })
    }

    /// The next line of its standard output; none once it has closed it. Safe to drop and call
    /// again.
    ///
    /// # Errors
    ///
    /// [`Cause::TimedOut`] and [`Cause::AgentCrashed`] for the limits of a turn, and
    /// [`Cause::Cancelled`]. The program still runs then: end it.
    pub async fn next(&mut self) -> Result<Option<Line>, Failure> {
        let line = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Failure::cancelled()),
            () = tokio::time::sleep_until(self.turn_ends) => {
                return Err(timed_out("did not end its turn", self.limits.turn));
            }
            line = self.stdout.next() => line,
            () = tokio::time::sleep(self.limits.stall) => {
                return Err(timed_out("wrote nothing", self.limits.stall));
            }
        };
        let line = line.map_err(|error| unreadable(&error, &self.limits))?;
        if let Some(line) = &line {
            self.raw.line(Stream::Stdout, &line.bytes);
            self.heard += line.whole_length;
            if self.heard > self.limits.output_bytes {
                return Err(too_much(&self.limits));
            }
        }
        Ok(line)
    }

    /// Hands events on; waits while whoever reads them is slow.
    ///
    /// # Errors
    ///
    /// [`Cause::Cancelled`], and [`Cause::Harness`] where nobody takes them within the turn.
    pub async fn hand_on(&self, events: Vec<AgentEvent>) -> Result<(), Failure> {
        super::hand_on(&self.events, &self.cancel, events, self.turn_ends).await
    }

    /// Closes its standard input and waits for it to end by itself, within the limits of a turn;
    /// then ends its process group.
    ///
    /// # Errors
    ///
    /// As [`Peer::next`]. Its process group is ended all the same.
    pub async fn finish(mut self) -> Result<(), Failure> {
        drop(self.stdin.take());
        let ended = loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        if ended.is_ok() {
            let _ = tokio::time::timeout_at(self.turn_ends, self.group.child.wait()).await;
        }
        self.group.end().await;
        self.stderr.abort();
        ended
    }

    /// The next line that it printed, without any limit of time: for programs that are spoken to by
    /// other ways. None once its standard output is closed. Safe to drop and call again.
    pub async fn printed(&mut self) -> Option<Line> {
        let line = self.stdout.next().await.ok().flatten()?;
        self.raw.line(Stream::Stdout, &line.bytes);
        Some(line)
    }

    /// The end of what it wrote to its standard error.
    pub fn last_words(&self) -> String {
        let kept = self
            .last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }

    /// Closes its standard input, gives it a moment, and ends its process group. How it ended by
    /// itself, if it did.
    pub async fn end(mut self) -> Option<ExitStatus> {
        drop(self.stdin.take());
        let ended = tokio::time::timeout(GRACE, self.group.child.wait()).await;
        self.group.end().await;
        self.stderr.abort();
        ended.ok().and_then(Result::ok)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stderr.abort();
    }
}

/// Reads a standard error to its end, however much it is: a full pipe would stop the program.
async fn listen(
    stderr: ChildStderr,
    limits: Limits,
    raw: Arc<dyn RawSink>,
    last_words: Arc<Mutex<Vec<u8>>>,
) {
    let mut lines = LineReader::new(stderr, limits.line_bytes, u64::MAX);
    while let Ok(Some(line)) = lines.next().await {
        raw.line(Stream::Stderr, &line.bytes);
        let mut kept = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        keep_last_words(&mut kept, &line.bytes);
    }
}
