//! Asks a forge's API about a pull request: its title and the branch it is for.

use std::time::Duration;

use entity::task::Source;
use serde::Deserialize;

use crate::settings::ForgeSettings;
use crate::workspace::is_object_id;

/// The whole question.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const LONGEST: usize = 1 << 20;

/// What the API told.
pub(super) struct Described {
    pub(super) title: Option<String>,
    pub(super) branch: String,
    /// The branch's commit when the pull request was last looked at, or merged.
    pub(super) base: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    title: Option<String>,
    base: Base,
}

#[derive(Deserialize)]
struct Base {
    #[serde(rename = "ref")]
    branch: String,
    sha: Option<String>,
}

/// Asks; the error says why there is no answer, for people.
pub(super) async fn describe(
    settings: &ForgeSettings,
    source: &Source,
) -> Result<Described, String> {
    let Source::Forge {
        base_url,
        owner,
        name,
        number,
    } = source
    else {
        return Err("it is a local repository".to_owned());
    };
    // The API belongs to the first forge; asking it about another one would be wrong.
    let api = match &settings.api_url {
        Some(api) if settings.base_urls.first() == Some(base_url) => api,
        Some(_) | None => return Err("no API is known for this forge".to_owned()),
    };
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("membreak/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())?;
    let mut request = client.get(format!("{api}/repos/{owner}/{name}/pulls/{number}"));
    if let Some(token) = &settings.token {
        request = request.bearer_auth(token.expose());
    }
    let mut answer = request.send().await.map_err(plain)?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(plain)? {
        if body.len() + piece.len() > LONGEST {
            return Err("its answer is too long".to_owned());
        }
        body.extend_from_slice(&piece);
    }
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|error| format!("its answer is odd: {error}"))?;
    if !is_branch(&answer.base.branch) {
        return Err("its answer names an odd branch".to_owned());
    }
    Ok(Described {
        title: answer.title,
        branch: answer.base.branch,
        base: answer.base.sha.filter(|sha| is_object_id(sha)),
    })
}

/// Without the address, which would only repeat what is known.
fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else if error.is_connect() {
        "it cannot be reached".to_owned()
    } else {
        error.to_string()
    }
}

/// A branch name that can stand in a refspec and be nothing else.
pub(super) fn is_branch(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 250
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("//")
        && !name.contains("@{")
        && name
            .chars()
            .all(|c| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\+".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_a_branch_and_nothing_else() {
        for good in ["main", "release/1.2", "feature-x", "ünïcode"] {
            assert!(is_branch(good), "{good}");
        }
        for bad in [
            "", "-x", "a..b", "a b", "a:b", "+a", "a*", "/a", "a/", "a@{1}", "a\n",
        ] {
            assert!(!is_branch(bad), "{bad:?}");
        }
    }
}
