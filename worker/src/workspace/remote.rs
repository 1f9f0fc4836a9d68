//! What a forge's git says, and what its complaints mean.

use super::WorkspaceError;
use super::git::Git;
use super::origin::Origin;

/// The branch that a clone of the origin would check out, as a full ref; `HEAD` where it is none.
pub(crate) async fn default_branch(git: &Git, origin: &Origin) -> Result<String, WorkspaceError> {
    let git = git.clone().reaching(origin);
    let arguments = ["ls-remote", "--symref", "--", origin.address()?, "HEAD"];
    let answer = git
        .line("ls-remote", None, &arguments)
        .await
        .map_err(understood)?;
    let branch = answer
        .lines()
        .find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
    Ok(branch.unwrap_or("HEAD").to_owned())
}

/// Tells errors that will not go away from those that may.
pub(super) fn understood(error: WorkspaceError) -> WorkspaceError {
    let WorkspaceError::Git { message, .. } = &error else {
        return error;
    };
    let for_good = [
        ("couldn't find remote ref", "the repository has no such ref"),
        ("not our ref", "the repository no longer has the commit"),
        (
            "returned error: 301",
            "the forge sends elsewhere; give the repository's own address",
        ),
        (
            "returned error: 302",
            "the forge sends elsewhere; give the repository's own address",
        ),
        (
            "returned error: 307",
            "the forge sends elsewhere; give the repository's own address",
        ),
        (
            "returned error: 308",
            "the forge sends elsewhere; give the repository's own address",
        ),
        (
            "returned error: 404",
            "there is no such repository, or it needs a token",
        ),
        (
            "not found",
            "there is no such repository, or it needs a token",
        ),
        (
            "could not read Username",
            "there is no such repository, or it needs a token",
        ),
        (
            "Authentication failed",
            "the forge does not accept the token",
        ),
        (
            "returned error: 403",
            "the forge does not let us read the repository",
        ),
    ];
    match for_good.iter().find(|(sign, _)| message.contains(sign)) {
        Some((_, meaning)) => WorkspaceError::Refused(format!("{meaning} (git: {message})")),
        None => error,
    }
}
