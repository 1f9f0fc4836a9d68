//! Runs an agent's program for one turn: its own session of processes, a cleared environment,
//! limits, and the bounds of [`crate::sandbox`].
//!
//! What must not outlive a turn does not: the group is killed when the leader has ended, when a
//! limit is reached, when the turn is cancelled and when the future is dropped; and the kernel
//! kills the leader when the worker's thread that started it ends, so that a killed worker leaves
//! no agent behind. That signal belongs to a thread: [`run`] must be polled by the runtime's own
//! threads, which live as long as the process, and never on a blocking thread.

mod lines;
mod peer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessSession};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use lines::{Line, LineReader};
pub use peer::Peer;

use crate::adapter::{Access, Limits, SessionSpec, Stream};
use crate::event::AgentEvent;
use crate::failure::{Cause, Failure};
use crate::sandbox::{self, Bounds, Confined};

/// How long a group may take to end by itself once it is asked to.
const GRACE: Duration = Duration::from_secs(1);
/// How much of what a program writes to its standard error is kept for a message.
const STDERR_KEPT: usize = 4 << 10;

/// Variables that name files with certificates.
const CERTIFICATES: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// The folder it works in.
    pub folder: PathBuf,
    /// Folders, besides those of the system, that it must be able to read and execute: those of
    /// [`crate::program::Found`].
    pub needs: Vec<PathBuf>,
    /// Its HOME; temporary files go into it as well.
    pub home: PathBuf,
    /// Variables besides the few that every program gets.
    pub environment: BTreeMap<String, String>,
    /// What it reads from its standard input, which is then closed.
    pub input: Vec<u8>,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// The end of what it wrote to its standard error.
    pub stderr: String,
}

/// Runs a program to its end, within the limits of `spec`.
///
/// Every line of its standard output goes to `on_line`, whose events are handed on before the next
/// line is read, and whose failure ends the program; every line of both streams goes to the raw
/// sink as it is.
///
/// # Errors
///
/// A program that cannot be started is [`Cause::Harness`]; a limit of time [`Cause::TimedOut`]; too
/// much output [`Cause::AgentCrashed`]; the token [`Cause::Cancelled`]. How to take an exit status
/// is the caller's to say.
pub async fn run(
    launch: &Launch,
    spec: &SessionSpec,
    mut on_line: impl FnMut(&Line) -> Result<Vec<AgentEvent>, Failure> + Send,
) -> Result<Ended, Failure> {
    let (limits, raw, cancel) = (&spec.limits, &spec.raw, &spec.cancel);
    let mut group = start(launch, spec)?;
    let input = feed(&mut group, launch.input.clone())?;
    let mut stdout = LineReader::new(
        group
            .child
            .stdout()
            .take()
            .ok_or_else(|| Failure::harness("no standard output"))?,
        limits.line_bytes,
        limits.output_bytes,
    );
    let mut stderr = LineReader::new(
        group
            .child
            .stderr()
            .take()
            .ok_or_else(|| Failure::harness("no standard error"))?,
        limits.line_bytes,
        limits.output_bytes,
    );
    let mut last_words = Vec::new();
    let mut total: u64 = 0;
    let (mut out_open, mut err_open) = (true, true);
    let mut leader_runs = true;
    let turn_ends = Instant::now() + limits.turn;
    let mut stall_ends = Instant::now() + limits.stall;

    while out_open || err_open {
        let heard = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                group.end().await;
                return Err(Failure::cancelled());
            }
            () = tokio::time::sleep_until(turn_ends) => {
                group.end().await;
                return Err(timed_out("did not end its turn", limits.turn));
            }
            () = tokio::time::sleep_until(stall_ends) => {
                group.end().await;
                return Err(timed_out("wrote nothing", limits.stall));
            }
            line = stdout.next(), if out_open => (Stream::Stdout, line),
            line = stderr.next(), if err_open => (Stream::Stderr, line),
            // What it left behind may hold its pipes open for ever: that ends here, and what is
            // still in the pipes is read. An error of the waiting comes up again below.
            _ = group.child.wait(), if leader_runs => {
                leader_runs = false;
                group.kill();
                continue;
            }
        };
        stall_ends = Instant::now() + limits.stall;
        let (stream, line) = heard;
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => {
                match stream {
                    Stream::Stdout => out_open = false,
                    Stream::Stderr | Stream::Stdin => err_open = false,
                }
                continue;
            }
            Err(error) => {
                group.end().await;
                return Err(unreadable(&error, limits));
            }
        };
        total += line.whole_length;
        if total > limits.output_bytes {
            group.end().await;
            return Err(too_much(limits));
        }
        raw.line(stream, &line.bytes);
        match stream {
            Stream::Stdout => {
                let handed_on = match on_line(&line) {
                    Ok(events) => hand_on(&spec.events, cancel, events, turn_ends).await,
                    Err(failure) => Err(failure),
                };
                if let Err(failure) = handed_on {
                    group.end().await;
                    return Err(failure);
                }
                // A slow reader of events is not a silent agent.
                stall_ends = Instant::now() + limits.stall;
            }
            Stream::Stderr | Stream::Stdin => keep_last_words(&mut last_words, &line.bytes),
        }
    }

    // Its pipes are closed, but the program may still be there.
    let status = tokio::select! {
        () = cancel.cancelled() => {
            group.end().await;
            return Err(Failure::cancelled());
        }
        () = tokio::time::sleep_until(turn_ends) => {
            group.end().await;
            return Err(timed_out("did not end its turn", limits.turn));
        }
        status = group.child.wait() => status,
    };
    group.end().await;
    input.abort();
    let status = status
        .map_err(|error| Failure::harness(format!("waiting for the agent failed: {error}")))?;
    Ok(Ended {
        status,
        stderr: String::from_utf8_lossy(&last_words).trim().to_owned(),
    })
}

