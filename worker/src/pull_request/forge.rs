//! Asks a forge's API what a pull request is: its title, and what it is to be merged into.

use std::time::Duration;

use platform::settings::{ExposeSecret, SecretString};
use reqwest::redirect::Policy;
use serde::Deserialize;

/// How long the API may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const MOST: usize = 1 << 20;

/// What the API says of a pull request.
#[derive(Debug, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    pub(super) title: Option<String>,
    pub(super) base: Base,
}

/// What a pull request is to be merged into, or was.
#[derive(Debug, Deserialize)]
pub(super) struct Base {
    /// The branch's name, without `refs/heads/`.
    #[serde(rename = "ref")]
    pub(super) branch: String,
    pub(super) sha: String,
}

/// Why the API gave no answer. People read it; the work goes on without.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("the API cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the API answered {0}")]
    Status(reqwest::StatusCode),
    #[error("the API's answer is larger than {MOST} bytes")]
    TooLarge,
    #[error("the API's answer describes no pull request")]
    Unreadable(#[source] serde_json::Error),
}

/// Asks the API. `owner` and `name` must be plain names.
pub(super) async fn about(
    api_url: &str,
    owner: &str,
    name: &str,
    number: u64,
    token: Option<&SecretString>,
) -> Result<About, ApiError> {
    // A redirect would take the token elsewhere.
    let client = platform::http_client::builder()
        .redirect(Policy::none())
        .timeout(PATIENCE)
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
        if body.len() + part.len() > MOST {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    serde_json::from_slice(&body).map_err(ApiError::Unreadable)
}
