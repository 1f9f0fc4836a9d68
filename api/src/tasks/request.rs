//! What a request for a new task says, and whether it can be done.

use std::path::Path;
use std::sync::LazyLock;

use domain::PullRequestSource;
use domain::vocabulary::{Dimension, Trigger};
use evaluation::question_bank::QuestionBank;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use crate::agents::registry::AgentRegistry;
use crate::caller::Caller;
use crate::http::error::ApiError;
use crate::http::error::Problem;
use crate::http::validation::Fields;
use crate::settings::ApiSettings;
use crate::tasks::create::NewTask;

/// What is asked where nothing else is said.
const GITHUB: &str = "https://github.com";
/// The agents of a request that names none.
const DEFAULT_AGENTS: [&str; 3] = ["iflow", "claude", "gemini"];
/// Breaks per run; each asks all probes twice.
const MOST_BREAKS: i64 = 10;
/// Closed probes of one prompt.
const MOST_PER_PROMPT: i64 = 20;
const MOST_DOLLARS: f64 = 1_000_000.0;
/// There are four words, and a word named twice counts once.
const LONGEST_RUBRIC: usize = 100;
const LONGEST_URL: usize = 2083;
const LONGEST_REVISION: usize = 250;
const CONTEXT_TOKENS: (i64, i64) = (1000, 10_000_000);

static DIMENSIONS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| Dimension::ALL.iter().map(|word| word.as_str()).collect());
static TRIGGERS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| Trigger::ALL.iter().map(|word| word.as_str()).collect());

/// Where the commits are to come from, as asked for.
enum Asked {
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

/// Makes a task out of the fields of a request. What is wrong with single fields is told all at
/// once (422); what they ask for together may still be refused (400).
pub(crate) fn new_task(
    mut fields: Fields,
    settings: &ApiSettings,
    known: &AgentRegistry,
    caller: &Caller,
) -> Result<NewTask, ApiError> {
    let asked = asked_source(&mut fields);
    let trials = fields.integer("trials", 1, 100).unwrap_or(1);
    let agents = asked_agents(&mut fields, known, trials, settings.limits.runs_per_task);
    let rubric = asked_rubric(&mut fields);
    let max_files = fields.integer("max_files", 1, 1000);
    let seed = fields.integer("seed", i64::MIN, i64::MAX).unwrap_or(1);
    let trigger = fields
        .word("trigger", &TRIGGERS)
        .unwrap_or(Trigger::AutoThenManual);
    let pass_mark = fields.number("pass_mark", 0.0, 1.0).unwrap_or(0.5);
    let (fewest, most) = CONTEXT_TOKENS;
    let target_context_tokens = fields.integer("target_context_tokens", fewest, most);
    let seal_before_break = fields.flag("seal_before_break");
    let breaks = fields.integer("breaks", 1, MOST_BREAKS).unwrap_or(1);
    let probes_per_prompt = fields
        .integer("probes_per_prompt", 1, MOST_PER_PROMPT)
        .unwrap_or(1);
    let open_questions = fields.flag("open_questions").unwrap_or(true);
    let max_cost_usd = fields.number("max_cost_usd", 0.0, MOST_DOLLARS);
    let question_bank = asked_bank(&mut fields);
    fields.finish()?;
    let Some(asked) = asked else {
        // Without a source a problem was noted, and `finish` has returned it.
        return Err(no_pull_request(settings));
    };
    let Origin {
        pr_url,
        repo,
        pr_number,
        source,
    } = origin(asked, settings)?;
    if agents.is_empty() {
        return Err(ApiError::Refused(
            "One or more requested agents are not available".to_owned(),
        ));
    }
    Ok(NewTask {
        by: caller.actor(),
        name: None,
        pr_url,
        repo,
        pr_number,
        source,
        agents,
        rubric,
        trials: u32::try_from(trials).expect("from 1 to 100"),
        max_files: max_files.map_or(settings.default_max_files, |files| {
            u32::try_from(files).expect("from 1 to 1000")
        }),
        seed,
        trigger,
        pass_mark,
        target_context_tokens,
        seal_before_break,
        breaks: u32::try_from(breaks).expect("from 1 to 10"),
        probes_per_prompt: u32::try_from(probes_per_prompt).expect("from 1 to 20"),
        open_questions,
        max_cost_usd,
        question_bank,
    })
}

/// What a request asks for, as one number: its fields as they are given. A field that says what would
/// be so without it counts as not given; what is left to a setting stays left to it, whatever the
/// setting is.
pub(crate) fn request_hash(fields: &Fields) -> String {
    let usual = [
        ("pr_url", None),
        ("repo", None),
        ("base", None),
        ("head", None),
        ("agents", Some(json!(DEFAULT_AGENTS))),
        ("rubric", Some(json!(*DIMENSIONS))),
        ("trials", Some(json!(1))),
        ("max_files", None),
        ("seed", Some(json!(1))),
        ("trigger", Some(json!(Trigger::AutoThenManual))),
        ("pass_mark", Some(json!(0.5))),
        ("target_context_tokens", None),
        ("seal_before_break", None),
        ("breaks", Some(json!(1))),
        ("probes_per_prompt", Some(json!(1))),
        ("open_questions", Some(json!(true))),
        ("max_cost_usd", None),
        ("question_bank", None),
    ];
    let mut hash = Sha256::new();
    for (name, usual) in usual {
        if let Some(given) = fields.given(name)
            && Some(&given) != usual.as_ref()
        {
            // JSON has no raw line ends, so that no two requests have the same text.
            hash.update(format!("{name}:{given}\n"));
        }
    }
    hex::encode(hash.finalize())
}

fn asked_agents(
    fields: &mut Fields,
    known: &AgentRegistry,
    trials: i64,
    most_runs: usize,
) -> Vec<String> {
    let agents = fields
        .texts("agents")
        .unwrap_or_else(|| DEFAULT_AGENTS.map(str::to_owned).to_vec());
    let runs = agents
        .len()
        .saturating_mul(usize::try_from(trials).expect("from 1 to 100"));
    if runs > most_runs {
        let loc = fields.loc("agents");
        let msg = format!("A task should have at most {most_runs} runs, not {runs}");
        fields.refuse(Problem {
            ctx: Some(json!({ "max_runs": most_runs, "runs": runs })),
            ..Problem::new("too_long", loc, msg, json!(agents.len()))
        });
        // Too many are not looked at one by one.
        return agents;
    }
    let names = known.names();
    for (position, agent) in agents.iter().enumerate() {
        if !known.accepts(agent) {
            let mut loc = fields.loc("agents");
            loc.push(json!(position));
            fields.refuse(Problem::not_one_of(loc, &names, json!(agent)));
        }
    }
    agents
}

/// A question bank, if it can be read as one. Whether its probes can be proved is known when the
/// commits are.
fn asked_bank(fields: &mut Fields) -> Option<String> {
    let text = fields.lines("question_bank")?;
    match QuestionBank::read(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            let loc = fields.loc("question_bank");
            // The text may be long; its line is told.
            fields.refuse(Problem::new(
                "question_bank",
                loc,
                error.to_string(),
                json!(null),
            ));
            None
        }
    }
}

