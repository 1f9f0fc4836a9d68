//! Finds the base and head commits of a change.

use domain::PullRequestSource;

use super::progress::{Progress, short_id};
use crate::error::SourceError;
use crate::forge::{self, ForgePullRequest};
use crate::git::{
    Git, Mirror, Remote, default_branch, fetch, is_commit_id, local_commit, pull_ref, pull_refspec,
    with_commits,
};
use crate::settings::SourceSettings;

/// Base and head commit of a change.
pub(super) struct Commits {
    pub(super) mirror: Mirror,
    pub(super) base: String,
    pub(super) head: String,
    pub(super) title: Option<String>,
}

/// Identification of a pull request on its forge.
struct ForgeNumber<'a> {
    owner: &'a str,
    name: &'a str,
    number: u64,
}

pub(super) async fn find(
    settings: &SourceSettings,
    git: &Git,
    remote: &Remote,
    source: &PullRequestSource,
    progress: Progress<'_>,
) -> Result<Commits, SourceError> {
    match source {
        PullRequestSource::Local { base, head, .. } => {
            progress("resolve", format!("looking up {base} and {head}"));
            let base = local_commit(settings, git, source, base).await?;
            let head = local_commit(settings, git, source, head).await?;
            progress("fetch", "copying missing commits".to_owned());
            let mirror = with_commits(settings, git, remote, &[], &[&base, &head]).await?;
            let base = merge_base(git, &mirror, &base, &head).await?;
            Ok(Commits {
                mirror,
                base,
                head,
                title: None,
            })
        }
        PullRequestSource::Forge {
            owner,
            name,
            number,
            ..
        } => {
            let pull_request = ForgeNumber {
                owner,
                name,
                number: *number,
            };
            on_forge(settings, git, remote, &pull_request, progress).await
        }
    }
}

async fn on_forge(
    settings: &SourceSettings,
    git: &Git,
    remote: &Remote,
    pull_request: &ForgeNumber<'_>,
    progress: Progress<'_>,
) -> Result<Commits, SourceError> {
    let about = query_api(settings, git, remote, pull_request, progress).await?;
    let branch = match &about {
        Some(about) => format!("refs/heads/{}", about.base.branch),
        None => default_branch(git, remote).await?,
    };
    progress(
        "fetch",
        format!("fetching pull request {} and {branch}", pull_request.number),
    );
    let (mirror, tip) = fetch_both(
        settings,
        git,
        remote,
        pull_request,
        about.as_ref(),
        &branch,
        progress,
    )
    .await?;
    let head = git
        .commit_id(&mirror.path, &pull_ref(pull_request.number))
        .await?;
    let mut base = merge_base(git, &mirror, &tip, &head).await?;
    if base == head {
        // The change is already merged: its base is the point where its branch began.
        base = before_merge(git, &mirror, &tip, &head).await?;
    }
    Ok(Commits {
        mirror,
        base,
        head,
        title: about.and_then(|about| about.title),
    })
}

/// Queries the forge's API. Returns `None` if there is no API, or if it has no usable answer.
async fn query_api(
    settings: &SourceSettings,
    git: &Git,
    remote: &Remote,
    pull_request: &ForgeNumber<'_>,
    progress: Progress<'_>,
) -> Result<Option<ForgePullRequest>, SourceError> {
    let (Some(api_url), true) = (&settings.forge.api_url, remote.has_api()) else {
        progress(
            "resolve",
            "no API is configured for this forge; comparing with the default branch".to_owned(),
        );
        return Ok(None);
    };
    progress(
        "resolve",
        format!(
            "querying {api_url} for pull request {}",
            pull_request.number
        ),
    );
    let ForgeNumber {
        owner,
        name,
        number,
    } = *pull_request;
    let token = settings.forge.token.as_ref();
    let answer = tokio::select! {
        () = git.cancel().cancelled() => return Err(SourceError::Cancelled),
        answer = forge::pull_request(api_url, owner, name, number, token) => answer,
    };
    match answer {
        Ok(about) if is_branch(&about.base.branch) && is_commit_id(&about.base.sha) => {
            Ok(Some(about))
        }
        Ok(_) => {
            progress(
                "resolve",
                "the API returned no usable base; comparing with the default branch".to_owned(),
            );
            Ok(None)
        }
        Err(error) => {
            progress(
                "resolve",
                format!("{error}; comparing with the default branch"),
            );
            Ok(None)
        }
    }
}

