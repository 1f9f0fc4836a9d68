//! One evaluation from the command line, with a private API and worker in this process. The task is
//! created and followed by HTTP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::tasks::options::CommonFlags;
use entity::TaskId;
use futures::StreamExt as _;
use platform::events::Event;
use platform::settings::{Environment, Source};
use reqwest::StatusCode;
use results::document::ResultDocument;
use results::load::result_document;
use serde_json::Value;

use crate::all_in_one::{AllInOne, Settings, settings_error};
use crate::model_stub_session::{StubOptions, StubSession};
use crate::output;
use crate::progress::Progress;
use crate::usage_error::UsageError;

/// Time for a cancelled task to confirm the cancellation.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of all evaluations.
#[derive(Debug, clap::Args)]
pub(crate) struct CommonOptions {
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the result, the report, transcripts and the log to this folder. It must be new or
    /// empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// No progress on standard error.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) task: CommonFlags,
}

/// Outcome of an evaluation.
pub(crate) struct EvaluationOutcome {
    pub(crate) document: ResultDocument,
    pub(crate) cancelled: bool,
    /// Some output could not be written. Standard error names it.
    pub(crate) incomplete: bool,
}

impl EvaluationOutcome {
    /// Returns 0 if something was measured.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.cancelled {
            ExitCode::from(130)
        } else if self.incomplete || self.document.leaderboard.is_empty() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// Settings of an evaluation. Settings of agents and forges come from the environment, those of
/// data and services do not.
struct PrivateSettings(BTreeMap<String, String>);

impl PrivateSettings {
    /// Settings of the environment that are ignored, because they point to other data or services.
    const IGNORED: [&str; 12] = [
        "DATABASE_URL",
        "REDIS_URL",
        "STORAGE_DIR",
        "WORK_DIR",
        "HOST",
        "PORT",
        "ALLOWED_ORIGINS",
        "ALLOW_PUBLIC_BIND",
        "SSO_ENABLED",
        "QUEUE_ENABLED",
        "WORKER_QUEUES",
        "LOCAL_REPOSITORIES",
    ];

    fn new(folder: &Path, local_roots: &[PathBuf]) -> anyhow::Result<Self> {
        let text = |path: &Path| {
            path.to_str()
                .map(str::to_owned)
                .with_context(|| format!("{} is not UTF-8", path.display()))
        };
        let mut own = BTreeMap::from([
            (
                "DATABASE_URL",
                format!("sqlite://{}?mode=rwc", text(&folder.join("membreak.db"))?),
            ),
            ("STORAGE_DIR", text(&folder.join("storage"))?),
            ("WORK_DIR", text(&folder.join("work"))?),
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", "0".to_owned()),
        ]);
        let roots = local_roots
            .iter()
            .map(|root| text(root))
            .collect::<anyhow::Result<Vec<_>>>()?;
        if let Some(odd) = roots.iter().find(|root| root.contains(':')) {
            bail!(
                "the path {odd} contains a colon, which separates paths in LOCAL_REPOSITORIES; move the repository"
            );
        }
        if !roots.is_empty() {
            own.insert("LOCAL_REPOSITORIES", roots.join(":"));
        }
        if Environment.get("LOG_LEVEL").is_none() {
            own.insert("LOG_LEVEL", "error".to_owned());
        }
        let own = own
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Ok(Self(own.collect()))
    }
}

impl Source for PrivateSettings {
    fn get(&self, name: &str) -> Option<String> {
        match self.0.get(name) {
            Some(value) => Some(value.clone()).filter(|value| !value.is_empty()),
            None if Self::IGNORED.contains(&name) => None,
            None => Environment.get(name),
        }
    }
}

