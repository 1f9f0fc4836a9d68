//! `membreak eval`: evaluates a pull request, by URL or in a local repository.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use api::tasks::options::EvaluationFlags;
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
    #[command(flatten)]
    options: EvaluationFlags,
    #[command(flatten)]
    stubbed: StubOptions,
    #[command(flatten)]
    common: CommonOptions,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut request = json!({ "agents": options.agents });
    for (name, value) in options.options.0 {
        request[name] = value;
    }
    if let Some(file) = request["question_bank"].as_str() {
        let bank = tokio::fs::read_to_string(file)
            .await
            .with_context(|| UsageError(format!("--question-bank {file}")))?;
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
        .with_context(|| UsageError(format!("could not open --repo {}", folder.display())))?;
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
