//! Runs `git` so that no repository, input or setting of this machine can make it do more than the
//! caller asked for.
//!
//! * Its environment contains only the variables set here: no settings of the machine or the user,
//!   no hooks, no prompts, and only the transports that the remote needs.
//! * Credentials are passed in the environment only, because other users can read command lines.
//! * It leads its own process group, because `git fetch` has children. The group is killed at the
//!   time limit, on cancellation, and when the caller stops waiting.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::remote::Remote;
use crate::error::SourceError;
use crate::settings::SourceSettings;

/// Limit on the output of commands with a short answer, in bytes.
pub(crate) const SHORT_OUTPUT: u64 = 64 << 10;
/// Size of the kept end of git's error output, in bytes.
const KEPT_STDERR: usize = 16 << 10;
/// Size of the end of git's error output that goes into an error message, in bytes.
const SHOWN_STDERR: usize = 600;

/// Settings that override those of a repository.
const OVERRIDES: [&str; 16] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.quotePath=true",
    "core.commitGraph=false",
    "diff.external=",
    "fetch.recurseSubmodules=false",
    // A pack appears as a whole. Loose objects appear one by one: a reader could find a commit before
    // its files, or a killed fetch could leave a commit without its files.
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

/// Settings for processes that git starts itself, such as `upload-pack` of a local repository. They
/// get neither the `-c` options nor the settings in the environment, but they read this file.
const GLOBAL_CONFIG: &str = "[safe]\n\tdirectory = *\n[uploadpack]\n\tallowAnySHA1InWant = true\n";

/// Variables that configure network access.
const NETWORK_VARIABLES: [&str; 7] = [
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];

/// Runs git. It has no `Debug`, because it holds a credential.
#[derive(Clone)]
pub(crate) struct Git {
    folder: PathBuf,
    protocols: &'static str,
    /// Name and value of the setting with the credential.
    credential: Option<(String, String)>,
    /// Texts that must not appear in a message.
    secrets: Vec<String>,
    timeout: Duration,
    cancel: CancellationToken,
}

