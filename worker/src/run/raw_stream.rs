//! The raw stream of a run's programs, limited in size.

use agents::adapter::{RawSink, Stream};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use platform::redaction::Redactor;
use serde_json::json;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::job_error::{JobError, io_error};
use crate::run::canary::Canary;

/// Size limit of the raw stream, in bytes.
const RAW_BYTES: u64 = 32 << 20;
/// Size limit of one raw line, in bytes. A summary or a diff fits.
const RAW_LINE_BYTES: usize = 256 << 10;
/// Capacity of the queue of raw lines.
const RAW_WAITING: usize = 4_096;

/// Writes raw lines to a file, as redacted and compressed JSON lines, without ever making an agent
/// wait.
pub(crate) struct RawFile {
    sink: Arc<RawLines>,
    writer: Option<JoinHandle<std::io::Result<()>>>,
    path: PathBuf,
}

struct RawLines {
    canary: Arc<Canary>,
    lines: std::sync::Mutex<Option<mpsc::Sender<String>>>,
    /// Shared with the writer. The sender is not, because it must close with the run.
    dropped: Arc<AtomicU64>,
}

impl RawSink for RawLines {
    fn line(&self, stream: Stream, line: &[u8]) {
        let name = match stream {
            Stream::Stdin => "stdin",
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        self.canary.inspect(line);
        let kept = &line[..line.len().min(RAW_LINE_BYTES)];
        let mut entry = json!({
            "at": chrono::Utc::now().timestamp_millis(),
            "stream": name,
            "line": String::from_utf8_lossy(kept),
        });
        if kept.len() < line.len() {
            entry["cut_bytes"] = json!(line.len() - kept.len());
        }
        let lines = self
            .lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let taken = lines
            .as_ref()
            .is_some_and(|lines| lines.try_send(entry.to_string()).is_ok());
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl RawFile {
    /// Creates the file.
    pub(crate) fn create(path: PathBuf, redactor: Redactor, canary: Arc<Canary>) -> Self {
        let (sender, receiver) = mpsc::channel(RAW_WAITING);
        let target = path.clone();
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let writer = tokio::task::spawn_blocking(move || {
            write_lines(&target, receiver, &redactor, &counted)
        });
        Self {
            sink: Arc::new(RawLines {
                lines: std::sync::Mutex::new(Some(sender)),
                canary,
                dropped,
            }),
            writer: Some(writer),
            path,
        }
    }

    /// Returns the sink that sessions write to.
    pub(crate) fn sink(&self) -> Arc<dyn RawSink> {
        Arc::<RawLines>::clone(&self.sink)
    }

    /// Closes the file and returns its contents.
    pub(crate) async fn finish(&mut self) -> Result<Bytes, JobError> {
        self.sink
            .lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(writer) = self.writer.take() {
            writer
                .await
                .map_err(|error| {
                    JobError::harness(format!("the writer of the raw stream failed: {error}"))
                })?
                .map_err(|error| io_error("writing the raw stream", &self.path, error))?;
        }
        let bytes = tokio::fs::read(&self.path)
            .await
            .map_err(|error| io_error("reading the raw stream", &self.path, error))?;
        Ok(bytes.into())
    }
}

fn write_lines(
    path: &Path,
    mut lines: mpsc::Receiver<String>,
    redactor: &Redactor,
    dropped: &AtomicU64,
) -> std::io::Result<()> {
    let file = BufWriter::new(std::fs::File::create(path)?);
    let mut file = GzEncoder::new(file, Compression::fast());
    let mut written = 0_u64;
    let mut left_out = 0_u64;
    while let Some(line) = lines.blocking_recv() {
        if written >= RAW_BYTES {
            left_out += 1;
            continue;
        }
        written += line.len() as u64 + 1;
        file.write_all(redactor.redact(&line).as_bytes())?;
        file.write_all(b"\n")?;
    }
    if left_out > 0 {
        let note = json!({"stream": "orchestrator", "lines_beyond_the_limit": left_out});
        writeln!(file, "{note}")?;
    }
    let dropped = dropped.load(Ordering::Relaxed);
    if dropped > 0 {
        let note = json!({"stream": "orchestrator", "dropped_lines": dropped});
        writeln!(file, "{note}")?;
    }
    file.finish()?.flush()
}
