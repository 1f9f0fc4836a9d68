//! `membreak eval`: evaluates a pull request, by URL or in a local repository.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use domain::vocabulary::{Dimension, Trigger};
use serde_json::json;

use crate::local_evaluation::{CommonOptions, evaluate};
use crate::model_stub_session::StubOptions;
use crate::usage_error::UsageError;

#[derive(Debug, clap::Args)]
#[command(after_help = crate::output::GLOSSARY)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["pr_url", "repo"]))]
pub(crate) struct Options {
    /// URL of the pull request, such as <https://github.com/OWNER/REPO/pull/1>.
    pr_url: Option<String>,
    /// Local git repository.
    #[arg(long, requires = "base", value_name = "PATH")]
    repo: Option<PathBuf>,
    /// Base revision of the change. Its merge base with the head is used.
    #[arg(long, requires = "repo", value_name = "REV")]
    base: Option<String>,
    /// Head revision of the change.
    #[arg(long, default_value = "HEAD", value_name = "REV")]
    head: String,
    /// Agents, comma-separated.
    #[arg(long, required = true, value_delimiter = ',')]
    agents: Vec<String>,
    /// Dimensions, comma-separated: AR (accurate retrieval), TTL (test-time learning), LRU
    /// (long-range understanding), SF (selective forgetting).
    #[arg(long, value_delimiter = ',', default_values = ["AR", "TTL", "LRU", "SF"])]
    rubric: Vec<Dimension>,
    /// Maximum number of changed files.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_files: Option<u32>,
    /// Trigger of the break (compaction): `auto`, `manual` or `auto_then_manual`.
    #[arg(long, default_value = "auto_then_manual")]
    trigger: Trigger,
    /// Context size in tokens at which the agent should compact.
    #[arg(long, value_name = "TOKENS")]
    context_tokens: Option<u32>,
    /// Empty the workspace before the compaction, so that no file can be read again. By default
    /// true if the agent's own command triggers the break.
    #[arg(long, value_name = "BOOL")]
    seal_before_break: Option<bool>,
    /// Compactions per run. Each is measured, which gives a forgetting curve.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    breaks: u32,
    /// Closed probes per prompt, the same in all arms. More probes cost less but change the score.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    probes_per_prompt: u32,
    /// Also ask about purpose, risks and rollback of the pull request. Needs model judges and is
    /// not part of any score.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    open_questions: bool,
    /// Stop cleanly when the known cost of the runs reaches this amount in US dollars.
    #[arg(long, value_name = "USD")]
    max_cost_usd: Option<f64>,
    /// Use the probes of this file instead of generated ones: `question_bank.jsonl` of an earlier
    /// `--out`, or from the API. Each probe is verified before use.
    #[arg(long, value_name = "FILE")]
    question_bank: Option<PathBuf>,
    #[command(flatten)]
    stubbed: StubOptions,
    #[command(flatten)]
    common: CommonOptions,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut request = json!({
        "agents": options.agents,
        "rubric": options.rubric,
        "trigger": options.trigger,
        "trials": options.common.trials,
        "breaks": options.breaks,
        "probes_per_prompt": options.probes_per_prompt,
        "open_questions": options.open_questions,
        "seed": options.common.seed,
    });
    if let Some(max_files) = options.max_files {
        request["max_files"] = json!(max_files);
    }
    if let Some(tokens) = options.context_tokens {
        request["target_context_tokens"] = json!(tokens);
    }
    if let Some(seal) = options.seal_before_break {
        request["seal_before_break"] = json!(seal);
    }
    if let Some(most) = options.max_cost_usd {
        request["max_cost_usd"] = json!(most);
    }
    if let Some(file) = &options.question_bank {
        let bank = tokio::fs::read_to_string(file)
            .await
            .with_context(|| UsageError(format!("--question-bank {}", file.display())))?;
        request["question_bank"] = json!(bank);
    }
    let local = match &options.repo {
        Some(repo) => {
            let (top, roots) = repository(repo).await?;
            request["repo"] = json!(top);
            request["base"] = json!(options.base);
            request["head"] = json!(options.head);
            roots
        }
        None => {
            request["pr_url"] = json!(options.pr_url);
            Vec::new()
        }
    };
    let evaluated = evaluate(&request, &local, &options.common, Some(&options.stubbed)).await?;
    Ok(evaluated.exit_code())
}

/// Returns the repository of a folder, and the folders that contain it. The objects of a linked
/// working tree are in another folder.
async fn repository(folder: &Path) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let folder = tokio::fs::canonicalize(folder)
        .await
        .with_context(|| UsageError(format!("--repo {}", folder.display())))?;
    let objects = git_path(&folder, "--git-common-dir").await?;
    // A bare repository has no working tree.
    let top = match git_path(&folder, "--show-toplevel").await {
        Ok(top) => top,
        Err(_) => folder,
    };
    let roots = vec![top.clone(), objects];
    Ok((top, roots))
}

async fn git_path(folder: &Path, option: &str) -> anyhow::Result<PathBuf> {
    let output = tokio::process::Command::new("git")
        .args(["rev-parse", "--path-format=absolute", option])
        .current_dir(folder)
        .kill_on_drop(true)
        .output()
        .await
        .context("could not start git; is it installed?")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!(UsageError(format!(
            "--repo {} is not a git repository: {}",
            folder.display(),
            said.trim()
        )));
    }
    let path = String::from_utf8(output.stdout).context("git printed a path that is not UTF-8")?;
    tokio::fs::canonicalize(path.trim_end())
        .await
        .with_context(|| format!("finding {}", path.trim_end()))
}
