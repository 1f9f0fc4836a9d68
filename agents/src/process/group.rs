//! A running program and all processes that it started.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessSession};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::launch::Launch;
use crate::adapter::{Access, SessionSpec};
use crate::failure::Failure;
use crate::sandbox::{self, Bounds, ConfinedCommand};

/// Time that a group gets to exit after it was asked to.
pub(super) const GRACE_PERIOD: Duration = Duration::from_secs(1);
/// Size of the end of the standard error that is kept for a message.
const STDERR_TAIL_BYTES: usize = 4 << 10;

/// Variables that name files with certificates.
const CERTIFICATE_VARIABLES: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];

/// A running program and all processes that it started.
pub(super) struct Group {
    child: Box<dyn ChildWrapper>,
    leader: Option<Pid>,
}

/// The standard streams of a program.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Group {
    /// Starts a program in a session of processes of its own.
    pub(super) fn start(launch: &Launch, spec: &SessionSpec) -> Result<(Self, Pipes), Failure> {
        let confined = confine(launch, spec)?;
        let is_confined = spec.sandbox.report().filesystem;
        let mut command = tokio::process::Command::new(&confined.program);
        command
            .args(&confined.args)
            .current_dir(&launch.folder)
            .env_clear()
            .envs(base_environment(&launch.home))
            .envs(&launch.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        before_exec(&mut command, confined.rules);
        let mut wrapped = CommandWrap::from(command);
        wrapped.wrap(KillOnDrop).wrap(ProcessSession);
        let child = wrapped
            .spawn()
            .map_err(|error| start_failure(launch, &error, is_confined))?;
        let leader = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let mut group = Self { child, leader };
        let pipes = group.take_pipes()?;
        Ok((group, pipes))
    }

    fn take_pipes(&mut self) -> Result<Pipes, Failure> {
        let missing =
            |stream: &str| Failure::harness(format!("the agent has no standard {stream}"));
        Ok(Pipes {
            stdin: self.child.stdin().take().ok_or_else(|| missing("input"))?,
            stdout: self
                .child
                .stdout()
                .take()
                .ok_or_else(|| missing("output"))?,
            stderr: self.child.stderr().take().ok_or_else(|| missing("error"))?,
        })
    }

    /// Waits for the program itself.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends the whole group: asks, waits a moment, kills. Works after the leader has exited, too,
    /// for the processes that it left behind.
    pub(super) async fn terminate(&mut self) {
        let Some(group) = self.leader else {
            return;
        };
        // An error means that the group no longer exists.
        if killpg(group, Signal::SIGTERM).is_ok() {
            let _ = tokio::time::timeout(GRACE_PERIOD, self.child.wait()).await;
            self.kill();
        }
        let _ = tokio::time::timeout(GRACE_PERIOD, self.child.wait()).await;
        // Only now: if this future is dropped earlier, `drop` still kills the group.
        self.leader = None;
    }

    /// Kills all processes of the group at once.
    pub(super) fn kill(&self) {
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

/// Appends a line of the standard error, and keeps only its end.
pub(super) fn append_to_tail(tail: &mut Vec<u8>, line: &[u8]) {
    tail.extend_from_slice(line);
    tail.push(b'\n');
    if tail.len() > STDERR_TAIL_BYTES {
        tail.drain(..tail.len() - STDERR_TAIL_BYTES);
    }
}

fn start_failure(launch: &Launch, error: &std::io::Error, is_confined: bool) -> Failure {
    let program = launch.program.display();
    Failure::harness(if error.kind() == std::io::ErrorKind::NotFound {
        format!(
            "could not start the agent: there is no program {program} (or no folder {}). Install \
             the agent, or configure where it is",
            launch.folder.display()
        )
    } else if is_confined && error.kind() == std::io::ErrorKind::PermissionDenied {
        format!(
            "could not start {program}: {error}. It or its interpreter may be in a folder that the \
             sandbox does not allow"
        )
    } else {
        format!("could not start {program}: {error}")
    })
}

/// Returns the variables that every program gets. The search path is the only one of the worker's
/// own.
fn base_environment(home: &Path) -> Vec<(&'static str, OsString)> {
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

/// Returns how to start the program in the sandbox of its session.
fn confine(launch: &Launch, spec: &SessionSpec) -> Result<ConfinedCommand, Failure> {
    let search_path = match launch.environment.get("PATH") {
        Some(path) => OsString::from(path),
        None => search_path(),
    };
    let workspace = match spec.access {
        Access::Workspace => spec.workspace.as_deref(),
        Access::Sealed => None,
    };
    let certificates = CERTIFICATE_VARIABLES
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
        readable: &launch.readable,
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
    // A worker that died before this call sends no signal.
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
