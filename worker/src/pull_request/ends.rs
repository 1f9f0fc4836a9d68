//! Finds where a change starts and where it ends.

use domain::PullRequestSource;

use super::forge::{self, About};
use super::{Told, short};
use crate::settings::WorkerSettings;
use crate::workspace::{
    Git, Mirror, Origin, WorkspaceError, default_branch, fetch, is_commit_id, local_commit,
    pull_ref, pull_refspec, with_commits,
};

/// The two commits of a change.
pub(super) struct Ends {
    pub(super) mirror: Mirror,
    pub(super) base: String,
    pub(super) head: String,
    pub(super) title: Option<String>,
}

/// A pull request's place on its forge.
struct Place<'a> {
    owner: &'a str,
    name: &'a str,
    number: u64,
}

pub(super) async fn find(
    settings: &WorkerSettings,
    git: &Git,
    origin: &Origin,
    source: &PullRequestSource,
    told: Told<'_>,
) -> Result<Ends, WorkspaceError> {
    match source {
        PullRequestSource::Local { base, head, .. } => {
            told("resolve", format!("looking up {base} and {head}"));
            let base = local_commit(settings, git, source, base).await?;
            let head = local_commit(settings, git, source, head).await?;
            told("fetch", "copying what is missing".to_owned());
            let mirror = with_commits(settings, git, origin, &[], &[&base, &head]).await?;
            let base = merge_base(git, &mirror, &base, &head).await?;
            Ok(Ends {
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
            let place = Place {
                owner,
                name,
                number: *number,
            };
            on_forge(settings, git, origin, &place, told).await
        }
    }
}

async fn on_forge(
    settings: &WorkerSettings,
    git: &Git,
    origin: &Origin,
    place: &Place<'_>,
    told: Told<'_>,
) -> Result<Ends, WorkspaceError> {
    let about = ask(settings, git, origin, place, told).await?;
    let branch = match &about {
        Some(about) => format!("refs/heads/{}", about.base.branch),
        None => default_branch(git, origin).await?,
    };
    told(
        "fetch",
        format!("fetching pull request {} and {branch}", place.number),
    );
    let (mirror, tip) =
        fetch_both(settings, git, origin, place, about.as_ref(), &branch, told).await?;
    let head = id(git, &mirror, &pull_ref(place.number)).await?;
    let mut base = merge_base(git, &mirror, &tip, &head).await?;
    if base == head {
        // The change is merged already: it started where its branch had left the other one.
        base = before_merge(git, &mirror, &tip, &head).await?;
    }
    Ok(Ends {
        mirror,
        base,
        head,
        title: about.and_then(|about| about.title),
    })
}

/// What the API says; none where it cannot or need not be asked.
async fn ask(
    settings: &WorkerSettings,
    git: &Git,
    origin: &Origin,
    place: &Place<'_>,
    told: Told<'_>,
) -> Result<Option<About>, WorkspaceError> {
    let (Some(api_url), true) = (&settings.forge.api_url, origin.has_api()) else {
        told(
            "resolve",
            "the forge has no API here: the change is taken against the default branch".to_owned(),
        );
        return Ok(None);
    };
    told(
        "resolve",
        format!("asking {api_url} about pull request {}", place.number),
    );
    let Place {
        owner,
        name,
        number,
    } = *place;
    let token = settings.forge.token.as_ref();
    let answer = tokio::select! {
        () = git.cancel().cancelled() => return Err(WorkspaceError::Cancelled),
        answer = forge::about(api_url, owner, name, number, token) => answer,
    };
    match answer {
        Ok(about) if is_branch(&about.base.branch) && is_commit_id(&about.base.sha) => {
            Ok(Some(about))
        }
        Ok(_) => {
            told(
                "resolve",
                "the API names no usable base: the change is taken against the default branch"
                    .to_owned(),
            );
            Ok(None)
        }
        Err(error) => {
            told(
                "resolve",
                format!("{error}: the change is taken against the default branch"),
            );
            Ok(None)
        }
    }
}

/// Whether a branch's name may stand in a refspec: what git itself lets be a name, without the
/// signs that mean more there.
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

/// Fetches the head and what it is compared with; gives the latter's id.
async fn fetch_both(
    settings: &WorkerSettings,
    git: &Git,
    origin: &Origin,
    place: &Place<'_>,
    about: Option<&About>,
    branch: &str,
    told: Told<'_>,
) -> Result<(Mirror, String), WorkspaceError> {
    let head = pull_refspec(place.number);
    // Not kept by the branch's name: a mirror that has kept `next` cannot keep `next/one`.
    let kept = format!("refs/origin/base/{}", place.number);
    let both = [head.clone(), format!("+{branch}:{kept}")];
    let Some(about) = about else {
        let mirror = fetch(settings, git, origin, &both).await?;
        let tip = id(git, &mirror, &kept).await?;
        return Ok((mirror, tip));
    };
    let sha = about.base.sha.as_str();
    let (mirror, has_branch) = match fetch(settings, git, origin, &both).await {
        Ok(mirror) => (mirror, true),
        // The branch may be gone since; the pull request is then all there is to have.
        Err(WorkspaceError::Refused(_)) => (fetch(settings, git, origin, &[head]).await?, false),
        Err(error) => return Err(error),
    };
    match with_commits(settings, git, origin, &[], &[sha]).await {
        Ok(_) => Ok((mirror, sha.to_owned())),
        Err(WorkspaceError::Cancelled) => Err(WorkspaceError::Cancelled),
        Err(error) if !has_branch => Err(error),
        Err(error) => {
            told(
                "fetch",
                format!(
                    "the base {} is not to be had ({error}): {branch} is used",
                    short(sha)
                ),
            );
            let tip = id(git, &mirror, &kept).await?;
            Ok((mirror, tip))
        }
    }
}

/// The commit that a ref of the mirror points to.
async fn id(git: &Git, mirror: &Mirror, name: &str) -> Result<String, WorkspaceError> {
    let wanted = format!("{name}^{{commit}}");
    let arguments = ["rev-parse", "--verify", "--end-of-options", &wanted];
    git.line("rev-parse", Some(&mirror.path), &arguments).await
}

async fn merge_base(
    git: &Git,
    mirror: &Mirror,
    base: &str,
    head: &str,
) -> Result<String, WorkspaceError> {
    let arguments = ["merge-base", base, head];
    match git.line("merge-base", Some(&mirror.path), &arguments).await {
        // Without a word of complaint: git found none.
        Err(WorkspaceError::Git { message, .. }) if message.starts_with("exit status") => {
            Err(WorkspaceError::Refused(format!(
                "base {} and head {} have no common history",
                short(base),
                short(head)
            )))
        }
        result => result,
    }
}

/// Where a merged change started from: the common ancestor of it and what it was merged into.
async fn before_merge(
    git: &Git,
    mirror: &Mirror,
    tip: &str,
    head: &str,
) -> Result<String, WorkspaceError> {
    let range = format!("{head}..{tip}");
    let arguments = [
        "rev-list",
        "--first-parent",
        "--ancestry-path",
        "--parents",
        "--reverse",
        &range,
    ];
    let most = 64 << 20;
    let listed = git
        .output("rev-list", Some(&mirror.path), &arguments, most)
        .await?;
    let listed = String::from_utf8_lossy(&listed);
    let mut ids = listed.lines().next().unwrap_or_default().split(' ');
    let into = ids.nth(1);
    match (into, ids.next()) {
        (Some(into), Some(_)) if into != head => merge_base(git, mirror, into, head).await,
        // Not merged by a merge commit: nothing tells any more where it started.
        (Some(_) | None, Some(_) | None) => Ok(head.to_owned()),
    }
}
