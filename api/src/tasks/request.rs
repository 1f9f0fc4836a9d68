//! A request for a new task: its source, agents and options, and their validation.

use std::path::Path;

use domain::PullRequestSource;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use crate::agents::registry::AgentRegistry;
use crate::caller::Caller;
use crate::http::error::{ApiError, Problem};
use crate::http::validation::FieldReader;
use crate::settings::ApiSettings;
use crate::tasks::create::{NewTask, TaskOrigin};
use crate::tasks::options::{OPTIONS, OptionsReader};

/// The forge in the error message, unless other forges are configured.
const GITHUB: &str = "https://github.com";
/// Agents of a request that names none.
const DEFAULT_AGENTS: [&str; 3] = ["iflow", "claude", "gemini"];
const MAX_URL_LENGTH: usize = 2083;
const MAX_REVISION_LENGTH: usize = 250;

/// Source of the commits, as requested.
enum RequestedSource {
    PullRequest {
        text: String,
        url: Url,
    },
    Local {
        path: String,
        base: String,
        head: String,
    },
}

/// Reads the fields of a request for a new task.
///
/// # Errors
/// Returns all invalid fields at once (422). A valid request may still be refused (400).
pub(crate) fn new_task(
    mut fields: FieldReader,
    settings: &ApiSettings,
    registry: &AgentRegistry,
    caller: &Caller,
) -> Result<NewTask, ApiError> {
    let source = read_source(&mut fields);
    let mut options = OptionsReader::default();
    let trials = options.read(&mut fields, "trials");
    let trials = trials.and_then(|trials| trials.as_u64()).unwrap_or(1);
    let agents = read_agents(&mut fields, registry, trials, settings.limits.runs_per_task);
    options.read_rest(&mut fields);
    fields.finish()?;
    let Some(source) = source else {
        // Without a source a problem was reported, and `finish` has returned it.
        return Err(no_pull_request(settings));
    };
    let origin = resolve_source(source, settings)?;
    if agents.is_empty() {
        return Err(ApiError::Refused(
            "One or more requested agents are not available".to_owned(),
        ));
    }
    Ok(NewTask {
        by: caller.actor(),
        name: None,
        origin,
        agents,
        options: options.finish(settings.default_max_files)?,
    })
}

/// Returns the fingerprint of a request: a hash of the fields that it gives.
///
/// A field with its default value counts as not given. A field whose default is a setting counts as
/// given with any value.
pub(crate) fn request_hash(fields: &FieldReader) -> String {
    let source = ["pr_url", "repo", "base", "head"].map(|name| (name, None));
    let agents = ("agents", Some(json!(DEFAULT_AGENTS)));
    let options = OPTIONS
        .iter()
        .map(|option| (option.name, option.default_value()));
    let mut hash = Sha256::new();
    for (name, default) in source.into_iter().chain([agents]).chain(options) {
        if let Some(given) = fields.raw(name)
            && Some(&given) != default.as_ref()
        {
            // JSON contains no raw line ends, so different requests have different texts.
            hash.update(format!("{name}:{given}\n"));
        }
    }
    hex::encode(hash.finalize())
}

fn read_agents(
    fields: &mut FieldReader,
    registry: &AgentRegistry,
    trials: u64,
    most_runs: usize,
) -> Vec<String> {
    let agents = fields
        .texts("agents")
        .unwrap_or_else(|| DEFAULT_AGENTS.map(str::to_owned).to_vec());
    let runs = agents
        .len()
        .saturating_mul(usize::try_from(trials).unwrap_or(usize::MAX));
    if runs > most_runs {
        let loc = fields.loc("agents");
        let msg = format!("A task should have at most {most_runs} runs, not {runs}");
        fields.add_problem(Problem {
            ctx: Some(json!({ "max_runs": most_runs, "runs": runs })),
            ..Problem::new("too_long", loc, msg, json!(agents.len()))
        });
        // Too many agents are not validated one by one.
        return agents;
    }
    let names = registry.names();
    for (position, agent) in agents.iter().enumerate() {
        if !registry.accepts(agent) {
            let mut loc = fields.loc("agents");
            loc.push(json!(position));
            fields.add_problem(Problem::not_one_of(loc, &names, json!(agent)));
        }
    }
    agents
}

