//! Repositories of every kind, and a place to resolve them in.

#![expect(dead_code, reason = "every test file uses its own part")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use entity::task::Source;
use tempfile::TempDir;
use testkit::forge::Forge;
use testkit::repository::Files;
use tokio_util::sync::CancellationToken;
use worker::pull_request::{Resolved, UseLimits, resolve};
use worker::settings::{ForgeSettings, WorkerSettings};
use worker::workspace::{Mirror, WorkspaceError, checkout, mirror_with};

pub(crate) const LIMITS: UseLimits = UseLimits {
    max_files: 50,
    patch_bytes: 1 << 20,
    file_bytes: 256 << 10,
};

/// A folder of its own with settings that use it; repositories stand below `repos`.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) settings: WorkerSettings,
}

/// What was told while resolving.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<(&'static str, String)>>);

pub(crate) fn told() -> Told {
    Told::default()
}

impl Told {
    pub(crate) fn stages(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(|told| told.0).collect()
    }

    pub(crate) fn text(&self) -> String {
        let told = self.0.lock().unwrap();
        told.iter().map(|told| format!("{}\n", told.1)).collect()
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = WorkerSettings {
            name: "test".to_owned(),
            queues: Vec::new(),
            slots: 1,
            work_dir: folder.path().join("work"),
            drain: Duration::from_secs(1),
            run_timeout: Duration::from_secs(60),
            turn_timeout: Duration::from_secs(60),
            max_context_tokens: 200_000,
            max_turns: 40,
            control_bin: None,
            forge: ForgeSettings {
                base_urls: Vec::new(),
                api_url: None,
                token: None,
                local_roots: vec![folder.path().join("repos")],
                timeout: Duration::from_secs(60),
                max_bytes: 1 << 30,
            },
        };
        Self { folder, settings }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// An empty bare repository.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join("repos").join(name);
        std::fs::create_dir_all(&path).unwrap();
        git(&path, &["init", "-q", "--bare", "--template=", "."]);
        path
    }

    pub(crate) fn local(path: &Path, base: &str, head: &str) -> Source {
        Source::Local {
            path: path.to_str().unwrap().to_owned(),
            base: base.to_owned(),
            head: head.to_owned(),
        }
    }

    pub(crate) async fn resolve(
        &self,
        path: &Path,
        base: &str,
        head: &str,
    ) -> Result<Resolved, WorkspaceError> {
        self.resolve_with(&Self::local(path, base, head), LIMITS)
            .await
    }

    pub(crate) async fn resolve_with(
        &self,
        source: &Source,
        limits: UseLimits,
    ) -> Result<Resolved, WorkspaceError> {
        let cancel = CancellationToken::new();
        resolve(&self.settings, source, limits, &cancel, &|_, _| {}).await
    }

    pub(crate) fn settings_for(&self, forge: &Forge) -> WorkerSettings {
        let mut settings = self.settings.clone();
        settings.forge.base_urls = vec![forge.base_url()];
        settings.forge.api_url = Some(forge.api_url());
        settings
    }

    pub(crate) fn on_forge(forge: &Forge, number: u64) -> Source {
        Source::Forge {
            base_url: forge.base_url(),
            owner: "owner".to_owned(),
            name: "shop".to_owned(),
            number,
        }
    }

    pub(crate) async fn resolve_on(
        &self,
        forge: &Forge,
        number: u64,
        told: &Told,
    ) -> Result<Resolved, WorkspaceError> {
        let tell = |stage, line| told.0.lock().unwrap().push((stage, line));
        let source = Self::on_forge(forge, number);
        let cancel = CancellationToken::new();
        resolve(&self.settings_for(forge), &source, LIMITS, &cancel, &tell).await
    }

    pub(crate) async fn resolve_source(
        &self,
        forge: &Forge,
        source: &Source,
    ) -> Result<Resolved, WorkspaceError> {
        let cancel = CancellationToken::new();
        resolve(
            &self.settings_for(forge),
            source,
            LIMITS,
            &cancel,
            &|_, _| {},
        )
        .await
    }

