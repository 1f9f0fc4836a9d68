//! Repositories on the worker's own disk.

use std::path::{Path, PathBuf};

use domain::PullRequestSource;

use super::WorkspaceError;
use super::git::Git;
use super::mirror::is_commit_id;
use super::origin::{Origin, allowed_folder};
use crate::settings::WorkerSettings;

/// Where a source's repository is, if it is allowed.
pub(crate) async fn origin(
    settings: &WorkerSettings,
    git: &Git,
    source: &PullRequestSource,
) -> Result<Origin, WorkspaceError> {
    if let Some(origin) = Origin::of_forge(settings, source)? {
        return Ok(origin);
    }
    let (_, repository) = local(settings, git, source).await?;
    Ok(Origin::Local { repository })
}

/// The id of a revision of a local source.
pub(crate) async fn local_commit(
    settings: &WorkerSettings,
    git: &Git,
    source: &PullRequestSource,
    revision: &str,
) -> Result<String, WorkspaceError> {
    let no_commit =
        || WorkspaceError::Refused(format!("the repository has no commit {revision:?}"));
    if revision.is_empty() || revision.len() > 1024 || revision.contains('\0') {
        return Err(no_commit());
    }
    let (folder, _) = local(settings, git, source).await?;
    let wanted = format!("{revision}^{{commit}}");
    let arguments = [
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        &wanted,
    ];
    let id = match git.line("rev-parse", Some(&folder), &arguments).await {
        Err(WorkspaceError::Git { .. }) => return Err(no_commit()),
        result => result?,
    };
    if is_commit_id(&id) {
        Ok(id)
    } else {
        Err(no_commit())
    }
}

/// The `.git` of a local source and the one that it shares with its other working trees.
async fn local(
    settings: &WorkerSettings,
    git: &Git,
    source: &PullRequestSource,
) -> Result<(PathBuf, PathBuf), WorkspaceError> {
    let PullRequestSource::Local { path, .. } = source else {
        return Err(WorkspaceError::Refused(
            "the source is no local repository".to_owned(),
        ));
    };
    let allowed = &settings.forge;
    let folder = allowed_folder(allowed, Path::new(path)).await?;
    // Git would search the folders above too, which may not be allowed.
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
        Err(WorkspaceError::Git { .. }) => {
            return Err(WorkspaceError::Refused(format!(
                "{path} is no git repository"
            )));
        }
        result => result?,
    };
    let common = allowed_folder(allowed, &inner.join(common)).await?;
    Ok((inner, common))
}
