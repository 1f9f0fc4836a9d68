//! A forge on the loopback interface: repositories that git can fetch, and the part of a forge's
//! API that describes pull requests.
//!
//! Repositories are served as static files with git's "dumb" protocol. No process runs per request,
//! and requests for anything but refs and objects fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri, header};
use serde_json::json;
use tempfile::TempDir;

use crate::loopback_server::LoopbackServer;
use crate::repository::{Commit, Files, add_commits, build_history, git};

/// A running forge. It stops when the value is dropped.
#[derive(Debug)]
pub struct Forge {
    shared: Arc<Shared>,
    server: LoopbackServer,
    _folder: TempDir,
}

/// State of the request handlers.
#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Answers of the API, by path below `/api/v3`.
    pull_requests: Mutex<BTreeMap<String, serde_json::Value>>,
    /// `Authorization` headers of all requests, in order.
    authorizations: Mutex<Vec<String>>,
    api_down: AtomicBool,
    redirecting: AtomicBool,
    api_requests: AtomicUsize,
    repository_requests: AtomicUsize,
}

impl Forge {
    /// Starts on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_on(0).await
    }

    /// Starts on this port of 127.0.0.1. Port 0 chooses a free one.
    pub async fn start_on(port: u16) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("creating a folder for the forge")?;
        let shared = Arc::new(Shared {
            root: folder.path().to_owned(),
            pull_requests: Mutex::default(),
            authorizations: Mutex::default(),
            api_down: AtomicBool::new(false),
            redirecting: AtomicBool::new(false),
            api_requests: AtomicUsize::new(0),
            repository_requests: AtomicUsize::new(0),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = LoopbackServer::start(port, router)
            .await
            .with_context(|| format!("listening on port {port}"))?;
        Ok(Self {
            shared,
            server,
            _folder: folder,
        })
    }

    /// Returns the address for `FORGE_URLS`.
    pub fn base_url(&self) -> String {
        self.server.url()
    }

    /// Returns the address for `FORGE_API_URL`.
    pub fn api_url(&self) -> String {
        format!("{}/api/v3", self.base_url())
    }

    /// Returns the path of the bare repository `owner/name`, which may not exist.
    pub fn repository(&self, owner: &str, name: &str) -> PathBuf {
        self.shared.root.join(owner).join(format!("{name}.git"))
    }

    /// Commits `base` to branch `main` of a repository, and opens a pull request with `head` on top
    /// of it. Creates the repository if needed. Returns the ids of both commits.
    pub async fn add_pull_request(
        &self,
        owner: &str,
        name: &str,
        number: u64,
        base: &Files,
        head: &Files,
    ) -> anyhow::Result<(String, String)> {
        let repository = self.repository(owner, name);
        let reference = format!("refs/pull/{number}/head");
        let exists = tokio::fs::try_exists(&repository).await.unwrap_or(false);
        let onto: &[&str] = if exists { &["refs/heads/main^0"] } else { &[] };
        let commits = [
            Commit::from_files("refs/heads/main", onto, "Base", base),
            Commit::from_files(&reference, &[":1"], "Change", head),
        ];
        let ids = if exists {
            add_commits(&repository, &commits).await?
        } else {
            create_bare(&repository, &commits).await?
        };
        let ids: [String; 2] = ids.try_into().map_err(|ids: Vec<String>| {
            anyhow::anyhow!("git returned {} ids for two commits", ids.len())
        })?;
        let [base, head] = ids;
        self.publish(owner, name).await?;
        self.describe(owner, name, number, "main", &base, &head);
        Ok((base, head))
    }

    /// Makes changes to the bare repository visible to clients.
    pub async fn publish(&self, owner: &str, name: &str) -> anyhow::Result<()> {
        git(&self.repository(owner, name), ["update-server-info"]).await?;
        Ok(())
    }

    /// Sets the answer of the API for a pull request.
    pub fn describe(
        &self,
        owner: &str,
        name: &str,
        number: u64,
        branch: &str,
        base: &str,
        head: &str,
    ) {
        let answer = json!({
            "number": number,
            "title": format!("Change {number}"),
            "state": "open",
            "base": {"ref": branch, "sha": base},
            "head": {"ref": "change", "sha": head},
        });
        self.shared
            .pull_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(format!("/repos/{owner}/{name}/pulls/{number}"), answer);
    }

    /// Makes the API answer 500, or work again.
    pub fn set_api_down(&self, down: bool) {
        self.shared.api_down.store(down, Ordering::SeqCst);
    }

    /// Redirects all requests for repositories, or serves them again.
    pub fn set_redirecting(&self, redirecting: bool) {
        self.shared.redirecting.store(redirecting, Ordering::SeqCst);
    }

    /// Returns the number of requests to the API.
    pub fn api_requests(&self) -> usize {
        self.shared.api_requests.load(Ordering::SeqCst)
    }

    /// Returns the number of requests for parts of repositories.
    pub fn repository_requests(&self) -> usize {
        self.shared.repository_requests.load(Ordering::SeqCst)
    }

    /// Returns the `Authorization` headers of all requests, in order.
    pub fn authorizations(&self) -> Vec<String> {
        self.shared
            .authorizations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn create_bare(repository: &Path, commits: &[Commit]) -> anyhow::Result<Vec<String>> {
    let ids = build_history(repository, commits).await?;
    git(repository, ["config", "core.bare", "true"]).await?;
    // The parts of a bare repository are directly in its folder.
    let inner = repository.join(".git");
    let mut parts = tokio::fs::read_dir(&inner).await.context("reading .git")?;
    while let Some(part) = parts.next_entry().await.context("reading .git")? {
        tokio::fs::rename(part.path(), repository.join(part.file_name()))
            .await
            .context("making a repository bare")?;
    }
    tokio::fs::remove_dir(&inner)
        .await
        .context("removing .git")?;
    Ok(ids)
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        shared
            .authorizations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    match uri.path().strip_prefix("/api/v3") {
        Some(path) => answer_api(&shared, path),
        None => answer_file(&shared, &uri).await,
    }
}

fn answer_api(shared: &Shared, path: &str) -> Response<Body> {
    shared.api_requests.fetch_add(1, Ordering::SeqCst);
    if shared.api_down.load(Ordering::SeqCst) {
        return response(StatusCode::INTERNAL_SERVER_ERROR, Body::from("down"));
    }
    let answer = shared
        .pull_requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(path)
        .map(ToString::to_string);
    match answer {
        Some(text) => response(StatusCode::OK, Body::from(text)),
        None => not_found(),
    }
}

async fn answer_file(shared: &Shared, uri: &Uri) -> Response<Body> {
    shared.repository_requests.fetch_add(1, Ordering::SeqCst);
    if shared.redirecting.load(Ordering::SeqCst) {
        let mut redirect = response(StatusCode::FOUND, Body::empty());
        let query = uri
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        if let Ok(location) = format!("/moved{}{query}", uri.path()).parse() {
            redirect.headers_mut().insert(header::LOCATION, location);
        }
        return redirect;
    }
    // A client that follows a redirect is served. Clients themselves must refuse redirects.
    let path = uri.path();
    let path = path.strip_prefix("/moved").unwrap_or(path);
    let Some(path) = file_below(&shared.root, path) else {
        return not_found();
    };
    match tokio::fs::read(&path).await {
        Ok(bytes) => response(StatusCode::OK, Body::from(bytes)),
        Err(_) => not_found(),
    }
}

/// Returns the file of a bare repository for `/owner/name.git/…` or `/owner/name/…`.
fn file_below(root: &Path, path: &str) -> Option<PathBuf> {
    let mut parts = path.trim_start_matches('/').split('/');
    let owner = parts.next()?;
    let name = parts.next()?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    let mut file = root.join(safe_part(owner)?);
    file.push(format!("{}.git", safe_part(name)?));
    for part in parts {
        file.push(safe_part(part)?);
    }
    Some(file)
}

/// Returns a part of a path, unless it leads out of the folder.
fn safe_part(part: &str) -> Option<&str> {
    (!part.is_empty() && !part.starts_with('.') && !part.contains('\\')).then_some(part)
}

fn not_found() -> Response<Body> {
    response(StatusCode::NOT_FOUND, Body::from("not found"))
}

fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
