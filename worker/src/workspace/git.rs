//! Runs git so that nothing it is given can make it do more than it is asked to.
//!
//! A cleared environment, no configuration but ours, no hooks, no prompts, no filters, only the
//! protocols that the source needs, no redirects; names from input come after `--end-of-options`.
//! It runs in a process group of its own, which is killed when it takes too long, writes too much
//! or is no longer wanted.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use platform::settings::Secret;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _,
};
use tokio_util::sync::CancellationToken;

use super::WorkspaceError;

/// The most that git may write to its standard output where all of it is kept.
const MOST_KEPT: u64 = 256 << 20;
/// How much of its standard error is kept.
const MOST_SAID: u64 = 16 << 10;

/// Settings that every command gets.
const ALWAYS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.quotePath=false",
    "core.bigFileThreshold=16m",
    "http.followRedirects=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "transfer.fsckObjects=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "safe.directory=*",
    "diff.external=",
    "credential.helper=",
    "protocol.version=2",
];

/// What it needs of the worker's environment: programs, proxies, certificates.
const PASSED_ON: &[&str] = &[
    "PATH",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
];

/// One kind of git at one place.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    /// Where it runs: a repository, or a folder for one.
    folder: PathBuf,
    /// Protocols it may speak, separated by colons.
    protocols: &'static str,
    timeout: Duration,
    token: Option<(String, Secret)>,
    cancel: CancellationToken,
}

impl Git {
    /// A git that works in `folder` and speaks to nobody.
    pub(crate) fn at(folder: &Path, timeout: Duration, cancel: &CancellationToken) -> Self {
        Self {
            folder: folder.to_owned(),
            protocols: "none",
            timeout,
            token: None,
            cancel: cancel.clone(),
        }
    }

    /// Lets it speak these protocols.
    pub(crate) fn speaking(mut self, protocols: &'static str) -> Self {
        self.protocols = protocols;
        self
    }

    /// Gives it a token for one base address.
    pub(crate) fn with_token(mut self, base_url: &str, token: Option<&Secret>) -> Self {
        self.token = token.map(|token| (base_url.to_owned(), token.clone()));
        self
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("git");
        for setting in ALWAYS {
            command.arg("-c").arg(setting);
        }
        command
            .args(args)
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_PROTOCOL_FROM_USER", "0")
            // Never a repository further up, should there be none here.
            .env(
                "GIT_CEILING_DIRECTORIES",
                self.folder.parent().unwrap_or(&self.folder),
            )
            .env("GIT_ALLOW_PROTOCOL", self.protocols)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some((base_url, token)) = &self.token {
            // GitHub takes tokens over git's protocol only so, and others do too.
            let login = BASE64_STANDARD.encode(format!("x-access-token:{}", token.expose()));
            // In the environment: a command line can be read by everybody on the machine.
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", format!("http.{base_url}/.extraHeader"))
                .env(
                    "GIT_CONFIG_VALUE_0",
                    format!("Authorization: Basic {login}"),
                );
        }
        command
    }

    /// Runs it and returns what it wrote.
    pub(crate) async fn run<S: AsRef<OsStr>>(
        &self,
        action: &'static str,
        args: &[S],
    ) -> Result<Vec<u8>, WorkspaceError> {
        self.run_with(action, args, Vec::new(), |mut stdout| async move {
            let mut kept = Vec::new();
            (&mut stdout).take(MOST_KEPT).read_to_end(&mut kept).await?;
            if stdout.read(&mut [0]).await? > 0 {
                return Err(std::io::Error::other(format!(
                    "it wrote more than {MOST_KEPT} bytes"
                )));
            }
            Ok(kept)
        })
        .await
    }

    /// Runs it, gives it `input`, and lets `read` take what it writes as it comes.
    pub(crate) async fn run_with<S, T, F, R>(
        &self,
        action: &'static str,
        args: &[S],
        input: Vec<u8>,
        read: F,
    ) -> Result<T, WorkspaceError>
    where
        S: AsRef<OsStr>,
        F: FnOnce(tokio::process::ChildStdout) -> R,
        R: Future<Output = std::io::Result<T>>,
    {
        let io = |source| WorkspaceError::Io {
            doing: format!("running git {action}"),
            source,
        };
        let mut child = self
            .command(args)
            .spawn()
            .map_err(|source| WorkspaceError::Io {
                doing: "starting git (is it installed?)".to_owned(),
                source,
            })?;
        let mut group = Group(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .map(Pid::from_raw),
        );
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(io(std::io::Error::other("git has no pipes")));
        };
        let feed = async move {
            // git may end without reading all of it, and says why itself.
            let _ = stdin.write_all(&input).await;
            drop(stdin);
        };
        let work = async {
            let (taken, said, ()) = tokio::join!(read(stdout), last_words(stderr), feed);
            let status = child.wait().await;
            (taken, said, status)
        };
        let (taken, said, status) = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(WorkspaceError::Cancelled),
            () = tokio::time::sleep(self.timeout) => {
                return Err(WorkspaceError::TimedOut { action, seconds: self.timeout.as_secs() });
            }
            ended = work => ended,
        };
        group.is_done();
        let status = status.map_err(io)?;
        if !status.success() {
            // Where nobody took its words any more, that is the cause, and git's death the effect.
            if let (Err(source), true) = (&taken, said.trim().is_empty()) {
                return Err(io(std::io::Error::new(source.kind(), source.to_string())));
            }
            return Err(WorkspaceError::Git {
                action,
                message: plain(&said, status),
            });
        }
        taken.map_err(io)
    }
}

/// Kills what is left of a group when it is dropped.
struct Group(Option<Pid>);

impl Group {
    /// Its leader was waited for: the number may soon be somebody else's.
    fn is_done(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error means that nothing is left.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Reads a stream to its end and keeps its beginning, so that its writer never waits.
async fn last_words(mut stream: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let _ = (&mut stream).take(MOST_SAID).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}

/// Reads the line before an object in the answer of `cat-file --batch`: the object's size.
///
/// An object that git cannot give is [`std::io::ErrorKind::InvalidData`]: it was listed, so the
/// repository is damaged.
pub(crate) async fn object_size(stdout: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<u64> {
    let mut header = Vec::new();
    stdout.take(256).read_until(b'\n', &mut header).await?;
    let header = String::from_utf8_lossy(&header).into_owned();
    header
        .trim_end()
        .rsplit(' ')
        .next()
        .and_then(|size| size.parse().ok())
        .ok_or_else(|| {
            let why = format!("git cannot give an object: {}", header.trim_end());
            std::io::Error::new(std::io::ErrorKind::InvalidData, why)
        })
}

/// What git said, in one line and without credentials in addresses.
fn plain(said: &str, status: std::process::ExitStatus) -> String {
    let words: Vec<String> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            line.split(' ')
                .map(without_user)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let mut text = words.join("; ");
    if text.is_empty() {
        text = status.to_string();
    }
    let end = text
        .char_indices()
        .nth(600)
        .map_or(text.len(), |(end, _)| end);
    text.truncate(end);
    text
}

fn without_user(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let host = rest.find('/').unwrap_or(rest.len());
    match rest[..host].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => word.to_owned(),
    }
}