fn asked_rubric(fields: &mut Fields) -> Vec<Dimension> {
    let Some(words) = fields.texts("rubric") else {
        return Dimension::ALL.to_vec();
    };
    let mut rubric = Vec::new();
    if words.len() > LONGEST_RUBRIC {
        let loc = fields.loc("rubric");
        let msg = format!("List should have at most {LONGEST_RUBRIC} items after validation");
        fields.refuse(Problem {
            ctx: Some(json!({ "max_length": LONGEST_RUBRIC })),
            ..Problem::new("too_long", loc, msg, json!(words.len()))
        });
        return rubric;
    }
    for (position, word) in words.iter().enumerate() {
        match word.parse() {
            Ok(dimension) if rubric.contains(&dimension) => {}
            Ok(dimension) => rubric.push(dimension),
            Err(_) => {
                let mut loc = fields.loc("rubric");
                loc.push(json!(position));
                fields.refuse(Problem::not_one_of(loc, &DIMENSIONS, json!(word)));
            }
        }
    }
    if words.is_empty() {
        let loc = fields.loc("rubric");
        let msg = "List should have at least 1 item after validation, not 0";
        fields.refuse(Problem {
            ctx: Some(json!({ "min_length": 1 })),
            ..Problem::new("too_short", loc, msg, json!([]))
        });
    }
    rubric
}

fn asked_source(fields: &mut Fields) -> Option<Asked> {
    if fields.given("repo").is_none() {
        return asked_pull_request(fields);
    }
    if fields.given("pr_url").is_some() {
        let loc = fields.loc("repo");
        let msg = "Give either pr_url or repo with base and head, not both";
        let input = fields.given("repo").unwrap_or_default();
        fields.refuse(Problem::new("value_error", loc, msg, input));
        return None;
    }
    let path = fields.text("repo");
    let base = asked_revision(fields, "base");
    let head = asked_revision(fields, "head");
    Some(Asked::Local {
        path: path?,
        base: base?,
        head: head?,
    })
}