fn read_source(fields: &mut FieldReader) -> Option<RequestedSource> {
    if fields.raw("repo").is_none() {
        return read_pull_request(fields);
    }
    if fields.raw("pr_url").is_some() {
        let loc = fields.loc("repo");
        let msg = "Give either pr_url or repo with base and head, not both";
        let input = fields.raw("repo").unwrap_or_default();
        fields.add_problem(Problem::new("value_error", loc, msg, input));
        return None;
    }
    let path = fields.text("repo");
    let base = read_revision(fields, "base");
    let head = read_revision(fields, "head");
    Some(RequestedSource::Local {
        path: path?,
        base: base?,
        head: head?,
    })
}

fn read_pull_request(fields: &mut FieldReader) -> Option<RequestedSource> {
    if fields.raw("pr_url").is_none() {
        fields.missing("pr_url");
        return None;
    }
    let text = fields.text("pr_url")?;
    let refused = if text.len() > MAX_URL_LENGTH {
        (
            "url_too_long",
            format!("URL should have at most {MAX_URL_LENGTH} characters"),
            json!({ "max_length": MAX_URL_LENGTH }),
        )
    } else {
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                return Some(RequestedSource::PullRequest { text, url });
            }
            Ok(_) => (
                "url_scheme",
                "URL scheme should be 'http' or 'https'".to_owned(),
                json!({ "expected_schemes": "'http' or 'https'" }),
            ),
            Err(error) => (
                "url_parsing",
                format!("Input should be a valid URL, {error}"),
                json!({ "error": error.to_string() }),
            ),
        }
    };
    let (kind, msg, ctx) = refused;
    let loc = fields.loc("pr_url");
    fields.add_problem(Problem {
        ctx: Some(ctx),
        ..Problem::new(kind, loc, msg, json!(text))
    });
    None
}

/// Reads the name of a commit. git must not be able to mistake it for an option.
fn read_revision(fields: &mut FieldReader, name: &str) -> Option<String> {
    if fields.raw(name).is_none() {
        fields.missing(name);
        return None;
    }
    let text = fields.text(name)?;
    let valid = (1..=MAX_REVISION_LENGTH).contains(&text.len())
        && !text.starts_with('-')
        && !text.contains(|letter: char| letter.is_control() || letter.is_whitespace());
    if valid {
        return Some(text);
    }
    let loc = fields.loc(name);
    let msg = "Input should be the name of a commit, a branch or a tag";
    fields.add_problem(Problem::new("value_error", loc, msg, json!(text)));
    None
}

fn resolve_source(source: RequestedSource, settings: &ApiSettings) -> Result<TaskOrigin, ApiError> {
    match source {
        RequestedSource::PullRequest { text, url } => forge_origin(text, &url, settings),
        RequestedSource::Local { path, base, head } => local_origin(path, base, head, settings),
    }
}

fn no_pull_request(settings: &ApiSettings) -> ApiError {
    let forge = settings.forge_urls.first().map_or(GITHUB, String::as_str);
    ApiError::Refused(format!(
        "Invalid GitHub PR URL format. Expected: {forge}/owner/repo/pull/number"
    ))
}

fn forge_origin(text: String, url: &Url, settings: &ApiSettings) -> Result<TaskOrigin, ApiError> {
    let (owner, name, number) = pull_request_of(url).ok_or_else(|| no_pull_request(settings))?;
    let known = settings
        .forge_urls
        .iter()
        .find(|forge| Url::parse(forge).is_ok_and(|forge| forge.origin() == url.origin()));
    let Some(base_url) = known else {
        // With GitHub alone, the recorded message of the first service explains the problem.
        return Err(if settings.forge_urls == [GITHUB] {
            no_pull_request(settings)
        } else {
            ApiError::Refused(format!(
                "the forge {} is unknown. This service accepts {}; add others to FORGE_URLS",
                url.origin().ascii_serialization(),
                settings.forge_urls.join(", ")
            ))
        });
    };
    Ok(TaskOrigin {
        pr_url: text,
        repo: format!("{owner}/{name}"),
        pr_number: Some(number.into()),
        source: PullRequestSource::Forge {
            base_url: base_url.clone(),
            owner,
            name,
            number: number.unsigned_abs().into(),
        },
    })
}

