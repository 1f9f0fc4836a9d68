//! Where a repository is fetched from, after everything about it was checked.

use std::path::Path;

use entity::task::Source;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::WorkspaceError;
use super::git::Git;
use crate::settings::ForgeSettings;

/// A repository that may be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// An address or an absolute path.
    pub(crate) url: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Forge {
        base_url: String,
        protocol: &'static str,
        /// The token is for the first forge of the list, and is shown to no other.
        is_first: bool,
    },
    Local,
}

impl Remote {
    /// Checks a source and tells where it is fetched from.
    ///
    /// # Errors
    ///
    /// A forge, a folder or a name that is not allowed.
    pub(crate) async fn of(
        settings: &ForgeSettings,
        source: &Source,
    ) -> Result<Self, WorkspaceError> {
        match source {
            Source::Forge {
                base_url,
                owner,
                name,
                number,
            } => Self::of_forge(settings, base_url, owner, name, *number),
            Source::Local { path, .. } => Self::of_local(settings, path).await,
        }
    }

    fn of_forge(
        settings: &ForgeSettings,
        base_url: &str,
        owner: &str,
        name: &str,
        number: u64,
    ) -> Result<Self, WorkspaceError> {
        let refused = |why: String| Err(WorkspaceError::Refused(why));
        let Some(place) = settings.base_urls.iter().position(|it| it == base_url) else {
            // It may hold a password, so it is not repeated.
            return refused(
                "the address is not among the forges that may be asked (FORGE_URLS)".to_owned(),
            );
        };
        let protocol = match Url::parse(base_url) {
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                return refused("a forge's address cannot hold a user".to_owned());
            }
            Ok(url) if url.scheme() == "https" => "https",
            Ok(url) if url.scheme() == "http" => "http",
            Ok(_) | Err(_) => return refused(format!("{base_url} is no address of a forge")),
        };
        for part in [owner, name] {
            if !is_name(part) {
                return refused(format!("{part:?} is no name of an owner or a repository"));
            }
        }
        if number == 0 {
            return refused("pull requests are counted from 1".to_owned());
        }
        let name = name.strip_suffix(".git").unwrap_or(name);
        Ok(Self {
            url: format!("{base_url}/{owner}/{name}.git"),
            kind: Kind::Forge {
                base_url: base_url.to_owned(),
                protocol,
                is_first: place == 0,
            },
        })
    }

    async fn of_local(settings: &ForgeSettings, path: &str) -> Result<Self, WorkspaceError> {
        let refused = |why: &str| WorkspaceError::Refused(format!("the repository {path} {why}"));
        let real = tokio::fs::canonicalize(path)
            .await
            .map_err(|_| refused("is not there, or cannot be read"))?;
        let mut allowed = false;
        for root in &settings.local_roots {
            // A root that is not there allows nothing.
            if let Ok(root) = tokio::fs::canonicalize(root).await {
                allowed |= real.starts_with(root);
            }
        }
        if !allowed {
            return Err(refused(
                "is not in a folder that may be used (LOCAL_REPOSITORIES)",
            ));
        }
        let url = real
            .to_str()
            .ok_or_else(|| refused("has a path that is not UTF-8"))?;
        Ok(Self {
            url: url.to_owned(),
            kind: Kind::Local,
        })
    }

    /// A git in `folder` that may speak to this repository.
    pub(crate) fn git(
        &self,
        settings: &ForgeSettings,
        folder: &Path,
        cancel: &CancellationToken,
    ) -> Git {
        let git = Git::at(folder, settings.timeout, cancel);
        match &self.kind {
            Kind::Forge {
                base_url,
                protocol,
                is_first,
            } => git
                .speaking(protocol)
                .with_token(base_url, settings.token.as_ref().filter(|_| *is_first)),
            Kind::Local => git.speaking("file"),
        }
    }

    /// What a fetch from here needs besides the address.
    pub(crate) fn fetch_options(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Forge { .. } => &[],
            // git drops our settings before it starts the other side, which then would refuse a
            // repository of another user of this machine; LOCAL_REPOSITORIES has allowed it.
            Kind::Local => &[
                "--update-shallow",
                "--upload-pack=git -c safe.directory='*' upload-pack",
            ],
        }
    }
}

/// A name that a forge would give, and no path.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | ".." | ".git")
        && name.len() <= 100
        && !name.starts_with('-')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_name_and_nothing_else() {
        for good in ["serde", ".github", "a.b_c-d", "0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".git",
            "-x",
            "--upload-pack=x",
            "a/b",
            "a b",
            "a%2e",
            "ä",
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