fn asked_pull_request(fields: &mut Fields) -> Option<Asked> {
    if fields.given("pr_url").is_none() {
        fields.missing("pr_url");
        return None;
    }
    let text = fields.text("pr_url")?;
    let refused = if text.len() > LONGEST_URL {
        (
            "url_too_long",
            format!("URL should have at most {LONGEST_URL} characters"),
            json!({ "max_length": LONGEST_URL }),
        )
    } else {
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                return Some(Asked::PullRequest { text, url });
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
    fields.refuse(Problem {
        ctx: Some(ctx),
        ..Problem::new(kind, loc, msg, json!(text))
    });
    None
}

/// A name of a commit that cannot be mistaken for an option of git.
fn asked_revision(fields: &mut Fields, name: &str) -> Option<String> {
    if fields.given(name).is_none() {
        fields.missing(name);
        return None;
    }
    let text = fields.text(name)?;
    let harmless = (1..=LONGEST_REVISION).contains(&text.len())
        && !text.starts_with('-')
        && !text.contains(|letter: char| letter.is_control() || letter.is_whitespace());
    if harmless {
        return Some(text);
    }
    let loc = fields.loc(name);
    let msg = "Input should be the name of a commit, a branch or a tag";
    fields.refuse(Problem::new("value_error", loc, msg, json!(text)));
    None
}

/// What a task stores of where its commits come from.
struct Origin {
    pr_url: String,
    repo: String,
    pr_number: Option<i64>,
    source: PullRequestSource,
}

fn origin(asked: Asked, settings: &ApiSettings) -> Result<Origin, ApiError> {
    match asked {
        Asked::PullRequest { text, url } => forge_origin(text, &url, settings),
        Asked::Local { path, base, head } => local_origin(path, base, head, settings),
    }
}

fn no_pull_request(settings: &ApiSettings) -> ApiError {
    let forge = settings.forge_urls.first().map_or(GITHUB, String::as_str);
    ApiError::Refused(format!(
        "Invalid GitHub PR URL format. Expected: {forge}/owner/repo/pull/number"
    ))
}

fn forge_origin(text: String, url: &Url, settings: &ApiSettings) -> Result<Origin, ApiError> {
    let (owner, name, number) = pull_request_of(url).ok_or_else(|| no_pull_request(settings))?;
    let known = settings
        .forge_urls
        .iter()
        .find(|forge| Url::parse(forge).is_ok_and(|forge| forge.origin() == url.origin()));
    let Some(base_url) = known else {
        // Of GitHub alone, these words say what is wrong.
        return Err(if settings.forge_urls == [GITHUB] {
            no_pull_request(settings)
        } else {
            ApiError::Refused(format!(
                "{} is none of the forges that this service knows: {} (FORGE_URLS)",
                url.origin().ascii_serialization(),
                settings.forge_urls.join(", ")
            ))
        });
    };
    Ok(Origin {
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

/// Owner, repository and number, where an address is that of a pull request.
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
    // No forge counts further; a number that no signed 32 bits can hold is a typing error.
    let number: i32 = number.parse().ok().filter(|number| *number > 0)?;
    Some((owner, name, number))
}

/// What forges allow in the names of owners and repositories.
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
) -> Result<Origin, ApiError> {
    let folder = Path::new(&path);
    if !settings.allows_local(folder) {
        return Err(ApiError::Refused(format!(
            "The repository {path:?} may not be used: start the service with LOCAL_REPOSITORIES \
             set to a folder that holds it, and give its absolute path"
        )));
    }
    let refused = || ApiError::Refused(format!("{path:?} does not name a repository"));
    let name = folder.file_name().and_then(|name| name.to_str());
    let repo = name.ok_or_else(refused)?.to_owned();
    let pr_url = Url::from_file_path(folder).map_err(|()| refused())?.into();
    Ok(Origin {
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

    fn read(text: &str) -> Option<Origin> {
        let source = [("FORGE_URLS", "https://github.com,http://127.0.0.1:3000")];
        let settings = ApiSettings::read(&mut Reader::new(&source));
        forge_origin(text.to_owned(), &Url::parse(text).unwrap(), &settings).ok()
    }

    #[test]
    fn a_pull_request_is_read_with_and_without_what_follows_it() {
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
    fn what_is_not_exactly_a_pull_request_of_a_known_forge_is_none() {
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