/// Hands events on; waits while whoever reads them is slow.
async fn hand_on(
    reader: &mpsc::Sender<AgentEvent>,
    cancel: &CancellationToken,
    events: Vec<AgentEvent>,
    turn_ends: Instant,
) -> Result<(), Failure> {
    for event in events {
        tokio::select! {
            // Nobody listening is no reason to fail a turn.
            _ = reader.send(event) => {}
            () = cancel.cancelled() => return Err(Failure::cancelled()),
            () = tokio::time::sleep_until(turn_ends) => {
                return Err(Failure::harness("the agent's events were not taken"));
            }
        }
    }
    Ok(())
}

fn too_much(limits: &Limits) -> Failure {
    Failure::new(
        Cause::AgentCrashed,
        format!(
            "the agent wrote more than {} bytes in one turn",
            limits.output_bytes
        ),
    )
}

fn unreadable(error: &std::io::Error, limits: &Limits) -> Failure {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        return too_much(limits);
    }
    Failure::harness(format!("reading from the agent failed: {error}"))
}

fn timed_out(what: &str, limit: Duration) -> Failure {
    Failure::new(
        Cause::TimedOut,
        format!("the agent {what} within {} s", limit.as_secs()),
    )
}

fn keep_last_words(kept: &mut Vec<u8>, line: &[u8]) {
    kept.extend_from_slice(line);
    kept.push(b'\n');
    if kept.len() > STDERR_KEPT {
        kept.drain(..kept.len() - STDERR_KEPT);
    }
}

/// A running program and all that it started.
struct Group {
    child: Box<dyn ChildWrapper>,
    leader: Option<Pid>,
}

impl Group {
    /// Ends the whole group: asks, waits a moment, kills. Also after the leader has gone, for what
    /// it left behind.
    async fn end(&mut self) {
        let Some(group) = self.leader else {
            return;
        };
        // An error means that the group is no more.
        if killpg(group, Signal::SIGTERM).is_ok() {
            let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
            self.kill();
        }
        let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
        // Only now: whoever drops this in the middle still gets the group killed.
        self.leader = None;
    }

