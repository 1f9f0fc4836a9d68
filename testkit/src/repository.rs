//! Builds git repositories out of files in memory: the same files give the same commit ids.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;

/// Files by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Makes a repository with two commits, `base` and then `head`, on the branch `main`, and its
/// files checked out. Returns the ids of both commits.
pub async fn build_repository(
    folder: &Path,
    base: &Files,
    head: &Files,
) -> anyhow::Result<(String, String)> {
    tokio::fs::create_dir_all(folder)
        .await
        .with_context(|| format!("making the folder {}", folder.display()))?;
    git(
        folder,
        &["init", "--quiet", "--template=", "--initial-branch=main"],
        None,
    )
    .await?;
    let script = fast_import(&[("Begin", base), ("Change", head)]);
    git(folder, &["fast-import", "--quiet", "--done"], Some(script)).await?;
    git(folder, &["reset", "--quiet", "--hard", "main"], None).await?;
    let base = git(folder, &["rev-parse", "main~1"], None).await?;
    let head = git(folder, &["rev-parse", "main"], None).await?;
    Ok((base, head))
}

/// Commits, each with exactly these files, by an author and at a time that never change.
fn fast_import(commits: &[(&str, &Files)]) -> Vec<u8> {
    let mut script = Vec::new();
    for (number, (message, files)) in commits.iter().enumerate() {
        let time = 1_700_000_000 + number * 3_600;
        let who = format!("Sample <sample@membreak.invalid> {time} +0000");
        let length = message.len();
        script.extend_from_slice(
            format!(
                "commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata {length}\n{message}\n"
            )
            .as_bytes(),
        );
        script.extend_from_slice(b"deleteall\n");
        for (path, bytes) in *files {
            script.extend_from_slice(
                format!("M 100644 inline {path}\ndata {}\n", bytes.len()).as_bytes(),
            );
            script.extend_from_slice(bytes);
            script.push(b'\n');
        }
    }
    script.extend_from_slice(b"done\n");
    script
}

/// Runs git without anybody's configuration.
pub(crate) async fn git(
    folder: &Path,
    args: &[&str],
    input: Option<Vec<u8>>,
) -> anyhow::Result<String> {
    let mut child = tokio::process::Command::new("git")
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting git (is it installed?)")?;
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // git may end without reading all of it, and says why itself.
            let _ = stdin.write_all(&input).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output.context("running git")?;
    if !output.status.success() {
        bail!(
            "git {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
