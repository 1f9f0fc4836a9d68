//! Mirrors and checkouts: hostile trees, and damaged mirrors.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::PullRequestSource;
use simulator::repository::{Commit, Entry, build_history, git, git_with};
use source::{ForgeSettings, Mirror, SourceError, SourceSettings, checkout, mirror_with};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Settings and one repository that they allow.
struct Place {
    folder: TempDir,
    settings: SourceSettings,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = SourceSettings {
            work_dir: folder.path().join("work"),
            forge: ForgeSettings {
                base_urls: Vec::new(),
                api_url: None,
                token: None,
                local_roots: vec![folder.path().to_owned()],
                timeout: Duration::from_secs(600),
                max_bytes: 4 << 30,
            },
        };
        Self { folder, settings }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("sample")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("runs/one/repo")
    }

    /// Creates a repository with one commit.
    async fn commit(&self, entries: Vec<(&[u8], Entry)>) -> String {
        let commit = Commit {
            reference: "refs/heads/main".to_owned(),
            parents: Vec::new(),
            message: "A commit".to_owned(),
            entries: entries
                .into_iter()
                .map(|(path, entry)| (path.to_vec(), entry))
                .collect(),
        };
        build_history(&self.repository(), &[commit])
            .await
            .unwrap()
            .remove(0)
    }

    async fn mirror(&self, commit: &str) -> Result<Mirror, SourceError> {
        let source = PullRequestSource::Local {
            path: self.repository().to_str().unwrap().to_owned(),
            base: commit.to_owned(),
            head: commit.to_owned(),
        };
        mirror_with(
            &self.settings,
            &source,
            &[commit],
            &CancellationToken::new(),
        )
        .await
    }

    async fn checkout(&self, commit: &str) -> Result<(), SourceError> {
        let mirror = self.mirror(commit).await?;
        let cancel = CancellationToken::new();
        checkout(&self.settings, &mirror, commit, &self.out(), &cancel).await
    }

    /// Writes and commits a tree that git itself would refuse to create.
    async fn hostile(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut tree = Vec::new();
        for (mode, name, id) in entries {
            tree.extend_from_slice(mode.as_bytes());
            tree.push(b' ');
            tree.extend_from_slice(name);
            tree.push(0);
            for at in (0..id.len()).step_by(2) {
                tree.push(u8::from_str_radix(&id[at..at + 2], 16).unwrap());
            }
        }
        let arguments = ["hash-object", "-t", "tree", "-w", "--stdin", "--literally"];
        self.id(&arguments, &tree).await
    }

    async fn blob(&self, text: &str) -> String {
        self.id(&["hash-object", "-w", "--stdin"], text.as_bytes())
            .await
    }

    async fn commit_tree(&self, tree: &str) -> String {
        let who = ["-c", "user.name=A", "-c", "user.email=a@forge.example"];
        let arguments = [&who[..], &["commit-tree", tree, "-m", "Hostile"]].concat();
        let commit = self.id(&arguments, b"").await;
        git(
            &self.repository(),
            ["update-ref", "refs/heads/hostile", &commit],
        )
        .await
        .unwrap();
        commit
    }

    async fn id(&self, arguments: &[&str], input: &[u8]) -> String {
        let id = git_with(&self.repository(), arguments, input)
            .await
            .unwrap();
        String::from_utf8(id).unwrap().trim().to_owned()
    }
}

fn file(text: &str) -> Entry {
    Entry::File(text.as_bytes().to_vec())
}

