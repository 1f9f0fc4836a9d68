//! Pull requests of local repositories: their contents, refusals, and code that must never run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::PullRequestSource;
use domain::pull_request::{Change, FileStatus, PullRequest};
use simulator::repository::{Commit, Entry, Files, build_history, build_repository, git};
use source::{DiffLimits, ForgeSettings, Resolved, SourceError, SourceSettings, checkout, resolve};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const LIMITS: DiffLimits = DiffLimits {
    max_files: 50,
    patch_bytes: 1 << 20,
    file_bytes: 256 << 10,
};

/// A folder for a repository and a folder for the worker.
struct Place {
    folder: TempDir,
    settings: SourceSettings,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repositories");
        std::fs::create_dir(&root).unwrap();
        let settings = SourceSettings {
            work_dir: folder.path().join("work"),
            forge: ForgeSettings {
                base_urls: Vec::new(),
                api_url: None,
                token: None,
                local_roots: vec![root],
                timeout: Duration::from_secs(600),
                max_bytes: 4 << 30,
            },
        };
        Self { folder, settings }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repositories/sample")
    }

    async fn resolve(&self, path: &Path, base: &str, head: &str) -> Result<Resolved, SourceError> {
        self.resolve_within(path, base, head, LIMITS).await
    }

    async fn resolve_within(
        &self,
        path: &Path,
        base: &str,
        head: &str,
        limits: DiffLimits,
    ) -> Result<Resolved, SourceError> {
        let source = PullRequestSource::Local {
            path: path.to_str().unwrap().to_owned(),
            base: base.to_owned(),
            head: head.to_owned(),
        };
        resolve(
            &self.settings,
            &source,
            limits,
            &CancellationToken::new(),
            &|_, _| {},
        )
        .await
    }

    /// Returns the change between two trees.
    async fn change(&self, base: Vec<(&[u8], Entry)>, head: Vec<(&[u8], Entry)>) -> PullRequest {
        let ids = self.history(base, head).await;
        self.resolve(&self.repository(), &ids[0], &ids[1])
            .await
            .unwrap()
            .pull_request
    }

    async fn history(&self, base: Vec<(&[u8], Entry)>, head: Vec<(&[u8], Entry)>) -> Vec<String> {
        let commit = |reference: &str, parents: &[&str], entries: Vec<(&[u8], Entry)>| Commit {
            reference: reference.to_owned(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
            message: "A commit".to_owned(),
            entries: entries
                .into_iter()
                .map(|(path, entry)| (path.to_vec(), entry))
                .collect(),
        };
        let commits = [
            commit("refs/heads/main", &[], base),
            commit("refs/heads/change", &[":1"], head),
        ];
        build_history(&self.repository(), &commits).await.unwrap()
    }
}

fn file(text: &str) -> Entry {
    Entry::File(text.as_bytes().to_vec())
}

fn files(pairs: &[(&str, &str)]) -> Files {
    pairs
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

fn reasons(pull_request: &PullRequest) -> BTreeMap<&str, &str> {
    pull_request
        .dropped
        .iter()
        .map(|dropped| (dropped.path.as_str(), dropped.reason.as_str()))
        .collect()
}

fn refusal(result: Result<Resolved, SourceError>) -> String {
    match result {
        Err(SourceError::Refused(message)) => message,
        other => unreachable!("not refused: {other:?}"),
    }
}

const LONG: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n";

#[tokio::test]
async fn a_change_is_read_with_hunks_and_head_texts() {
    let place = Place::new();
    let path = place.repository();
    let base = files(&[
        ("src/a.rs", "fn a() {}\n"),
        ("keep.txt", "x\n"),
        ("gone.txt", "y\n"),
    ]);
    let head = files(&[
        ("src/a.rs", "fn a() { 1 }\n"),
        ("keep.txt", "x\n"),
        ("new.txt", "no line end"),
    ]);
    let (base, head) = build_repository(&path, &base, &head).await.unwrap();
    let resolved = place.resolve(&path, "main", "change").await.unwrap();
    let pull_request = resolved.pull_request;
    assert_eq!((&pull_request.base, &pull_request.head), (&base, &head));
    let seen: Vec<_> = pull_request
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.status, file.head_text.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            ("gone.txt", FileStatus::Deleted, None),
            ("new.txt", FileStatus::Added, Some("no line end")),
            ("src/a.rs", FileStatus::Modified, Some("fn a() { 1 }\n")),
        ]
    );
    let changed = &pull_request.files[2];
    assert!(
        changed
            .patch
            .starts_with("diff --git a/src/a.rs b/src/a.rs\n")
    );
    let lines: Vec<_> = changed.hunks[0]
        .lines
        .iter()
        .map(|line| (line.change, line.text.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            (Change::Removed, "fn a() {}"),
            (Change::Added, "fn a() { 1 }")
        ]
    );
    assert_eq!(pull_request.other_paths, ["keep.txt"]);
    assert_eq!(pull_request.dropped, []);
}

