//! Remotes: repositories that git may fetch from.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::PullRequestSource;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::argument::path_argument;
use crate::error::SourceError;
use crate::settings::{ForgeSettings, SourceSettings};

/// A repository that git may fetch from.
#[derive(Clone, Debug)]
pub(crate) enum Remote {
    Forge {
        /// URL that git fetches from.
        url: String,
        /// Whether the URL uses HTTPS.
        secure: bool,
        /// Whether this is the first forge, to which the token and the API belong.
        first: bool,
        base_url: String,
        token: Option<SecretString>,
    },
    Local {
        /// git's common folder: `.git`, or the folder itself if the repository is bare.
        repository: PathBuf,
    },
}

impl Remote {
    /// Returns a repository of an allowed forge.
    pub(crate) fn forge(
        settings: &ForgeSettings,
        base_url: &str,
        owner: &str,
        name: &str,
    ) -> Result<Self, SourceError> {
        let refused = |message: String| Err(SourceError::Refused(message));
        let Some(position) = settings.base_urls.iter().position(|url| url == base_url) else {
            return refused(format!(
                "the forge {:?} is not one of FORGE_URLS",
                without_userinfo(base_url)
            ));
        };
        let parsed = url::Url::parse(base_url)
            .ok()
            .filter(|url| url.username().is_empty() && url.password().is_none());
        let secure = match parsed.as_ref().map(url::Url::scheme) {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => {
                return refused("the forge does not have an http or https URL".to_owned());
            }
        };
        for part in [owner, name] {
            if !is_name(part) {
                return refused(format!(
                    "{part:?} is not a valid name of an owner or a repository"
                ));
            }
        }
        let first = position == 0;
        let token = settings.token.as_ref().filter(|_| first);
        Ok(Self::Forge {
            url: format!("{base_url}/{owner}/{name}.git"),
            secure,
            first,
            base_url: base_url.to_owned(),
            token: token.cloned(),
        })
    }

    /// Returns the remote of a source on a forge, or `None` for a local source, which only git can
    /// resolve.
    pub(crate) fn from_source(
        settings: &SourceSettings,
        source: &PullRequestSource,
    ) -> Result<Option<Self>, SourceError> {
        match source {
            PullRequestSource::Forge {
                base_url,
                owner,
                name,
                number,
            } => {
                if *number == 0 {
                    return Err(SourceError::Refused(
                        "pull requests are numbered from 1".to_owned(),
                    ));
                }
                Self::forge(&settings.forge, base_url, owner, name).map(Some)
            }
            PullRequestSource::Local { .. } => Ok(None),
        }
    }

    /// Returns the URL or path that git fetches from.
    pub(crate) fn address(&self) -> Result<&str, SourceError> {
        match self {
            Self::Forge { url, .. } => Ok(url),
            Self::Local { repository } => path_argument(repository),
        }
    }

    /// Returns whether the configured API belongs to this forge.
    pub(crate) fn has_api(&self) -> bool {
        match self {
            Self::Forge { first, .. } => *first,
            Self::Local { .. } => false,
        }
    }

    /// Returns the transport that fetching needs.
    pub(super) fn protocols(&self) -> &'static str {
        match self {
            Self::Forge { secure: true, .. } => "https",
            Self::Forge { secure: false, .. } => "http",
            Self::Local { .. } => "file",
        }
    }

    /// Returns the git setting that sends the token, to this forge only.
    pub(super) fn credential(&self) -> Option<(String, String)> {
        match self {
            Self::Forge {
                base_url,
                token: Some(token),
                ..
            } => Some((
                format!("http.{base_url}/.extraHeader"),
                format!("Authorization: Basic {}", basic(token.expose_secret())),
            )),
            Self::Forge { token: None, .. } | Self::Local { .. } => None,
        }
    }

    /// Returns the texts that must not appear in a message.
    pub(super) fn secrets(&self) -> Vec<String> {
        match self {
            Self::Forge {
                token: Some(token), ..
            } => vec![
                basic(token.expose_secret()),
                token.expose_secret().to_owned(),
            ],
            Self::Forge { token: None, .. } | Self::Local { .. } => Vec::new(),
        }
    }

    /// Returns the name of its mirror.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Forge { url, .. } => hex::encode(Sha256::digest(url.as_bytes())),
            Self::Local { repository } => {
                hex::encode(Sha256::digest(repository.as_os_str().as_bytes()))
            }
        }
    }
}

/// Encodes a token for basic authentication. Forges accept it with any user name; GitHub documents
/// this one.
fn basic(token: &str) -> String {
    STANDARD.encode(format!("x-access-token:{token}"))
}

/// Returns a URL without its user information, which may contain a password.
fn without_userinfo(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://***{}", &address[..scheme], &address[at..])
        }
        _ => address.to_owned(),
    }
}

fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= 100
        && !part.starts_with('-')
        && part != "."
        && part != ".."
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Returns the real path of an existing folder below one of the allowed folders.
pub(crate) async fn allowed_folder(
    settings: &ForgeSettings,
    path: &Path,
) -> Result<PathBuf, SourceError> {
    if settings.local_roots.is_empty() {
        return Err(SourceError::Refused(
            "local repositories are not allowed: LOCAL_REPOSITORIES is empty".to_owned(),
        ));
    }
    // The same message for a missing folder and a forbidden one, so that it does not reveal which
    // folders exist.
    let refused = || {
        SourceError::Refused(format!(
            "{} is not a folder below LOCAL_REPOSITORIES",
            path.display()
        ))
    };
    let real = tokio::fs::canonicalize(path).await.map_err(|_| refused())?;
    for root in &settings.local_roots {
        if let Ok(root) = tokio::fs::canonicalize(root).await
            && real.starts_with(&root)
        {
            return Ok(real);
        }
    }
    Err(refused())
}