/// Returns owner, repository and number of the URL of a pull request.
fn pull_request_of(url: &Url) -> Option<(String, String, i32)> {
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let mut parts = url.path_segments()?;
    let owner = parts.next().filter(|name| is_name(name))?.to_owned();
    let name = parts.next().filter(|name| is_name(name))?.to_owned();
    parts.next().filter(|word| *word == "pull")?;
    let number = parts.next()?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // No forge has larger numbers; a number beyond 32 bits is a typing error.
    let number: i32 = number.parse().ok().filter(|number| *number > 0)?;
    Some((owner, name, number))
}

/// Returns whether a forge allows the text as name of an owner or a repository.
fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn local_origin(
    path: String,
    base: String,
    head: String,
    settings: &ApiSettings,
) -> Result<TaskOrigin, ApiError> {
    let folder = Path::new(&path);
    if !settings.allows_local(folder) {
        return Err(ApiError::Refused(format!(
            "the local repository {path:?} is not allowed. Set LOCAL_REPOSITORIES of the service to a \
             folder that contains it, and give its absolute path"
        )));
    }
    let refused = || ApiError::Refused(format!("{path:?} is not the path of a repository"));
    let name = folder.file_name().and_then(|name| name.to_str());
    let repo = name.ok_or_else(refused)?.to_owned();
    let pr_url = Url::from_file_path(folder).map_err(|()| refused())?.into();
    Ok(TaskOrigin {
        pr_url,
        repo,
        pr_number: None,
        source: PullRequestSource::Local { path, base, head },
    })
}

#[cfg(test)]
mod tests {
    use platform::settings::Reader;

    use super::*;

    fn read(text: &str) -> Option<TaskOrigin> {
        let source = [("FORGE_URLS", "https://github.com,http://127.0.0.1:3000")];
        let settings = ApiSettings::read(&mut Reader::new(&source));
        forge_origin(text.to_owned(), &Url::parse(text).unwrap(), &settings).ok()
    }

    #[test]
    fn a_pull_request_url_may_have_a_suffix() {
        for text in [
            "https://github.com/acme/widgets/pull/7",
            "https://github.com/acme/widgets/pull/7/",
            "https://github.com/acme/widgets/pull/7/files?w=1#diff",
            "https://github.com:443/acme/widgets/pull/7",
        ] {
            let origin = read(text).unwrap();
            assert_eq!(
                (origin.repo.as_str(), origin.pr_number),
                ("acme/widgets", Some(7))
            );
            assert_eq!(origin.pr_url, text);
        }
        assert!(read("http://127.0.0.1:3000/a/b/pull/1").is_some());
    }

    #[test]
    fn only_pull_requests_of_known_forges_are_accepted() {
        for text in [
            "http://github.com/a/b/pull/1",
            "https://github.com.evil.example/a/b/pull/1",
            "https://user@github.com/a/b/pull/1",
            "https://github.com:8443/a/b/pull/1",
            "http://127.0.0.1:3001/a/b/pull/1",
            "https://github.com/a/b/pulls/1",
            "https://github.com/a/b/pull/0",
            "https://github.com/a/b/pull/-1",
            "https://github.com/a/b/pull/+1",
            "https://github.com/a/b/pull/99999999999",
            "https://github.com/a/b/pull/",
            "https://github.com/a/pull/1",
            "https://github.com/%2e%2e/b/pull/1",
            "https://github.com/a/b%2Fc/pull/1",
            "https://github.com/-a/b/pull/1",
            "https://github.com",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
