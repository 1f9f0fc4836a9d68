//! Queries a forge's API for a pull request: its title and its base.

use std::time::Duration;

use reqwest::redirect::Policy;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// Time limit of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Size limit of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// A pull request, as the API describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct ForgePullRequest {
    #[serde(default)]
    pub(crate) title: Option<String>,
    pub(crate) base: Base,
}

/// Target of the merge.
#[derive(Debug, Deserialize)]
pub(crate) struct Base {
    /// Name of the branch, without `refs/heads/`.
    #[serde(rename = "ref")]
    pub(crate) branch: String,
    pub(crate) sha: String,
}

/// Error of the API. It is shown to people, and the work continues without the API.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the forge's API cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the forge's API responded with {0}")]
    Status(reqwest::StatusCode),
    #[error("the response of the forge's API is larger than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
    #[error("the response of the forge's API does not describe a pull request")]
    Unreadable(#[source] serde_json::Error),
}

/// Fetches a pull request from the API. `owner` and `name` must be plain names.
pub(crate) async fn pull_request(
    api_url: &str,
    owner: &str,
    name: &str,
    number: u64,
    token: Option<&SecretString>,
) -> Result<ForgePullRequest, ApiError> {
    // A redirect would send the token to another server.
    let client = http_client_builder()
        .redirect(Policy::none())
        .timeout(REQUEST_TIMEOUT)
        .user_agent(concat!("memory-break/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(ApiError::Unreachable)?;
    let mut request = client
        .get(format!("{api_url}/repos/{owner}/{name}/pulls/{number}"))
        .header("Accept", "application/json");
    if let Some(token) = token {
        request = request.bearer_auth(token.expose_secret());
    }
    let mut response = request.send().await.map_err(ApiError::Unreachable)?;
    if !response.status().is_success() {
        return Err(ApiError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(ApiError::Unreachable)? {
        if body.len() + part.len() > MAX_RESPONSE_BYTES {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    serde_json::from_slice(&body).map_err(ApiError::Unreadable)
}

/// Returns a builder of HTTP clients. reqwest panics if no TLS implementation is installed.
#[expect(
    clippy::disallowed_methods,
    reason = "the TLS implementation is installed here"
)]
fn http_client_builder() -> reqwest::ClientBuilder {
    // An error means that an implementation is installed already.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