#[tokio::test]
async fn a_renamed_file_keeps_both_names() {
    let place = Place::new();
    let renamed = LONG.replace("two", "2");
    let pull_request = place
        .change(
            vec![(b"old.txt", file(LONG))],
            vec![(b"d/new.txt", file(&renamed))],
        )
        .await;
    let file = &pull_request.files[0];
    assert_eq!(file.status, FileStatus::Renamed);
    assert_eq!(
        (file.path.as_str(), file.old_path.as_deref()),
        ("d/new.txt", Some("old.txt"))
    );
    assert_eq!(file.hunks.len(), 1);
}

#[tokio::test]
async fn only_text_is_used_and_everything_else_is_named_with_its_reason() {
    let place = Place::new();
    let base = vec![
        (&b"turned"[..], file("a\n")),
        (b"latin.txt", file("a\n")),
        (
            b"tail.txt",
            Entry::File([LONG.repeat(3).as_bytes(), b"\xff\n"].concat()),
        ),
    ];
    let head = vec![
        (&b"binary.bin"[..], Entry::File(b"a\0b".to_vec())),
        (b"latin.txt", Entry::File(b"caf\xe9\n".to_vec())),
        (
            b"tail.txt",
            Entry::File([b"x\n", LONG.repeat(3).as_bytes(), b"\xff\n"].concat()),
        ),
        (b"link", Entry::Symlink(b"/etc/passwd".to_vec())),
        (b"module", Entry::Submodule("1".repeat(40))),
        (b"na\xefve.txt", file("a\n")),
        (b"two\nlines.txt", file("a\n")),
        (b"turned", Entry::Symlink(b"used.txt".to_vec())),
        (b"used.txt", file("diff --git a/x b/x\n--- a/x\n")),
        (b"large.txt", file(&"large\n".repeat(100_000))),
        (b"unchanged-mode.sh", Entry::Executable(b"echo\n".to_vec())),
    ];
    let pull_request = place.change(base, head).await;
    let used: Vec<_> = pull_request
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(used, ["unchanged-mode.sh", "used.txt"]);
    assert_eq!(
        reasons(&pull_request),
        BTreeMap::from([
            ("binary.bin", "binary"),
            ("latin.txt", "not UTF-8"),
            ("tail.txt", "not UTF-8"),
            ("link", "symlink"),
            ("module", "submodule"),
            ("na\u{fffd}ve.txt", "path is not UTF-8"),
            ("two\nlines.txt", "path has control characters"),
            ("turned", "its type changed"),
            ("large.txt", "larger than 262144 bytes"),
        ])
    );
}

#[tokio::test]
async fn an_empty_change_has_no_files() {
    let place = Place::new();
    let path = place.repository();
    let same = files(&[("a.txt", "a\n")]);
    build_repository(&path, &same, &same).await.unwrap();
    let pull_request = place
        .resolve(&path, "main", "change")
        .await
        .unwrap()
        .pull_request;
    assert_eq!(pull_request.files, []);
    assert_eq!(pull_request.other_paths, ["a.txt"]);
}

#[tokio::test]
async fn over_the_limits_the_most_changed_files_are_used() {
    let place = Place::new();
    let path = place.repository();
    let head = files(&[
        ("Cargo.lock", &LONG.repeat(20)),
        ("a.txt", "a\n"),
        ("b.txt", LONG),
        ("c.txt", &LONG.repeat(2)),
    ]);
    build_repository(&path, &Files::new(), &head).await.unwrap();
    let limits = DiffLimits {
        max_files: 2,
        ..LIMITS
    };
    let resolved = place
        .resolve_within(&path, "main", "change", limits)
        .await
        .unwrap();
    let pull_request = resolved.pull_request;
    let used: Vec<_> = pull_request
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(used, ["b.txt", "c.txt"]);
    assert_eq!(
        reasons(&pull_request),
        BTreeMap::from([
            ("Cargo.lock", "over max_files (2)"),
            ("a.txt", "over max_files (2)")
        ])
    );
    let limits = DiffLimits {
        patch_bytes: 300,
        ..LIMITS
    };
    let resolved = place
        .resolve_within(&path, "main", "change", limits)
        .await
        .unwrap();
    let bytes: usize = resolved
        .pull_request
        .files
        .iter()
        .map(|file| file.patch.len())
        .sum();
    assert!((1..=300).contains(&bytes), "{bytes}");
    assert!(
        reasons(&resolved.pull_request)["Cargo.lock"].starts_with("all patches together"),
        "{:?}",
        resolved.pull_request.dropped
    );
}

#[tokio::test]
async fn the_base_is_where_the_change_left_the_other_branch() {
    let place = Place::new();
    let path = place.repository();
    let (base, _) = build_repository(
        &path,
        &files(&[("a.txt", "a\n")]),
        &files(&[("a.txt", "b\n")]),
    )
    .await
    .unwrap();
    let tree = git(&path, ["rev-parse", "main^{tree}"]).await.unwrap();
    let tree = String::from_utf8(tree).unwrap();
    // A test's repository has no author of its own.
    let who = ["-c", "user.name=A", "-c", "user.email=a@forge.example"];
    let rest = ["commit-tree", tree.trim(), "-p", "main", "-m", "Later"];
    let later = git(&path, who.into_iter().chain(rest)).await.unwrap();
    let later = String::from_utf8(later).unwrap();
    let resolved = place.resolve(&path, later.trim(), "change").await.unwrap();
    assert_eq!(resolved.pull_request.base, base);
}