/// Returns whether a branch's name may be used in a refspec: a valid name for git, without the
/// characters that have a meaning in refspecs.
fn is_branch(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 250
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(|sign: char| sign.is_control() || " ~^:?*[\\".contains(sign))
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
        && !name.ends_with('.')
}

/// Fetches the head and the commit that it is compared with. Returns the id of the latter.
async fn fetch_both(
    settings: &SourceSettings,
    git: &Git,
    remote: &Remote,
    pull_request: &ForgeNumber<'_>,
    about: Option<&ForgePullRequest>,
    branch: &str,
    progress: Progress<'_>,
) -> Result<(Mirror, String), SourceError> {
    let head = pull_refspec(pull_request.number);
    // Not named after the branch: a mirror with a ref `next` cannot have a ref `next/one`.
    let base_ref = format!("refs/origin/base/{}", pull_request.number);
    let both = [head.clone(), format!("+{branch}:{base_ref}")];
    let Some(about) = about else {
        let mirror = fetch(settings, git, remote, &both).await?;
        let tip = git.commit_id(&mirror.path, &base_ref).await?;
        return Ok((mirror, tip));
    };
    let sha = about.base.sha.as_str();
    let (mirror, has_branch) = match fetch(settings, git, remote, &both).await {
        Ok(mirror) => (mirror, true),
        // The branch may have been deleted. Then only the pull request's own ref remains.
        Err(SourceError::Refused(_)) => (fetch(settings, git, remote, &[head]).await?, false),
        Err(error) => return Err(error),
    };
    match with_commits(settings, git, remote, &[], &[sha]).await {
        Ok(_) => Ok((mirror, sha.to_owned())),
        Err(SourceError::Cancelled) => Err(SourceError::Cancelled),
        Err(error) if !has_branch => Err(error),
        Err(error) => {
            progress(
                "fetch",
                format!(
                    "the base {} cannot be fetched ({error}); using {branch}",
                    short_id(sha)
                ),
            );
            let tip = git.commit_id(&mirror.path, &base_ref).await?;
            Ok((mirror, tip))
        }
    }
}

async fn merge_base(
    git: &Git,
    mirror: &Mirror,
    base: &str,
    head: &str,
) -> Result<String, SourceError> {
    let arguments = ["merge-base", base, head];
    match git.line("merge-base", Some(&mirror.path), &arguments).await {
        // git prints no message if there is no common ancestor.
        Err(SourceError::Git { message, .. }) if message.starts_with("exit status") => {
            Err(SourceError::Refused(format!(
                "base {} and head {} have no common history",
                short_id(base),
                short_id(head)
            )))
        }
        result => result,
    }
}

/// Returns the base of a merged change: the common ancestor of the change and the commit that it was
/// merged into.
async fn before_merge(
    git: &Git,
    mirror: &Mirror,
    tip: &str,
    head: &str,
) -> Result<String, SourceError> {
    let range = format!("{head}..{tip}");
    let arguments = [
        "rev-list",
        "--first-parent",
        "--ancestry-path",
        "--parents",
        "--reverse",
        &range,
    ];
    let max_bytes = 64 << 20;
    let listed = git
        .output("rev-list", Some(&mirror.path), &arguments, max_bytes)
        .await?;
    let listed = String::from_utf8_lossy(&listed);
    let mut ids = listed.lines().next().unwrap_or_default().split(' ');
    let into = ids.nth(1);
    match (into, ids.next()) {
        (Some(into), Some(_)) if into != head => merge_base(git, mirror, into, head).await,
        // Not merged by a merge commit: the base can no longer be determined.
        (Some(_) | None, Some(_) | None) => Ok(head.to_owned()),
    }
}
