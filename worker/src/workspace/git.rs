//! Runs the real `git` so that nothing of a repository, of an input or of this machine's settings
//! can make it do more than it was asked for.
//!
//! * Its environment is empty but for what stands here: no settings of the machine or the user, no
//!   hooks, no prompts, only the transports that the origin needs.
//! * A credential is given in the environment alone: other users can read command lines.
//! * It leads a process group of its own, killed as a whole when time is up, when the work is
//!   cancelled or when nobody waits any more: `git fetch` has children.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use platform::settings::{Environment, Source as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::WorkspaceError;
use super::origin::Origin;
use crate::settings::WorkerSettings;

/// What git may print where a short answer is expected, in bytes.
pub(crate) const SHORT: u64 = 64 << 10;
/// How much of its complaints is kept, in bytes.
const COMPLAINTS: usize = 16 << 10;
/// How much of its complaints is told, in bytes.
const TOLD: usize = 600;

/// What a repository's own settings must not change.
const PROTECTED: [&str; 16] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.quotePath=true",
    "core.commitGraph=false",
    "diff.external=",
    "fetch.recurseSubmodules=false",
    // Objects of a pack are there all at once. Loose ones come one by one, and whoever finds the
    // commit meanwhile, or after a fetch was killed, would not find its files.
    "fetch.unpackLimit=1",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "http.followRedirects=false",
    "maintenance.auto=false",
    "protocol.ext.allow=never",
    "safe.directory=*",
    "submodule.recurse=false",
    "transfer.bundleURI=false",
];

/// For the processes that git starts itself, such as `upload-pack` of a local repository: they get
/// neither its `-c` options nor its environment's settings, but they read this file.
const GLOBAL: &str = "[safe]\n\tdirectory = *\n[uploadpack]\n\tallowAnySHA1InWant = true\n";

/// Variables that say how this machine reaches the network.
const NETWORK: [&str; 7] = [
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];

/// Runs git. Not to be printed: it holds a credential.
#[derive(Clone)]
pub(crate) struct Git {
    folder: PathBuf,
    protocols: &'static str,
    /// Setting and value that carry the credential.
    credential: Option<(String, String)>,
    /// What must not show in a message.
    secrets: Vec<String>,
    timeout: Duration,
    cancel: CancellationToken,
}

