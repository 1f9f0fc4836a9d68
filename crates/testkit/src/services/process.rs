//! A server process that does not outlive the test.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Time limit for a server to start or to exit.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server. Dropping the value ends the process.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Signal that ends the server at once without leftovers.
    stop_signal: Signal,
}

impl Server {
    pub(super) fn spawn(command: &mut Command, stop_signal: Signal) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        Ok(Self { child, stop_signal })
    }

    /// Returns whether it has exited, for example because its port was taken.
    pub(super) fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the process.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id =
            i32::try_from(self.child.id()).context("the process id does not fit into 32 bits")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("sending {signal}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.has_exited() {
            return;
        }
        // A paused process handles no other signal before it continues.
        let signalled = self
            .signal(Signal::SIGCONT)
            .and_then(|()| self.signal(self.stop_signal));
        let deadline = Instant::now() + Duration::from_secs(5);
        while signalled.is_ok() && Instant::now() < deadline {
            if self.has_exited() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It may have exited by itself meanwhile.
        let _already_exited = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Returns a free port of the loopback interface.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not find a free port")?;
    Ok(listener
        .local_addr()
        .context("could not find a free port")?
        .port())
}

/// Returns the path of a program in `PATH` or in one of `folders`.
pub(super) fn find_program(program: &str, folders: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{program} is not installed"))
}