/// Returns all paths below a folder, sorted, with `/` after folders.
fn paths(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
            let mut name = String::from_utf8_lossy(name).into_owned();
            if entry.file_type().unwrap().is_dir() {
                name.push('/');
                folders.push(path);
            }
            found.push(name);
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_checkout_has_the_files_byte_for_byte() {
    let place = Place::new();
    let attributes = "* text eol=crlf filter=lfs ident working-tree-encoding=UTF-16\n";
    let bytes = b"a\r\nb\n\0\xff$Id$".to_vec();
    let commit = place
        .commit(vec![
            (b".gitattributes", file(attributes)),
            (b"d/e/bytes", Entry::File(bytes.clone())),
            (b"na\xefve.txt", file("")),
            (b"run.sh", Entry::Executable(b"#!/bin/sh\n".to_vec())),
            (b"module", Entry::Submodule("1".repeat(40))),
            (b"large", Entry::File(vec![b'x'; (32 << 20) + 1])),
        ])
        .await;
    place.checkout(&commit).await.unwrap();
    assert_eq!(std::fs::read(place.out().join("d/e/bytes")).unwrap(), bytes);
    assert_eq!(
        paths(&place.out()),
        [
            ".gitattributes",
            "d/",
            "d/e/",
            "d/e/bytes",
            "module/",
            "na\u{fffd}ve.txt",
            "run.sh"
        ]
    );
}

#[tokio::test]
async fn symlinks_that_lead_outside_are_left_out() {
    let place = Place::new();
    let link = |target: &str| Entry::Symlink(target.as_bytes().to_vec());
    let commit = place
        .commit(vec![
            (b"a/file", file("x")),
            (b"a/inside", link("../b")),
            (b"b", file("y")),
            (b"dot", link(".")),
            (b"a/absolute", link("/etc/passwd")),
            (b"a/above", link("../../x")),
            (b"through", link("dot/../../x")),
            (b"git", link(".git/config")),
            (b"long", link(&"x/".repeat(4000))),
        ])
        .await;
    place.checkout(&commit).await.unwrap();
    assert_eq!(
        paths(&place.out()),
        ["a/", "a/file", "a/inside", "b", "dot"]
    );
    assert_eq!(std::fs::read(place.out().join("a/inside")).unwrap(), b"y");
}

#[tokio::test]
async fn a_hostile_tree_is_refused_and_leaves_nothing() {
    let place = Place::new();
    place.commit(vec![(b"a", file("a"))]).await;
    let blob = place.blob("#!/bin/sh\n").await;
    let target = place.blob("..").await;
    let hooks = place.hostile(&[("100755", b"post-checkout", &blob)]).await;
    let git_folder = place.hostile(&[("40000", b"hooks", &hooks)]).await;
    let below = place.hostile(&[("100644", b"escaped", &blob)]).await;
    let trees = [
        place.hostile(&[("40000", b".git", &git_folder)]).await,
        place.hostile(&[("40000", b".GiT", &git_folder)]).await,
        place.hostile(&[("40000", b"git~1", &git_folder)]).await,
        place.hostile(&[("40000", b"..", &below)]).await,
        place.hostile(&[("100644", b"../escaped", &blob)]).await,
        place.hostile(&[("100644", b"/tmp/escaped", &blob)]).await,
        place.hostile(&[("100644", b".", &blob)]).await,
        // A symlink and a folder of the same name: the file would be written through the link.
        place
            .hostile(&[("120000", b"x", &target), ("40000", b"x", &below)])
            .await,
        place
            .hostile(&[("100644", b"x", &blob), ("40000", b"x", &below)])
            .await,
        place
            .hostile(&[("100644", b"x", &blob), ("100644", b"x", &blob)])
            .await,
    ];
    for tree in trees {
        let commit = place.commit_tree(&tree).await;
        let result = place.checkout(&commit).await;
        assert!(matches!(result, Err(SourceError::Refused(_))), "{result:?}");
        assert!(!place.out().exists());
        assert!(!place.out().with_file_name("escaped").exists());
    }
}

#[tokio::test]
async fn ten_thousand_files_take_seconds() {
    let place = Place::new();
    let paths: Vec<String> = (0..10_000)
        .map(|at| format!("d{}/e{}/f{at}.txt", at % 10, at % 100))
        .collect();
    let entries = paths
        .iter()
        .map(|path| (path.as_bytes(), file(&format!("{path}\n"))))
        .collect();
    let commit = place.commit(entries).await;
    let mirror = place.mirror(&commit).await.unwrap();
    let before = Instant::now();
    let cancel = CancellationToken::new();
    checkout(&place.settings, &mirror, &commit, &place.out(), &cancel)
        .await
        .unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(60),
        "{:?}",
        before.elapsed()
    );
    for path in &paths {
        let text = std::fs::read_to_string(place.out().join(path)).unwrap();
        assert_eq!(text.trim_end(), path);
    }
}

#[tokio::test]
async fn a_damaged_mirror_is_fetched_again() {
    let place = Place::new();
    let commit = place
        .commit(vec![(b"a", file("a")), (b"d/b", file("b"))])
        .await;
    let mirror = place.mirror(&commit).await.unwrap();
    // The mirror is no longer a repository.
    std::fs::remove_file(mirror.path.join("HEAD")).unwrap();
    place.checkout(&commit).await.unwrap();
    std::fs::remove_dir_all(place.out()).unwrap();
    // The damage of the objects is found when they are read, and the next attempt repairs it.
    damage(&mirror.path.join("objects"));
    let mut tries = 0;
    while let Err(error) = place.checkout(&commit).await {
        assert!(matches!(error, SourceError::Git { .. }), "{error:?}");
        tries += 1;
        assert!(tries < 2, "{error}");
    }
    assert_eq!(std::fs::read(place.out().join("d/b")).unwrap(), b"b");
}

/// Overwrites every object.
fn damage(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damage(&path);
        } else {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "damaged").unwrap();
        }
    }
}

#[tokio::test]
async fn a_checkout_does_not_write_into_a_folder_that_is_there() {
    let place = Place::new();
    let commit = place.commit(vec![(b"a", file("a"))]).await;
    std::fs::create_dir_all(place.out()).unwrap();
    std::fs::write(place.out().join("mine"), "mine").unwrap();
    assert!(place.checkout(&commit).await.is_err());
    assert_eq!(paths(&place.out()), ["mine"]);
}

#[tokio::test]
async fn a_cancelled_checkout_leaves_nothing() {
    let place = Place::new();
    let commit = place.commit(vec![(b"a", file("a"))]).await;
    let mirror = place.mirror(&commit).await.unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let result = checkout(&place.settings, &mirror, &commit, &place.out(), &cancel).await;
    assert!(matches!(result, Err(SourceError::Cancelled)), "{result:?}");
    assert!(!place.out().exists());
}