/// Evaluates a request with the common options and prints the result.
pub(crate) async fn evaluate(
    request: &Value,
    local_roots: &[PathBuf],
    common: &CommonOptions,
    stubbed: Option<&StubOptions>,
) -> anyhow::Result<EvaluationOutcome> {
    let mut request = request.clone();
    for (name, value) in &common.task.0 {
        request[name] = value.clone();
    }
    if let Some(out) = &common.out {
        output::prepare_folder(out).await?;
    }
    let folder =
        tempfile::tempdir().context("could not create a temporary folder; check TMPDIR")?;
    let mut source = PrivateSettings::new(folder.path(), local_roots)?;
    let mut settings = Settings::read(&source).map_err(|errors| settings_error(&errors))?;
    let stub = match stubbed {
        Some(options) => StubSession::start(options).await?,
        None => None,
    };
    if let Some(stub) = &stub {
        source.0.extend(stub.environment(&settings)?);
        settings = Settings::read(&source).map_err(|errors| settings_error(&errors))?;
        output::print_error("the models are a stub: the scores say nothing about a model");
    }
    platform::telemetry::init(&settings.telemetry)?;
    let most = settings.worker.max_context_tokens;
    if let Some(asked) = request["target_context_tokens"].as_u64()
        && asked > most
    {
        output::print_error(&format!(
            "--context-tokens {asked} is more than MAX_CONTEXT_TOKENS={most}: the break will come \
             within {most} tokens. Raise that setting too"
        ));
    }
    let mut embedded = AllInOne::start(settings).await?;
    if let Some(stub) = &stub {
        stub.serve(&embedded.platform);
    }
    let api = embedded.url("/api/v1");
    let followed = tokio::select! {
        followed = follow(&api, &request, common.quiet) => followed,
        error = embedded.failed() => return Err(error),
    };
    let outcome = match followed {
        Ok((task, cancelled)) => {
            let document = result_document(&embedded.platform.database, task)
                .await
                .context("could not read the result from the database")?
                .context("the task was deleted during the evaluation")?;
            let written = match &common.out {
                Some(out) => output::write_files(&embedded.platform, &document, out).await,
                None => Ok(()),
            };
            Ok((document, cancelled, written))
        }
        Err(error) => Err(error),
    };
    let stopped = embedded.stop().await;
    let recorded = match stub {
        Some(stub) => stub.finish().await,
        None => Ok(()),
    };
    let (document, cancelled, written) = outcome?;
    // The measurement may have cost money, so it is printed even if something else failed.
    if common.json {
        output::print_json(&document)?;
    } else {
        output::print_result(&document);
    }
    if common.quiet {
        // The progress display would have shown the failure.
        output::print_failure(&document);
    }
    let mut incomplete = false;
    for error in [written, stopped, recorded]
        .into_iter()
        .filter_map(Result::err)
    {
        output::print_error(&format!("{error:#}"));
        incomplete = true;
    }
    Ok(EvaluationOutcome {
        document,
        cancelled,
        incomplete,
    })
}

/// Creates the task and follows it to its end. Returns its id, and whether it was cancelled.
async fn follow(api: &str, request: &Value, quiet: bool) -> anyhow::Result<(TaskId, bool)> {
    let client = platform::http_client::builder()
        .no_proxy()
        .build()
        .context("could not build an HTTP client")?;
    let answer = client
        .post(format!("{api}/tasks"))
        .json(request)
        .send()
        .await
        .context("could not create the task")?;
    let status = answer.status();
    let body: Value = answer
        .json()
        .await
        .context("could not read the created task")?;
    if !status.is_success() {
        let refused = format!("invalid task: {}", refusal(&body, request));
        if matches!(
            status,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
        ) {
            bail!(UsageError(refused));
        }
        bail!(refused);
    }
    let task: TaskId = body
        .get("id")
        .and_then(Value::as_str)
        .context("the created task has no id")?
        .parse()
        .context("the created task has no id")?;

    let mut progress = Progress::new(quiet);
    let watch = watch(&client, api, task, &mut progress);
    tokio::pin!(watch);
    tokio::select! {
        watched = &mut watch => return watched.map(|()| (task, false)),
        pressed = tokio::signal::ctrl_c() => pressed.context("could not listen for Ctrl-C")?,
    }
    output::print_error("cancelling; press Ctrl-C again to quit at once");
    client
        .delete(format!("{api}/tasks/{task}"))
        .send()
        .await
        .context("could not cancel the task")?;
    tokio::select! {
        watched = tokio::time::timeout(CANCEL_TIMEOUT, &mut watch) => {
            if watched.is_err() {
                output::print_error("the task did not confirm its cancellation");
            }
            Ok((task, true))
        }
        _ = tokio::signal::ctrl_c() => std::process::exit(130),
    }
}

