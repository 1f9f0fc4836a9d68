//! Where a repository comes from, once it is known to be allowed.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::PullRequestSource;
use platform::settings::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use super::WorkspaceError;
use crate::settings::{ForgeSettings, WorkerSettings};

/// A repository that may be fetched from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Forge {
        /// What git fetches from.
        url: String,
        secure: bool,
        /// The forge that the token and the API belong to.
        first: bool,
        base_url: String,
        token: Option<SecretString>,
    },
    Local {
        /// What git calls its common folder: `.git`, or the folder itself where it is bare.
        repository: PathBuf,
    },
}

impl Origin {
    /// A repository of a forge that is allowed.
    pub(crate) fn forge(
        settings: &ForgeSettings,
        base_url: &str,
        owner: &str,
        name: &str,
    ) -> Result<Self, WorkspaceError> {
        let refused = |message: String| Err(WorkspaceError::Refused(message));
        let Some(place) = settings.base_urls.iter().position(|url| url == base_url) else {
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
            Some(_) | None => return refused("the forge has no web address".to_owned()),
        };
        for part in [owner, name] {
            if !is_name(part) {
                return refused(format!("{part:?} is no name of an owner or a repository"));
            }
        }
        let first = place == 0;
        let token = settings.token.as_ref().filter(|_| first);
        Ok(Self::Forge {
            url: format!("{base_url}/{owner}/{name}.git"),
            secure,
            first,
            base_url: base_url.to_owned(),
            token: token.cloned(),
        })
    }

    /// The origin of a forge's source; none for a local one, which git must be asked about.
    pub(crate) fn of_forge(
        settings: &WorkerSettings,
        source: &PullRequestSource,
    ) -> Result<Option<Self>, WorkspaceError> {
        match source {
            PullRequestSource::Forge {
                base_url,
                owner,
                name,
                number,
            } => {
                if *number == 0 {
                    return Err(WorkspaceError::Refused(
                        "pull requests are numbered from 1".to_owned(),
                    ));
                }
                Self::forge(&settings.forge, base_url, owner, name).map(Some)
            }
            PullRequestSource::Local { .. } => Ok(None),
        }
    }

    /// What git fetches from.
    pub(crate) fn address(&self) -> Result<&str, WorkspaceError> {
        match self {
            Self::Forge { url, .. } => Ok(url),
            Self::Local { repository } => super::git::argument(repository),
        }
    }

    /// Whether the API of the settings is this forge's.
    pub(crate) fn has_api(&self) -> bool {
        match self {
            Self::Forge { first, .. } => *first,
            Self::Local { .. } => false,
        }
    }

    /// The transports that fetching needs.
    pub(super) fn protocols(&self) -> &'static str {
        match self {
            Self::Forge { secure: true, .. } => "https",
            Self::Forge { secure: false, .. } => "http",
            Self::Local { .. } => "file",
        }
    }

    /// The setting that makes git send the token, to this forge only.
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

    /// What must not show in a message.
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

    /// The name of its mirror.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Forge { url, .. } => hex::encode(Sha256::digest(url.as_bytes())),
            Self::Local { repository } => {
                hex::encode(Sha256::digest(repository.as_os_str().as_bytes()))
            }
        }
    }
}

/// Forges take a token as the password of any user; this name is what GitHub asks for.
fn basic(token: &str) -> String {
    STANDARD.encode(format!("x-access-token:{token}"))
}

/// An address as it may be told: a password in it is the client's secret.
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

/// A folder that is there and lies below one of the allowed ones, with links followed.
pub(crate) async fn allowed_folder(
    settings: &ForgeSettings,
    path: &Path,
) -> Result<PathBuf, WorkspaceError> {
    if settings.local_roots.is_empty() {
        return Err(WorkspaceError::Refused(
            "local repositories are not allowed here: LOCAL_REPOSITORIES is empty".to_owned(),
        ));
    }
    // The same words for a folder that is missing and one that is not allowed: which folders this
    // machine has is nobody's business.
    let refused = || {
        WorkspaceError::Refused(format!(
            "{} is no folder below LOCAL_REPOSITORIES",
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
