//! A forge on this machine: repositories over HTTP with pull requests, and the little of an API
//! that is asked about them. For tests, and for trying things out without network.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::repository::{Files, build_repository, git};

/// The longest question of a git that fetches.
const LARGEST_QUESTION: usize = 16 << 20;

/// What is wrong with the forge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// The API answers 500; repositories can be fetched.
    ApiDown,
    /// The API takes the question and never answers; repositories can be fetched.
    ApiSilent,
    /// Every address redirects elsewhere.
    Redirects,
    /// Repositories are promised and never come.
    Silent,
    /// There is nothing.
    Missing,
}

/// A forge that serves until it is dropped.
pub struct Forge {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    folder: tempfile::TempDir,
    fault: Mutex<Fault>,
    /// Titles and base commits, by `owner/name` and number.
    pulls: Mutex<BTreeMap<(String, u64), (String, String)>>,
    /// Paths that were asked for.
    asked: Mutex<Vec<String>>,
}

impl Forge {
    /// A forge without repositories, on any free port of 127.0.0.1.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on(0).await
    }

    /// A forge without repositories, on this port of 127.0.0.1.
    pub async fn start_on(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .context("listening")?;
        let address = listener
            .local_addr()
            .context("asking for the own address")?;
        let shared = Arc::new(Shared {
            folder: tempfile::tempdir().context("making a temporary folder")?,
            fault: Mutex::default(),
            pulls: Mutex::default(),
            asked: Mutex::default(),
        });
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It serves until the task is aborted; there is nobody to tell of an error.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            address,
            shared,
            serving,
        })
    }

    /// What an installation's `FORGE_URLS` is set to.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What an installation's `FORGE_API_URL` is set to.
    pub fn api_url(&self) -> String {
        format!("{}/api/v3", self.base_url())
    }

    /// Breaks or mends it.
    pub fn set_fault(&self, fault: Fault) {
        *self
            .shared
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// The paths that were asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The folder of a bare repository, for what no method does.
    pub fn repository(&self, owner: &str, name: &str) -> PathBuf {
        let root = self.shared.folder.path();
        root.join(owner).join(format!("{name}.git"))
    }

    /// Adds a repository whose branch `main` has the files of `base`, with a pull request that
    /// changes them to `head`. Returns the ids of both commits.
    pub async fn add_pull_request(
        &self,
        owner: &str,
        name: &str,
        number: u64,
        base: &Files,
        head: &Files,
    ) -> anyhow::Result<(String, String)> {
        let work = tempfile::tempdir().context("making a temporary folder")?;
        let (base, head) = build_repository(work.path(), base, head).await?;
        let bare = self.repository(owner, name);
        tokio::fs::create_dir_all(&bare)
            .await
            .context("making a repository")?;
        git(
            &bare,
            &[
                "init",
                "--quiet",
                "--bare",
                "--template=",
                "--initial-branch=main",
            ],
            None,
        )
        .await?;
        let from = work
            .path()
            .to_str()
            .context("a path that is not UTF-8")?
            .to_owned();
        let pull = format!("+{head}:refs/pull/{number}/head");
        let main = format!("+{base}:refs/heads/main");
        git(work.path(), &["branch", "--force", "pull", &head], None).await?;
        git(work.path(), &["branch", "--force", "old", &base], None).await?;
        git(&bare, &["fetch", "--quiet", &from, &pull, &main], None).await?;
        git(&bare, &["repack", "-a", "-d", "--quiet"], None).await?;
        let mut pulls = self
            .shared
            .pulls
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pulls.insert(
            (format!("{owner}/{name}"), number),
            (format!("Change {name}"), base.clone()),
        );
        Ok((base, head))
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    shared
        .asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(path.clone());
    let fault = *shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = path.strip_prefix("/api/v3/repos/");
    match fault {
        Fault::Redirects => {
            let elsewhere = [(header::LOCATION, format!("http://127.0.0.1:1{path}"))];
            return (StatusCode::FOUND, elsewhere).into_response();
        }
        Fault::Missing => return StatusCode::NOT_FOUND.into_response(),
        Fault::ApiDown if asked.is_some() => {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        Fault::ApiSilent if asked.is_some() => std::future::pending().await,
        Fault::Silent if asked.is_none() => std::future::pending().await,
        Fault::None | Fault::ApiDown | Fault::ApiSilent | Fault::Silent => {}
    }
    if let Some(asked) = asked {
        return pull(&shared, asked).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response());
    }
    let Some(file) = file(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match backend(shared.folder.path(), &file, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

/// Lets git itself answer, by its program for web servers.
async fn backend(root: &Path, file: &Path, request: Request) -> anyhow::Result<Response> {
    let (head, body) = request.into_parts();
    let text = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("PATH_INFO", Path::new("/").join(file))
        .env("REQUEST_METHOD", head.method.as_str())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", text("git-protocol"))
        .env("GIT_PROTOCOL", text("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let body = axum::body::to_bytes(body, LARGEST_QUESTION)
        .await
        .context("reading the question")?;
    command.env("CONTENT_LENGTH", body.len().to_string());
    let mut child = command.spawn().context("starting git http-backend")?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // git may end without reading all of it, and says why itself.
            let _ = stdin.write_all(&body).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output.context("running git http-backend")?.stdout;
    let end = output
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .context("git http-backend gave no answer")?;
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line
            .split_once(": ")
            .context("a header of git http-backend")?;
        response = if name.eq_ignore_ascii_case("status") {
            response.status(value.get(..3).unwrap_or(value))
        } else {
            response.header(name, value)
        };
    }
    response
        .body(Body::from(output[end + 4..].to_vec()))
        .context("answering")
}

/// What the API says of `owner/name/pulls/number`.
fn pull(shared: &Shared, asked: &str) -> Option<Response> {
    let (repository, number) = asked.split_once("/pulls/")?;
    let number: u64 = number.parse().ok()?;
    let pulls = shared.pulls.lock().unwrap_or_else(PoisonError::into_inner);
    let (title, base) = pulls.get(&(repository.to_owned(), number))?;
    let body = json!({
        "number": number, "title": title, "base": { "ref": "main", "sha": base },
    });
    Some(axum::Json(body).into_response())
}

/// The file of a repository that a path names, with or without `.git` after the name.
fn file(path: &str) -> Option<PathBuf> {
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let (owner, name, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let name = name.strip_suffix(".git").unwrap_or(name);
    let file = Path::new(owner).join(format!("{name}.git")).join(rest);
    file.components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then_some(file)
}
