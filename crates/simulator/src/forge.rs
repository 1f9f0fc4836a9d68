//! A forge on the loopback interface: repositories that plain git can fetch, and as much of a
//! forge's API as says what a pull request is.
//!
//! Repositories are served as static files, git's "dumb" protocol: no process runs per request,
//! and a client that asks for more than refs and objects would be noticed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
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
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::repository::{Commit, Files, add_commits, build_history, git};

/// A running forge. Ends with the value.
#[derive(Debug)]
pub struct Forge {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

/// What requests see.
#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// The API's answers, by path below `/api/v3`.
    pull_requests: Mutex<BTreeMap<String, serde_json::Value>>,
    /// The `Authorization` headers that were sent, in order.
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

    /// Starts on this port of 127.0.0.1; 0 for any free one.
    pub async fn start_on(port: u16) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for a forge")?;
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .with_context(|| format!("listening on port {port}"))?;
        let address = listener.local_addr().context("asking for the port")?;
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
        let server = tokio::spawn(async move {
            // It fails only where the listener does, and then every client notices.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            server,
            _folder: folder,
        })
    }

    /// The address that `FORGE_URLS` is to name.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that `FORGE_API_URL` is to name.
    pub fn api_url(&self) -> String {
        format!("{}/api/v3", self.base_url())
    }

    /// The bare repository behind `owner/name`, which need not exist.
    pub fn repository(&self, owner: &str, name: &str) -> PathBuf {
        self.shared.root.join(owner).join(format!("{name}.git"))
    }

    /// Puts `base` on branch `main` of a repository, made where there is none, and opens a pull
    /// request with `head` on top of it. Gives the ids of both commits.
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
            Commit::of_files("refs/heads/main", onto, "Base", base),
            Commit::of_files(&reference, &[":1"], "Change", head),
        ];
        let ids = if exists {
            add_commits(&repository, &commits).await?
        } else {
            make_bare(&repository, &commits).await?
        };
        let ids: [String; 2] = ids
            .try_into()
            .map_err(|ids| anyhow::anyhow!("two commits were made, git named {ids:?}"))?;
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

    /// Sets what the API says of a pull request.
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

    /// From now on the API answers 500, or works again.
    pub fn set_api_down(&self, down: bool) {
        self.shared.api_down.store(down, Ordering::SeqCst);
    }

    /// From now on every request for a repository is sent elsewhere, or served again.
    pub fn set_redirecting(&self, redirecting: bool) {
        self.shared.redirecting.store(redirecting, Ordering::SeqCst);
    }

    /// How many requests the API had.
    pub fn api_requests(&self) -> usize {
        self.shared.api_requests.load(Ordering::SeqCst)
    }

    /// How many requests there were for parts of repositories.
    pub fn repository_requests(&self) -> usize {
        self.shared.repository_requests.load(Ordering::SeqCst)
    }

    /// The `Authorization` headers that clients sent, in order.
    pub fn authorizations(&self) -> Vec<String> {
        self.shared
            .authorizations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn make_bare(repository: &Path, commits: &[Commit]) -> anyhow::Result<Vec<String>> {
    let ids = build_history(repository, commits).await?;
    git(repository, ["config", "core.bare", "true"]).await?;
    // A bare repository's parts stand directly in its folder.
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
    let known = shared
        .pull_requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(path)
        .map(ToString::to_string);
    match known {
        Some(text) => response(StatusCode::OK, Body::from(text)),
        None => not_found(),
    }
}

async fn answer_file(shared: &Shared, uri: &Uri) -> Response<Body> {
    shared.repository_requests.fetch_add(1, Ordering::SeqCst);
    if shared.redirecting.load(Ordering::SeqCst) {
        let mut moved = response(StatusCode::FOUND, Body::empty());
        let query = uri
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        if let Ok(place) = format!("/moved{}{query}", uri.path()).parse() {
            moved.headers_mut().insert(header::LOCATION, place);
        }
        return moved;
    }
    // A client that follows a redirect would be served: that it must not is the client's task.
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

/// `/owner/name.git/…` or `/owner/name/…` as a file of the bare repository.
fn file_below(root: &Path, path: &str) -> Option<PathBuf> {
    let mut parts = path.trim_start_matches('/').split('/');
    let owner = parts.next()?;
    let name = parts.next()?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    let mut file = root.join(plain(owner)?);
    file.push(format!("{}.git", plain(name)?));
    for part in parts {
        file.push(plain(part)?);
    }
    Some(file)
}

/// A part of a path that leads nowhere else.
fn plain(part: &str) -> Option<&str> {
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