/// The processes of one git. Ended with the value, unless they have ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already: just as well.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Git {
    /// A git that reaches no network and no repository but the one it is told.
    pub(crate) async fn new(
        settings: &WorkerSettings,
        cancel: &CancellationToken,
    ) -> Result<Self, WorkspaceError> {
        let folder = settings.work_dir.join("git");
        prepare(&folder).await?;
        Ok(Self {
            folder,
            protocols: "none",
            credential: None,
            secrets: Vec::new(),
            timeout: settings.forge.timeout,
            cancel: cancel.clone(),
        })
    }

    /// A git that may fetch from this origin.
    pub(crate) fn reaching(mut self, origin: &Origin) -> Self {
        self.protocols = origin.protocols();
        self.credential = origin.credential();
        self.secrets = origin.secrets();
        self
    }

    /// What ends its work early.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Runs git on a repository and gives what it prints, up to `most` bytes.
    pub(crate) async fn output(
        &self,
        action: &'static str,
        repository: Option<&Path>,
        arguments: &[&str],
        most: u64,
    ) -> Result<Vec<u8>, WorkspaceError> {
        self.stream(action, repository, arguments, Vec::new(), move |stdout| {
            let mut bytes = Vec::new();
            stdout
                .take(most + 1)
                .read_to_end(&mut bytes)
                .map_err(|source| WorkspaceError::io("reading what git prints", source))?;
            if bytes.len() as u64 > most {
                return Err(WorkspaceError::Refused(format!(
                    "git {action} gives more than {most} bytes"
                )));
            }
            Ok(bytes)
        })
        .await
    }

    /// Like [`Git::output`], as one line of text.
    pub(crate) async fn line(
        &self,
        action: &'static str,
        repository: Option<&Path>,
        arguments: &[&str],
    ) -> Result<String, WorkspaceError> {
        let bytes = self.output(action, repository, arguments, SHORT).await?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// Runs git on a repository; what it prints is read by `read`, away from the async runtime.
    ///
    /// An error of git goes before one of `read`, which may be its consequence, unless `read`
    /// refuses what it reads.
    pub(crate) async fn stream<T: Send + 'static>(
        &self,
        action: &'static str,
        repository: Option<&Path>,
        arguments: &[&str],
        input: Vec<u8>,
        read: impl FnOnce(&mut BufReader<File>) -> Result<T, WorkspaceError> + Send + 'static,
    ) -> Result<T, WorkspaceError> {
        if self.cancel.is_cancelled() {
            return Err(WorkspaceError::Cancelled);
        }
        let mut child = self
            .command(repository, arguments, !input.is_empty())
            .spawn()
            .map_err(|source| WorkspaceError::io("starting git", source))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let mut group = Group(pid.map(Pid::from_raw));
        let stdout = stdout(&mut child)?;
        let mut reading = tokio::task::spawn_blocking(move || read(&mut BufReader::new(stdout)));
        let stdin = child.stdin.take();
        let writing = async move {
            if let Some(mut stdin) = stdin {
                // A git that stopped reading says why itself.
                let _ = stdin.write_all(&input).await;
            }
        };
        let stderr = child.stderr.take();
        let ended = {
            let work = async {
                let complaints = async {
                    match stderr {
                        Some(stderr) => tail(stderr).await,
                        None => Vec::new(),
                    }
                };
                let (read, (), complaints) = tokio::join!(&mut reading, writing, complaints);
                let status = child.wait().await;
                (read, complaints, status)
            };
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(WorkspaceError::Cancelled),
                () = tokio::time::sleep(self.timeout) => Err(WorkspaceError::TimedOut {
                    action,
                    seconds: self.timeout.as_secs(),
                }),
                ended = work => Ok(ended),
            }
        };
        match ended {
            Ok((read, complaints, status)) => {
                group.0 = None;
                let status =
                    status.map_err(|source| WorkspaceError::io("waiting for git", source))?;
                let read = read.map_err(|error| {
                    WorkspaceError::io("reading what git prints", std::io::Error::other(error))
                })?;
                self.judge(action, status, &complaints, read)
            }
            Err(error) => {
                drop(group);
                // With its writers gone the reader comes to its end; nothing is written after this.
                // A finished one may have been waited for already, which can be done only once.
                if !reading.is_finished() {
                    let _ = reading.await;
                }
                let _ = child.wait().await;
                Err(error)
            }
        }
    }

    fn judge<T>(
        &self,
        action: &'static str,
        status: ExitStatus,
        complaints: &[u8],
        read: Result<T, WorkspaceError>,
    ) -> Result<T, WorkspaceError> {
        match read {
            Err(WorkspaceError::Refused(message)) => Err(WorkspaceError::Refused(message)),
            read if status.success() => read,
            Ok(_) | Err(_) => {
                let message = self.tellable(complaints);
                let message = if message.is_empty() {
                    status.to_string()
                } else {
                    message
                };
                Err(WorkspaceError::Git { action, message })
            }
        }
    }

    /// The end of git's complaints, without credentials.
    fn tellable(&self, complaints: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(complaints).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        let lines: Vec<&str> = text
            .split(['\n', '\r'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let text = lines.join("; ");
        let mut start = text.len().saturating_sub(TOLD);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text[start..].to_owned()
    }

    fn command(&self, repository: Option<&Path>, arguments: &[&str], input: bool) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", variable("PATH").unwrap_or("/usr/bin:/bin".into()))
            .env("HOME", self.folder.join("home"))
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.folder.join("config"))
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/true")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_ALLOW_PROTOCOL", self.protocols);
        for name in NETWORK {
            if let Some(value) = variable(name) {
                command.env(name, value);
            }
        }
        if let Some((setting, value)) = &self.credential {
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", setting)
                .env("GIT_CONFIG_VALUE_0", value);
        }
        for setting in PROTECTED {
            command.args(["-c", setting]);
        }
        if let Some(repository) = repository {
            // Named, never searched for: a folder above could be a repository too.
            command.env("GIT_DIR", repository).current_dir(repository);
        } else {
            // The worker's folder may lie within a repository, whose settings are not ours.
            command
                .env("GIT_CEILING_DIRECTORIES", &self.folder)
                .current_dir(self.folder.join("home"));
        }
        command
            .args(arguments)
            .stdin(if input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

fn stdout(child: &mut Child) -> Result<File, WorkspaceError> {
    child
        .stdout
        .take()
        .ok_or_else(|| std::io::Error::other("git has no output"))
        .and_then(tokio::process::ChildStdout::into_owned_fd)
        .map(File::from)
        .map_err(|source| WorkspaceError::io("reading what git prints", source))
}

fn variable(name: &str) -> Option<OsString> {
    Environment.get(name).map(OsString::from)
}

/// The last [`COMPLAINTS`] bytes.
async fn tail(mut stderr: tokio::process::ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stderr.read(&mut part).await {
            Ok(0) | Err(_) => return kept,
            Ok(length) => {
                kept.extend_from_slice(&part[..length]);
                if kept.len() > 2 * COMPLAINTS {
                    kept.drain(..kept.len() - COMPLAINTS);
                }
            }
        }
    }
}

/// Makes the empty HOME and the settings file.
async fn prepare(folder: &Path) -> Result<(), WorkspaceError> {
    let failed = |source| WorkspaceError::io("making the folder of git's settings", source);
    tokio::fs::create_dir_all(folder.join("home"))
        .await
        .map_err(failed)?;
    let config = folder.join("config");
    if tokio::fs::read(&config)
        .await
        .is_ok_and(|text| text == GLOBAL.as_bytes())
    {
        return Ok(());
    }
    // Renamed into place: another process may be reading it.
    let fresh = folder.join(format!("config.{}", uuid::Uuid::new_v4().simple()));
    tokio::fs::write(&fresh, GLOBAL).await.map_err(failed)?;
    tokio::fs::rename(&fresh, &config).await.map_err(failed)
}

/// A path as an argument. Git takes bytes; our arguments are text.
pub(crate) fn argument(path: &Path) -> Result<&str, WorkspaceError> {
    std::str::from_utf8(path.as_os_str().as_bytes())
        .map_err(|_| WorkspaceError::Refused(format!("the path {path:?} is not UTF-8")))
}
