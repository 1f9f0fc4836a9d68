//! Creates git repositories from files. The same files always give the same commit ids.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Files by path, with `/` between the parts.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Author and date of all commits. They are fixed, because they are part of a commit's id.
const SIGNATURE: &str = "Sample Author <sample@forge.example> 1700000000 +0000";

/// Entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    File(Vec<u8>),
    Executable(Vec<u8>),
    /// Target of the link.
    Symlink(Vec<u8>),
    /// Commit of the other repository, as 40 hexadecimal digits.
    Submodule(String),
}

/// A commit to create, with all of its files.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Full name of the ref that will point to it.
    pub reference: String,
    /// Revisions of its parents: existing refs, or `:N` for the `N`th commit of the same call.
    pub parents: Vec<String>,
    pub message: String,
    pub entries: Vec<(Vec<u8>, Entry)>,
}

impl Commit {
    /// Creates a commit of plain files.
    pub fn from_files(reference: &str, parents: &[&str], message: &str, files: &Files) -> Self {
        Self {
            reference: reference.to_owned(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
            message: message.to_owned(),
            entries: files
                .iter()
                .map(|(path, bytes)| (path.clone().into_bytes(), Entry::File(bytes.clone())))
                .collect(),
        }
    }
}

/// Creates a repository in `folder` with two commits: `base` on branch `main`, and `head` on branch
/// `change`, which is checked out. Returns the ids of both.
pub async fn build_repository(
    folder: &Path,
    base: &Files,
    head: &Files,
) -> anyhow::Result<(String, String)> {
    let commits = [
        Commit::from_files("refs/heads/main", &[], "Base", base),
        Commit::from_files("refs/heads/change", &[":1"], "Change", head),
    ];
    let ids = build_history(folder, &commits).await?;
    git(folder, ["symbolic-ref", "HEAD", "refs/heads/change"]).await?;
    git(folder, ["reset", "--quiet", "--hard"]).await?;
    match <[String; 2]>::try_from(ids) {
        Ok([base, head]) => Ok((base, head)),
        Err(ids) => bail!("git returned {} ids for two commits", ids.len()),
    }
}

/// Creates a repository in `folder` with these commits, without checking out files. Returns their
/// ids.
pub async fn build_history(folder: &Path, commits: &[Commit]) -> anyhow::Result<Vec<String>> {
    tokio::fs::create_dir_all(folder)
        .await
        .with_context(|| format!("creating the folder {}", folder.display()))?;
    git(folder, ["init", "--quiet", "--initial-branch=main"]).await?;
    add_commits(folder, commits).await
}

/// Adds commits to a repository. Returns their ids.
pub(crate) async fn add_commits(
    repository: &Path,
    commits: &[Commit],
) -> anyhow::Result<Vec<String>> {
    let mut stream = Vec::new();
    for (at, commit) in commits.iter().enumerate() {
        write_commit(&mut stream, at + 1, commit);
    }
    for mark in 1..=commits.len() {
        stream.extend_from_slice(format!("get-mark :{mark}\n").as_bytes());
    }
    stream.extend_from_slice(b"done\n");
    let arguments = [
        "fast-import",
        "--quiet",
        "--force",
        "--done",
        "--cat-blob-fd=1",
    ];
    let ids = git_with(repository, arguments, &stream).await?;
    let ids = String::from_utf8(ids).context("git returned ids that are not UTF-8")?;
    Ok(ids.lines().map(str::to_owned).collect())
}

fn write_commit(stream: &mut Vec<u8>, mark: usize, commit: &Commit) {
    let Commit {
        reference,
        parents,
        message,
        entries,
    } = commit;
    let length = message.len();
    let header = format!(
        "commit {reference}\nmark :{mark}\nauthor {SIGNATURE}\ncommitter {SIGNATURE}\n\
         data {length}\n{message}\n"
    );
    stream.extend_from_slice(header.as_bytes());
    for (at, parent) in parents.iter().enumerate() {
        let word = if at == 0 { "from" } else { "merge" };
        stream.extend_from_slice(format!("{word} {parent}\n").as_bytes());
    }
    stream.extend_from_slice(b"deleteall\n");
    for (path, entry) in entries {
        write_entry(stream, path, entry);
    }
}

fn write_entry(stream: &mut Vec<u8>, path: &[u8], entry: &Entry) {
    let (mode, bytes) = match entry {
        Entry::File(bytes) => ("100644", bytes),
        Entry::Executable(bytes) => ("100755", bytes),
        Entry::Symlink(target) => ("120000", target),
        Entry::Submodule(commit) => {
            stream.extend_from_slice(format!("M 160000 {commit} ").as_bytes());
            write_path(stream, path);
            return;
        }
    };
    stream.extend_from_slice(format!("M {mode} inline ").as_bytes());
    write_path(stream, path);
    stream.extend_from_slice(format!("data {}\n", bytes.len()).as_bytes());
    stream.extend_from_slice(bytes);
    stream.push(b'\n');
}

/// Writes a quoted path, which may contain any byte but NUL.
fn write_path(stream: &mut Vec<u8>, path: &[u8]) {
    stream.push(b'"');
    for &byte in path {
        match byte {
            b'"' | b'\\' => stream.extend_from_slice(&[b'\\', byte]),
            b'\n' => stream.extend_from_slice(b"\\n"),
            other => stream.push(other),
        }
    }
    stream.extend_from_slice(b"\"\n");
}

/// Runs git in a repository and returns its output.
pub async fn git<I, S>(repository: &Path, arguments: I) -> anyhow::Result<Vec<u8>>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    git_with(repository, arguments, b"").await
}

/// Runs git in a repository with an input, and returns its output.
pub async fn git_with<I, S>(
    repository: &Path,
    arguments: I,
    input: &[u8],
) -> anyhow::Result<Vec<u8>>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut child = Command::new("git")
        .args(["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"])
        .args(arguments)
        .current_dir(repository)
        // The caller's settings and repository must not influence the new one.
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting git")?;
    let stdin = child.stdin.take();
    let write_input = async {
        if let Some(mut stdin) = stdin {
            // If git exits early, its standard error has the reason.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), output) = tokio::join!(write_input, child.wait_with_output());
    let output = output.context("waiting for git")?;
    if !output.status.success() {
        bail!("git: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        pairs
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    #[tokio::test]
    async fn the_same_files_give_the_same_commits() {
        let folder = tempfile::tempdir().unwrap();
        let base = files(&[("a.txt", "one\n"), ("odd \"name\n\\", "x")]);
        let head = files(&[("b.txt", "two\n")]);
        let first = folder.path().join("first");
        let one = build_repository(&first, &base, &head).await.unwrap();
        let two = build_repository(&folder.path().join("second"), &base, &head)
            .await
            .unwrap();
        assert_eq!(one, two);
        let listed = git(&first, ["ls-tree", "-z", "--name-only", one.0.as_str()])
            .await
            .unwrap();
        assert_eq!(listed, b"a.txt\0odd \"name\n\\\0");
        assert!(first.join("b.txt").exists());
        assert!(!first.join("a.txt").exists());
    }
}