/// Longer refused values, such as a question bank, are not repeated in errors.
const MAX_REPEATED_BYTES: usize = 200;

/// Returns the problems of a refused request in one line, with the refused values.
fn refusal(body: &Value, request: &Value) -> String {
    match body.get("detail") {
        Some(Value::Array(problems)) => problems
            .iter()
            .map(|problem| {
                let place: Vec<String> = problem
                    .get("loc")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .skip(1)
                    .map(|part| {
                        part.as_str()
                            .map_or_else(|| part.to_string(), str::to_owned)
                    })
                    .collect();
                let message = problem
                    .get("msg")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let value = problem.get("input").and_then(repeated);
                let value = value.map_or_else(String::new, |value| format!(" {value}"));
                let hint = hint(problem);
                unknown_agent(problem, message)
                    .unwrap_or_else(|| format!("{}{value}: {message}{hint}", place.join(".")))
            })
            .collect::<Vec<_>>()
            .join("; "),
        // Other refusals have the problem in `error`, which may concern the source of the task.
        Some(_) | None => {
            let error = body.get("error").and_then(Value::as_str);
            let error = error.map_or_else(|| body.to_string(), str::to_owned);
            let source = request.get("pr_url").filter(|url| {
                url.as_str()
                    .is_some_and(|url| !url.is_empty() && !error.contains(url))
            });
            match source.and_then(repeated) {
                Some(url) => format!("{url}: {error}"),
                None => error,
            }
        }
    }
}

/// Returns a value of a request as errors show it.
fn repeated(value: &Value) -> Option<String> {
    match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            Some(value.to_string()).filter(|text| text.len() <= MAX_REPEATED_BYTES)
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Smallest similarity (Jaro) at which a name is suggested instead of an unknown one.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the error for an agent's name that the API does not list, with the most similar name.
fn unknown_agent(problem: &Value, message: &str) -> Option<String> {
    let name = problem["input"].as_str()?;
    if problem["loc"][1] != "agents" || name.contains(':') {
        return None;
    }
    let names: Vec<&str> = message.split('\'').skip(1).step_by(2).collect();
    let (similarity, nearest) = names
        .iter()
        .map(|listed| (strsim::jaro(name, listed), *listed))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    let suggestion = if similarity >= MIN_SIMILARITY {
        format!(" Did you mean \"{nearest}\"?")
    } else {
        String::new()
    };
    Some(format!(
        "unknown agent \"{name}\".{suggestion} Agents: {}",
        names.join(", ")
    ))
}

/// Returns a hint about parameters of agents, if an agent with a parameter was refused.
fn hint(problem: &Value) -> &'static str {
    let of_agents = problem["loc"][1] == "agents";
    if of_agents
        && problem["input"]
            .as_str()
            .is_some_and(|input| input.contains(':'))
    {
        "; after a colon, control-lossy takes a share from 0 to 1, other controls take nothing, and \
         other agents take a model"
    } else {
        ""
    }
}

/// Reads the event stream to its last event. Reconnects after a broken connection.
async fn watch(
    client: &reqwest::Client,
    api: &str,
    task: TaskId,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let mut last_id: Option<String> = None;
    loop {
        let mut request = client.get(format!("{api}/logs/{task}/stream"));
        if let Some(id) = &last_id {
            request = request.header("Last-Event-ID", id);
        }
        let answer = request.send().await.context("could not follow the task")?;
        if !answer.status().is_success() {
            bail!(
                "could not follow the events of the task: {}",
                answer.status()
            );
        }
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let mut bytes = answer.bytes_stream();
        let mut waiting = Vec::new();
        while let Some(piece) = bytes.next().await {
            // After a broken connection the stream resumes after the last event.
            let Ok(piece) = piece else { break };
            waiting.extend_from_slice(&piece);
            while let Some(end) = waiting.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = waiting.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end();
                if let Some(id) = line.strip_prefix("id:") {
                    last_id = Some(id.trim().to_owned());
                }
                if let Some(data) = line.strip_prefix("data:") {
                    // Unknown kinds of events are ignored.
                    if let Ok(event) = serde_json::from_str::<Event>(data) {
                        progress.show(&event);
                        if event.is_last() {
                            return Ok(());
                        }
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
