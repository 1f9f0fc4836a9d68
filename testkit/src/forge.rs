//! A forge on this machine: repositories over HTTP with pull requests, and the little of an API
//! that is asked about them. For tests, and for trying things out without network.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;

use crate::repository::{Files, build_repository, git};

/// What is wrong with the forge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// The API answers 500; repositories can be fetched.
    ApiDown,
    /// Every address redirects elsewhere.
    Redirects,
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
    /// Titles, by `owner/name` and number.
    pulls: Mutex<BTreeMap<(String, u64), String>>,
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
        let bare = self
            .shared
            .folder
            .path()
            .join(owner)
            .join(format!("{name}.git"));
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
        git(&bare, &["update-server-info"], None).await?;
        let mut pulls = self
            .shared
            .pulls
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pulls.insert(
            (format!("{owner}/{name}"), number),
            format!("Change {name}"),
        );
        Ok((base, head))
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let path = uri.path().to_owned();
    shared
        .asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(path.clone());
    let fault = *shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
    if fault == Fault::Redirects {
        let elsewhere = [(header::LOCATION, format!("http://127.0.0.1:1{path}"))];
        return (StatusCode::FOUND, elsewhere).into_response();
    }
    if let Some(asked) = path.strip_prefix("/api/v3/repos/") {
        if fault == Fault::ApiDown {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        return pull(&shared, asked).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response());
    }
    match file(shared.folder.path(), &path) {
        Some(file) => match tokio::fs::read(&file).await {
            Ok(bytes) => bytes.into_response(),
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        },
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What the API says of `owner/name/pulls/number`.
fn pull(shared: &Shared, asked: &str) -> Option<Response> {
    let (repository, number) = asked.split_once("/pulls/")?;
    let number: u64 = number.parse().ok()?;
    let pulls = shared.pulls.lock().unwrap_or_else(PoisonError::into_inner);
    let title = pulls.get(&(repository.to_owned(), number))?;
    let body = json!({ "number": number, "title": title, "base": { "ref": "main" } });
    Some(axum::Json(body).into_response())
}

/// The file of a repository that a path names, with or without `.git` after the name.
fn file(root: &Path, path: &str) -> Option<PathBuf> {
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let (owner, name, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let name = name.strip_suffix(".git").unwrap_or(name);
    let file = Path::new(owner).join(format!("{name}.git")).join(rest);
    file.components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then(|| root.join(file))
}