#[tokio::test]
async fn revisions_that_look_like_options_are_refused() {
    let place = Place::new();
    let path = place.repository();
    let marker = place.folder.path().join("marker");
    build_repository(&path, &files(&[("a", "a")]), &files(&[("a", "b")]))
        .await
        .unwrap();
    let hostile = format!("--upload-pack=touch {}", marker.display());
    for revision in [
        hostile.as_str(),
        "-x",
        "--all",
        "",
        "main..change",
        "^main",
        "a\0b",
        "nowhere",
    ] {
        let message = refusal(place.resolve(&path, "main", revision).await);
        assert!(
            message.starts_with("the repository has no commit"),
            "{message}"
        );
        refusal(place.resolve(&path, revision, "change").await);
    }
    assert!(!marker.exists());
}

#[tokio::test]
async fn only_repositories_below_the_allowed_folders_are_read() {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    build_repository(&outside, &files(&[("a", "a")]), &files(&[("a", "b")]))
        .await
        .unwrap();
    let root = place.folder.path().join("repositories");
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    // A working tree whose `.git` leads outside.
    let pointing = root.join("pointing");
    std::fs::create_dir(&pointing).unwrap();
    let text = format!("gitdir: {}\n", outside.join(".git").display());
    std::fs::write(pointing.join(".git"), text).unwrap();
    for path in [
        outside.clone(),
        root.join("link"),
        root.join("../outside"),
        pointing,
        root.join("none"),
    ] {
        let message = refusal(place.resolve(&path, "main", "change").await);
        assert!(message.contains("LOCAL_REPOSITORIES"), "{message}");
    }
    // A plain folder inside a repository is not a repository.
    let message = refusal(place.resolve(&root, "main", "change").await);
    assert!(message.contains("not a git repository"), "{message}");
    let mut settings = place.settings.clone();
    settings.forge.local_roots.clear();
    let place = Place { settings, ..place };
    let message = refusal(place.resolve(&outside, "main", "change").await);
    assert!(message.contains("are not allowed"), "{message}");
}

#[tokio::test]
async fn nothing_that_a_repository_is_set_up_with_is_run() {
    let place = Place::new();
    let path = place.repository();
    let marker = place.folder.path().join("marker");
    let script = place.folder.path().join("script");
    std::fs::write(
        &script,
        format!("#!/bin/sh\ntouch {}\ncat\n", marker.display()),
    )
    .unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let attributes = "* filter=evil diff=evil text eol=crlf\n";
    build_repository(
        &path,
        &files(&[("a.txt", "a\n"), (".gitattributes", attributes)]),
        &files(&[("a.txt", "b\n"), (".gitattributes", attributes)]),
    )
    .await
    .unwrap();
    let script_text = script.to_str().unwrap();
    for setting in [
        "filter.evil.smudge",
        "filter.evil.clean",
        "filter.evil.process",
        "diff.evil.command",
        "diff.evil.textconv",
        "diff.external",
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.alternateRefsCommand",
        "uploadpack.packObjectsHook",
    ] {
        git(&path, ["config", setting, script_text]).await.unwrap();
    }
    for hook in [
        "post-checkout",
        "pre-auto-gc",
        "reference-transaction",
        "post-index-change",
    ] {
        std::fs::create_dir_all(path.join(".git/hooks")).unwrap();
        std::fs::copy(&script, path.join(".git/hooks").join(hook)).unwrap();
    }
    let resolved = place.resolve(&path, "main", "change").await.unwrap();
    let out = place.folder.path().join("out");
    checkout(
        &place.settings,
        &resolved.mirror,
        &resolved.pull_request.head,
        &out,
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    assert_eq!(resolved.pull_request.files.len(), 1);
    assert_eq!(std::fs::read(out.join("a.txt")).unwrap(), b"b\n");
    assert!(!out.join(".git").exists());
    assert!(!marker.exists());
}

#[tokio::test]
async fn a_linked_working_tree_and_a_bare_repository_are_repositories_too() {
    let place = Place::new();
    let path = place.repository();
    let (base, head) = build_repository(&path, &files(&[("a", "a")]), &files(&[("a", "b")]))
        .await
        .unwrap();
    let root = place.folder.path().join("repositories");
    git(
        &path,
        [
            "worktree",
            "add",
            "--quiet",
            "--detach",
            "../linked",
            "main",
        ],
    )
    .await
    .unwrap();
    git(&root, ["clone", "--quiet", "--bare", "sample", "bare"])
        .await
        .unwrap();
    for name in ["linked", "bare"] {
        let resolved = place
            .resolve(&root.join(name), &base, "change")
            .await
            .unwrap();
        assert_eq!(resolved.pull_request.head, head);
    }
    // HEAD belongs to the working tree.
    let resolved = place
        .resolve(&root.join("linked"), "HEAD", "change")
        .await
        .unwrap();
    assert_eq!(resolved.pull_request.base, base);
}
