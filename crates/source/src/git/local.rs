//! Repositories on the worker's own disk.

use std::path::{Path, PathBuf};

use domain::PullRequestSource;

use super::argument::is_commit_id;
use super::command::Git;
use super::remote::{Remote, allowed_folder};
use crate::error::SourceError;
use crate::settings::SourceSettings;

/// Returns the remote of a source, if it is allowed.
pub(crate) async fn remote_of(
    settings: &SourceSettings,
    git: &Git,
    source: &PullRequestSource,
) -> Result<Remote, SourceError> {
    if let Some(remote) = Remote::from_source(settings, source)? {
        return Ok(remote);
    }
    let (_, repository) = git_folders(settings, git, source).await?;
    Ok(Remote::Local { repository })
}

/// Returns the commit id of a revision of a local source.
pub(crate) async fn local_commit(
    settings: &SourceSettings,
    git: &Git,
    source: &PullRequestSource,
    revision: &str,
) -> Result<String, SourceError> {
    let no_commit = || SourceError::Refused(format!("the repository has no commit {revision:?}"));
    if revision.is_empty() || revision.len() > 1024 || revision.contains('\0') {
        return Err(no_commit());
    }
    let (folder, _) = git_folders(settings, git, source).await?;
    let id = match git.commit_id(&folder, revision).await {
        Err(SourceError::Git { .. }) => return Err(no_commit()),
        result => result?,
    };
    if is_commit_id(&id) {
        Ok(id)
    } else {
        Err(no_commit())
    }
}

/// Returns the `.git` folder of a local source, and the common folder of its working trees.
async fn git_folders(
    settings: &SourceSettings,
    git: &Git,
    source: &PullRequestSource,
) -> Result<(PathBuf, PathBuf), SourceError> {
    let PullRequestSource::Local { path, .. } = source else {
        return Err(SourceError::Refused(
            "the source is not a local repository".to_owned(),
        ));
    };
    let allowed = &settings.forge;
    let folder = allowed_folder(allowed, Path::new(path)).await?;
    // git would search the folders above too, which may not be allowed.
    let inner = folder.join(".git");
    let inner = match tokio::fs::read_to_string(&inner).await {
        Ok(text) => match text.strip_prefix("gitdir: ") {
            Some(place) => folder.join(place.trim_end()),
            None => inner,
        },
        Err(_) if tokio::fs::try_exists(&inner).await.unwrap_or(false) => inner,
        Err(_) => folder,
    };
    let inner = allowed_folder(allowed, &inner).await?;
    let arguments = ["rev-parse", "--git-common-dir"];
    let common = match git.line("rev-parse", Some(&inner), &arguments).await {
        Err(SourceError::Git { .. }) => {
            return Err(SourceError::Refused(format!(
                "{path} is not a git repository"
            )));
        }
        result => result?,
    };
    let common = allowed_folder(allowed, &inner.join(common)).await?;
    Ok((inner, common))
}