/// Process group of one git command. It is killed on drop unless it has ended.
struct ProcessGroup(Option<Pid>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may have ended already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Git {
    /// Creates a git that has no network access.
    pub(crate) async fn new(
        settings: &SourceSettings,
        cancel: &CancellationToken,
    ) -> Result<Self, SourceError> {
        let folder = settings.work_dir.join("git");
        prepare_folder(&folder).await?;
        Ok(Self {
            folder,
            protocols: "none",
            credential: None,
            secrets: Vec::new(),
            timeout: settings.forge.timeout,
            cancel: cancel.clone(),
        })
    }

    /// Allows fetching from this remote.
    pub(crate) fn with_access_to(mut self, remote: &Remote) -> Self {
        self.protocols = remote.protocols();
        self.credential = remote.credential();
        self.secrets = remote.secrets();
        self
    }

    /// Returns the token that cancels its commands.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Runs git on a repository and returns its output, up to `max_bytes`.
    pub(crate) async fn output(
        &self,
        action: &'static str,
        repository: Option<&Path>,
        arguments: &[&str],
        max_bytes: u64,
    ) -> Result<Vec<u8>, SourceError> {
        self.stream(action, repository, arguments, Vec::new(), move |stdout| {
            let mut bytes = Vec::new();
            stdout
                .take(max_bytes + 1)
                .read_to_end(&mut bytes)
                .map_err(|source| SourceError::io("reading the output of git", source))?;
            if bytes.len() as u64 > max_bytes {
                return Err(SourceError::Refused(format!(
                    "git {action} printed more than {max_bytes} bytes"
                )));
            }
            Ok(bytes)
        })
        .await
    }

    /// Runs git and returns its output as one line of text.
    pub(crate) async fn line(
        &self,
        action: &'static str,
        repository: Option<&Path>,
        arguments: &[&str],
    ) -> Result<String, SourceError> {
        let bytes = self
            .output(action, repository, arguments, SHORT_OUTPUT)
            .await?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// Returns the id of the commit that a revision denotes.
    pub(crate) async fn commit_id(
        &self,
        repository: &Path,
        revision: &str,
    ) -> Result<String, SourceError> {
        let wanted = format!("{revision}^{{commit}}");
        let arguments = ["rev-parse", "--verify", "--end-of-options", &wanted];
        self.line("rev-parse", Some(repository), &arguments).await
    }

    /// Runs git on a repository and passes its output to `read`, on a blocking thread.
    ///
    /// An error of git takes precedence over an error of `read`, which may be its consequence, unless
    /// `read` refuses the output.
    pub(crate) async fn stream<T: Send + 'static>(
        &self,
        action: &'static str,
        repository: Option<&Path>,
        arguments: &[&str],
        input: Vec<u8>,
        read: impl FnOnce(&mut BufReader<File>) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        if self.cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let mut child = self
            .command(repository, arguments, !input.is_empty())
            .spawn()
            .map_err(|source| SourceError::io("starting git", source))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let mut group = ProcessGroup(pid.map(Pid::from_raw));
        let stdout = stdout(&mut child)?;
        let mut reading = tokio::task::spawn_blocking(move || read(&mut BufReader::new(stdout)));
        let stdin = child.stdin.take();
        let writing = async move {
            if let Some(mut stdin) = stdin {
                // If git stops reading, its own error message says why.
                let _ = stdin.write_all(&input).await;
            }
        };
        let stderr = child.stderr.take();
        let ended = {
            let work = async {
                let stderr_text = async {
                    match stderr {
                        Some(stderr) => tail(stderr).await,
                        None => Vec::new(),
                    }
                };
                let (read, (), stderr_text) = tokio::join!(&mut reading, writing, stderr_text);
                let status = child.wait().await;
                (read, stderr_text, status)
            };
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(SourceError::Cancelled),
                () = tokio::time::sleep(self.timeout) => Err(SourceError::TimedOut {
                    action,
                    seconds: self.timeout.as_secs(),
                }),
                ended = work => Ok(ended),
            }
        };
        match ended {
            Ok((read, stderr_text, status)) => {
                group.0 = None;
                let status = status.map_err(|source| SourceError::io("waiting for git", source))?;
                let read = read.map_err(|error| {
                    SourceError::io("reading the output of git", std::io::Error::other(error))
                })?;
                self.result_of(action, status, &stderr_text, read)
            }
            Err(error) => {
                drop(group);
                // The reader ends once its writers have ended, so nothing is written after this. A
                // finished reader may have been awaited already, which is possible only once.
                if !reading.is_finished() {
                    let _ = reading.await;
                }
                let _ = child.wait().await;
                Err(error)
            }
        }
    }

    fn result_of<T>(
        &self,
        action: &'static str,
        status: ExitStatus,
        stderr_text: &[u8],
        read: Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        match read {
            Err(SourceError::Refused(message)) => Err(SourceError::Refused(message)),
            read if status.success() => read,
            Ok(_) | Err(_) => {
                let message = self.shown_message(stderr_text);
                let message = if message.is_empty() {
                    status.to_string()
                } else {
                    message
                };
                Err(SourceError::Git { action, message })
            }
        }
    }

    /// Returns the end of git's error output, without credentials.
    fn shown_message(&self, stderr_text: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(stderr_text).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        let lines: Vec<&str> = text
            .split(['\n', '\r'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let text = lines.join("; ");
        let mut start = text.len().saturating_sub(SHOWN_STDERR);
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
        for name in NETWORK_VARIABLES {
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
        for setting in OVERRIDES {
            command.args(["-c", setting]);
        }
        if let Some(repository) = repository {
            // Given explicitly: git must not search the folders above, which may be repositories.
            command.env("GIT_DIR", repository).current_dir(repository);
        } else {
            // The worker's folder may be inside a repository, whose settings must not apply.
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

fn stdout(child: &mut Child) -> Result<File, SourceError> {
    child
        .stdout
        .take()
        .ok_or_else(|| std::io::Error::other("git has no standard output"))
        .and_then(tokio::process::ChildStdout::into_owned_fd)
        .map(File::from)
        .map_err(|source| SourceError::io("reading the output of git", source))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Reads to the end and returns the last [`KEPT_STDERR`] bytes.
async fn tail(mut stderr: tokio::process::ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stderr.read(&mut part).await {
            Ok(0) | Err(_) => return kept,
            Ok(length) => {
                kept.extend_from_slice(&part[..length]);
                if kept.len() > 2 * KEPT_STDERR {
                    kept.drain(..kept.len() - KEPT_STDERR);
                }
            }
        }
    }
}

/// Creates the empty HOME and the settings file.
async fn prepare_folder(folder: &Path) -> Result<(), SourceError> {
    let failed = |source| SourceError::io("creating the folder of git's settings", source);
    tokio::fs::create_dir_all(folder.join("home"))
        .await
        .map_err(failed)?;
    let config = folder.join("config");
    if tokio::fs::read(&config)
        .await
        .is_ok_and(|text| text == GLOBAL_CONFIG.as_bytes())
    {
        return Ok(());
    }
    // Replaced by a rename, because another process may be reading it.
    let fresh = folder.join(format!("config.{}", uuid::Uuid::new_v4().simple()));
    tokio::fs::write(&fresh, GLOBAL_CONFIG)
        .await
        .map_err(failed)?;
    tokio::fs::rename(&fresh, &config).await.map_err(failed)
}