    pub(crate) async fn mirror(
        &self,
        source: &Source,
        commit: &str,
    ) -> Result<Mirror, WorkspaceError> {
        mirror_with(&self.settings, source, &[commit], &CancellationToken::new()).await
    }

    pub(crate) async fn checkout(
        &self,
        mirror: &Mirror,
        commit: &str,
        folder: &Path,
    ) -> Result<(), WorkspaceError> {
        checkout(
            &self.settings,
            mirror,
            commit,
            folder,
            &CancellationToken::new(),
        )
        .await
    }
}

pub(crate) fn files(files: &[(&str, &str)]) -> Files {
    files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

/// A text of one line many times.
pub(crate) fn many(line: &str, times: usize) -> Vec<u8> {
    line.repeat(times).into_bytes()
}

/// Runs git without anybody's configuration.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = git_with(folder, arguments, b"");
    String::from_utf8(output).unwrap().trim().to_owned()
}

pub(crate) fn git_with(folder: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("git")
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=Test", "-c", "user.email=test@localhost"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    output.stdout
}

/// A path, a mode and the contents.
pub(crate) type Entry<'a> = (&'a [u8], &'a str, &'a [u8]);

/// Makes a commit with exactly these entries, whatever their names; returns its id. No branch has
/// it.
pub(crate) fn commit(repository: &Path, entries: &[Entry<'_>], parent: Option<&str>) -> String {
    let tree = tree(repository, entries);
    commit_tree(repository, &tree, parent)
}

pub(crate) fn commit_tree(repository: &Path, tree: &str, parent: Option<&str>) -> String {
    let mut arguments = vec!["commit-tree", tree, "-m", "Change"];
    arguments.extend(parent.map(|parent| ["-p", parent]).into_iter().flatten());
    git(repository, &arguments)
}

/// Makes a tree; a `/` in a path makes one below.
pub(crate) fn tree(repository: &Path, entries: &[Entry<'_>]) -> String {
    let mut listed = Vec::new();
    let mut below: std::collections::BTreeMap<&[u8], Vec<Entry<'_>>> = Default::default();
    for &(path, mode, contents) in entries {
        if let Some(slash) = path.iter().position(|&byte| byte == b'/') {
            let entry = (&path[slash + 1..], mode, contents);
            below.entry(&path[..slash]).or_default().push(entry);
            continue;
        }
        let object = match mode {
            "160000" => "1234567890123456789012345678901234567890".to_owned(),
            _ => id(git_with(
                repository,
                &["hash-object", "-w", "--stdin"],
                contents,
            )),
        };
        let kind = if mode == "160000" { "commit" } else { "blob" };
        listed.extend_from_slice(format!("{mode} {kind} {object}\t").as_bytes());
        listed.extend_from_slice(path);
        listed.push(0);
    }
    for (folder, entries) in below {
        let object = tree(repository, &entries);
        listed.extend_from_slice(format!("040000 tree {object}\t").as_bytes());
        listed.extend_from_slice(folder);
        listed.push(0);
    }
    id(git_with(
        repository,
        &["mktree", "-z", "--missing"],
        &listed,
    ))
}

pub(crate) fn id(output: Vec<u8>) -> String {
    String::from_utf8(output).unwrap().trim().to_owned()
}

/// Two commits of this many files in a hundred folders; the second changes one.
pub(crate) fn wide(repository: &Path, number: usize) -> (String, String) {
    let mut script =
        String::from("commit refs/heads/main\ncommitter T <t@localhost> 1 +0000\ndata 0\n");
    for file in 0..number {
        let text = format!("fn f{file}() {{}}\n");
        script += &format!(
            "M 100644 inline d{:02}/f{file}.rs\ndata {}\n{text}\n",
            file % 100,
            text.len()
        );
    }
    script += "commit refs/heads/main\ncommitter T <t@localhost> 2 +0000\ndata 0\n";
    script += "M 100644 inline d00/f0.rs\ndata 8\nchanged\n\n";
    git_with(repository, &["fast-import", "--quiet"], script.as_bytes());
    (
        git(repository, &["rev-parse", "main~1"]),
        git(repository, &["rev-parse", "main"]),
    )
}
