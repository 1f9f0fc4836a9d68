//! Settings of everything that reads repositories and forges.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Settings of everything that reads repositories and forges.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Folder for mirrors and for git's own settings.
    pub work_dir: PathBuf,
    /// Allowed origins of pull requests.
    pub forge: ForgeSettings,
}

/// Allowed origins of pull requests.
#[derive(Clone, Debug)]
pub struct ForgeSettings {
    /// `FORGE_URLS`: base URLs of forges, comma-separated. Default: `https://github.com`.
    pub base_urls: Vec<String>,
    /// `FORGE_API_URL`: API of the first forge. Default: `https://api.github.com` for GitHub.
    pub api_url: Option<String>,
    /// `FORGE_TOKEN` or `GITHUB_TOKEN`: token for the first forge.
    pub token: Option<SecretString>,
    /// `LOCAL_REPOSITORIES`: folders below which local repositories are allowed, separated by `:`.
    /// Default: none.
    pub local_roots: Vec<PathBuf>,
    /// `GIT_TIMEOUT_SECONDS`: time limit of one git command. Default: 600.
    pub timeout: Duration,
    /// `GIT_MAX_BYTES`: size limit of a mirror. Default: 4 GiB.
    pub max_bytes: u64,
}

/// Returns whether a text consists of a scheme, a host and optionally a port.
pub fn is_base_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    })
}
