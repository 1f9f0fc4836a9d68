//! A server process that does not outlive the test.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a server may take to start or to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Ended, by its process id, when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// How it is told to end at once and to leave nothing behind.
    end: Signal,
}

impl Server {
    pub(super) fn spawn(command: &mut Command, end: Signal) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        Ok(Self { child, end })
    }

    /// Whether it has ended, as a server does whose port somebody else took.
    pub(super) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the process.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id()).context("a process id")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("sending {signal}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        // A paused process takes no other signal before it goes on.
        let asked = self
            .signal(Signal::SIGCONT)
            .and_then(|()| self.signal(self.end));
        let deadline = Instant::now() + Duration::from_secs(5);
        while asked.is_ok() && Instant::now() < deadline {
            if self.ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It may have ended by itself meanwhile, which is what was wanted.
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A port of the loopback interface that was free a moment ago.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    Ok(listener.local_addr().context("finding a free port")?.port())
}

/// The path of a program: in `PATH`, or in one of `folders`.
pub(super) fn find(program: &str, folders: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{program} is not installed"))
}
