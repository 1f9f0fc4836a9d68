//! Queries to a remote, and the meaning of its error messages.

use super::command::Git;
use super::remote::Remote;
use crate::error::SourceError;

/// Returns the default branch of a remote as a full ref, or `HEAD` if it has none.
pub(crate) async fn default_branch(git: &Git, remote: &Remote) -> Result<String, SourceError> {
    let git = git.clone().with_access_to(remote);
    let arguments = ["ls-remote", "--symref", "--", remote.address()?, "HEAD"];
    let answer = git
        .line("ls-remote", None, &arguments)
        .await
        .map_err(permanent)?;
    let branch = answer
        .lines()
        .find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
    Ok(branch.unwrap_or("HEAD").to_owned())
}

/// Turns an error that retrying cannot fix into [`SourceError::Refused`].
pub(super) fn permanent(error: SourceError) -> SourceError {
    let SourceError::Git { message, .. } = &error else {
        return error;
    };
    let messages = [
        ("couldn't find remote ref", "the repository has no such ref"),
        ("not our ref", "the repository no longer has the commit"),
        (
            "returned error: 301",
            "the forge redirects; use the repository's own address",
        ),
        (
            "returned error: 302",
            "the forge redirects; use the repository's own address",
        ),
        (
            "returned error: 307",
            "the forge redirects; use the repository's own address",
        ),
        (
            "returned error: 308",
            "the forge redirects; use the repository's own address",
        ),
        (
            "returned error: 404",
            "the repository does not exist, or it needs a token",
        ),
        (
            "not found",
            "the repository does not exist, or it needs a token",
        ),
        (
            "could not read Username",
            "the repository does not exist, or it needs a token",
        ),
        (
            "Authentication failed",
            "the forge does not accept the token",
        ),
        (
            "returned error: 403",
            "the forge denies access to the repository",
        ),
    ];
    match messages.iter().find(|(sign, _)| message.contains(sign)) {
        Some((_, meaning)) => SourceError::Refused(format!("{meaning} (git: {message})")),
        None => error,
    }
}