    /// Kills what there is of the group, at once.
    fn kill(&self) {
        if let Some(group) = self.leader {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start(launch: &Launch, spec: &SessionSpec) -> Result<Group, Failure> {
    let confined = confined(launch, spec)?;
    let is_confined = spec.sandbox.report().filesystem;
    let mut command = tokio::process::Command::new(&confined.program);
    command
        .args(&confined.args)
        .current_dir(&launch.folder)
        .env_clear()
        .envs(basics(&launch.home))
        .envs(&launch.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    before_exec(&mut command, confined.rules);
    let mut wrapped = CommandWrap::from(command);
    wrapped.wrap(KillOnDrop).wrap(ProcessSession);
    let child = wrapped.spawn().map_err(|error| {
        Failure::harness(if error.kind() == std::io::ErrorKind::NotFound {
            format!(
                "there is no program {} (or no folder {}): install the agent, or tell where it is",
                launch.program.display(),
                launch.folder.display()
            )
        } else if is_confined && error.kind() == std::io::ErrorKind::PermissionDenied {
            format!(
                "{} cannot be started: {error}; it, or what runs it, may lie where the sandbox does \
                 not let programs read",
                launch.program.display()
            )
        } else {
            format!("{} cannot be started: {error}", launch.program.display())
        })
    })?;
    let leader = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .map(Pid::from_raw);
    Ok(Group { child, leader })
}

/// The variables that every program gets: nothing of the worker's own but the search path.
fn basics(home: &Path) -> Vec<(&'static str, OsString)> {
    vec![
        ("PATH", search_path()),
        ("HOME", home.as_os_str().to_owned()),
        ("TMPDIR", home.as_os_str().to_owned()),
        ("LANG", OsString::from("C.UTF-8")),
        ("TERM", OsString::from("dumb")),
    ]
}

fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"))
}

/// The program within the bounds that the session has.
fn confined(launch: &Launch, spec: &SessionSpec) -> Result<Confined, Failure> {
    let search_path = match launch.environment.get("PATH") {
        Some(path) => OsString::from(path),
        None => search_path(),
    };
    let workspace = match spec.access {
        Access::Workspace => spec.workspace.as_deref(),
        Access::Sealed => None,
    };
    let certificates = CERTIFICATES
        .iter()
        .filter_map(|name| launch.environment.get(*name))
        .map(PathBuf::from)
        .collect();
    let bounds = Bounds {
        program: &launch.program,
        args: &launch.args,
        folder: &launch.folder,
        home: &launch.home,
        workspace,
        needs: &launch.needs,
        certificates,
        search_path: &search_path,
    };
    spec.sandbox.confine(&bounds).map_err(Failure::harness)
}

#[expect(unsafe_code, reason = "nothing safe runs between fork and exec")]
fn before_exec(command: &mut tokio::process::Command, rules: Option<OwnedFd>) {
    let worker = nix::unistd::getpid();
    // SAFETY: the closure runs in the child between fork and exec and makes system calls only,
    // which are async-signal-safe; it allocates nothing and touches no lock.
    unsafe {
        command.pre_exec(move || {
            die_with(worker)?;
            match &rules {
                Some(rules) => sandbox::enforce(rules),
                None => Ok(()),
            }
        });
    }
}

#[cfg(target_os = "linux")]
fn die_with(worker: Pid) -> std::io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // A worker that died before this was asked for sends no signal.
    if nix::unistd::getppid() == worker {
        Ok(())
    } else {
        Err(nix::errno::Errno::ESRCH.into())
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with(_: Pid) -> std::io::Result<()> {
    Ok(())
}

/// Writes the input beside the reading, so that neither side waits for the other for ever.
fn feed(group: &mut Group, input: Vec<u8>) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let mut stdin = group
        .child
        .stdin()
        .take()
        .ok_or_else(|| Failure::harness("no standard input"))?;
    Ok(tokio::spawn(async move {
        // A program may end without reading all of it: that is its own affair.
        let _ = stdin.write_all(&input).await;
        let _ = stdin.shutdown().await;
    }))
}
