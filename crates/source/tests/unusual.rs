//! Unusual but honest repositories: shallow, renamed, unrelated, wide, partly binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use domain::PullRequestSource;
use simulator::forge::Forge;
use simulator::repository::{Commit, Files, build_history, build_repository, git};
use source::{
    DiffLimits, ForgeSettings, Resolved, SourceError, SourceSettings, mirror_with, resolve,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const LIMITS: DiffLimits = DiffLimits {
    max_files: 50,
    patch_bytes: 1 << 20,
    file_bytes: 256 << 10,
};

/// A folder with repositories, and settings that allow them and one forge.
struct Place {
    folder: TempDir,
    settings: SourceSettings,
}

impl Place {
    fn new(forge: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = SourceSettings {
            work_dir: folder.path().join("work"),
            forge: ForgeSettings {
                base_urls: vec![forge.to_owned()],
                api_url: None,
                token: None,
                local_roots: vec![folder.path().to_owned()],
                timeout: Duration::from_secs(600),
                max_bytes: 4 << 30,
            },
        };
        Self { folder, settings }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn resolve(&self, source: &PullRequestSource) -> Result<Resolved, SourceError> {
        let cancel = CancellationToken::new();
        resolve(&self.settings, source, LIMITS, &cancel, &|_, _| {}).await
    }
}

fn local(path: &Path, base: &str, head: &str) -> PullRequestSource {
    PullRequestSource::Local {
        path: path.to_str().unwrap().to_owned(),
        base: base.to_owned(),
        head: head.to_owned(),
    }
}

fn files(pairs: &[(&str, &str)]) -> Files {
    let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), text.as_bytes().to_vec());
    pairs.iter().map(owned).collect()
}

fn paths(resolved: &Resolved) -> Vec<&str> {
    let files = resolved.pull_request.files.iter();
    files.map(|file| file.path.as_str()).collect()
}

#[tokio::test]
async fn a_branch_may_take_the_name_of_a_folder_of_branches() {
    let forge = Forge::start().await.unwrap();
    let place = Place::new(&forge.base_url());
    let change = (files(&[("a", "1\n")]), files(&[("a", "2\n")]));
    for number in [1, 2] {
        forge
            .add_pull_request("acme", "shop", number, &change.0, &change.1)
            .await
            .unwrap();
    }
    let repository = forge.repository("acme", "shop");
    let mut bases = Vec::new();
    for (number, branch, former) in [(1, "next", "main"), (2, "next/one", "next")] {
        let (from, to) = (
            format!("refs/heads/{former}"),
            format!("refs/heads/{branch}"),
        );
        let tip = git(&repository, ["rev-parse", from.as_str()])
            .await
            .unwrap();
        let tip = String::from_utf8(tip).unwrap();
        git(&repository, ["update-ref", "-d", from.as_str()])
            .await
            .unwrap();
        git(&repository, ["update-ref", to.as_str(), tip.trim()])
            .await
            .unwrap();
        git(&repository, ["symbolic-ref", "HEAD", to.as_str()])
            .await
            .unwrap();
        forge.publish("acme", "shop").await.unwrap();
        let source = PullRequestSource::Forge {
            base_url: forge.base_url(),
            owner: "acme".to_owned(),
            name: "shop".to_owned(),
            number,
        };
        let resolved = place.resolve(&source).await.unwrap();
        assert_eq!(paths(&resolved), ["a"]);
        bases.push(resolved.pull_request.base);
    }
    assert_ne!(bases[0], bases[1]);
}

#[tokio::test]
async fn a_shallow_clone_has_the_changes_that_it_has() {
    let place = Place::new("https://forge.invalid");
    let whole = place.path().join("whole");
    let commits: Vec<Commit> = (0..6)
        .map(|at| {
            let before = format!(":{at}");
            let parents: &[&str] = if at == 0 { &[] } else { &[&before] };
            let text = format!("{at}\n");
            Commit::from_files("refs/heads/main", parents, "More", &files(&[("a", &text)]))
        })
        .collect();
    build_history(&whole, &commits).await.unwrap();
    let address = format!("file://{}", whole.display());
    let clone = ["clone", "--quiet", "--depth", "3", &address, "shallow"];
    git(place.path(), clone).await.unwrap();
    let shallow = place.path().join("shallow");
    let resolved = place
        .resolve(&local(&shallow, "HEAD~2", "HEAD"))
        .await
        .unwrap();
    assert_eq!(paths(&resolved), ["a"]);
    let beyond = place.resolve(&local(&shallow, "HEAD~3", "HEAD")).await;
    assert!(matches!(beyond, Err(SourceError::Refused(_))), "{beyond:?}");
}

#[tokio::test]
async fn a_file_that_contains_a_nul_is_not_text() {
    let place = Place::new("https://forge.invalid");
    let repository = place.path().join("late");
    let lines = "a line of text\n".repeat(2_000);
    let mut base = files(&[("patched", &lines), ("plain", "1\n")]);
    base.insert("around".to_owned(), [lines.as_bytes(), b"\0\n"].concat());
    let mut head = base.clone();
    head.insert("patched".to_owned(), [lines.as_bytes(), b"\0\n"].concat());
    head.insert("plain".to_owned(), b"2\n".to_vec());
    head.insert(
        "around".to_owned(),
        [b"first\n", lines.as_bytes(), b"\0\n"].concat(),
    );
    let (base, head) = build_repository(&repository, &base, &head).await.unwrap();
    let resolved = place
        .resolve(&local(&repository, &base, &head))
        .await
        .unwrap();
    assert_eq!(paths(&resolved), ["plain"]);
    let dropped = &resolved.pull_request.dropped;
    assert_eq!(dropped.len(), 2);
    assert!(
        dropped.iter().all(|dropped| dropped.reason == "binary"),
        "{dropped:?}"
    );
}

#[tokio::test]
async fn histories_without_a_common_commit_are_refused() {
    let place = Place::new("https://forge.invalid");
    let repository = place.path().join("strangers");
    let one = Commit::from_files("refs/heads/one", &[], "One", &files(&[("a", "1\n")]));
    let other = Commit::from_files("refs/heads/other", &[], "Other", &files(&[("b", "1\n")]));
    build_history(&repository, &[one, other]).await.unwrap();
    let result = place.resolve(&local(&repository, "one", "other")).await;
    assert!(matches!(result, Err(SourceError::Refused(_))), "{result:?}");
}

#[tokio::test]
async fn a_commit_that_is_gone_is_refused_and_not_tried_again() {
    let place = Place::new("https://forge.invalid");
    let repository = place.path().join("gone");
    let change = (files(&[("a", "1\n")]), files(&[("a", "2\n")]));
    let (base, head) = build_repository(&repository, &change.0, &change.1)
        .await
        .unwrap();
    let gone = "1234567890123456789012345678901234567890";
    let source = local(&repository, &base, &head);
    let cancel = CancellationToken::new();
    let result = mirror_with(&place.settings, &source, &[gone], &cancel).await;
    assert!(matches!(result, Err(SourceError::Refused(_))), "{result:?}");
}

#[tokio::test]
async fn a_change_among_ten_thousand_files_is_found_in_seconds() {
    let place = Place::new("https://forge.invalid");
    let repository = place.path().join("wide");
    let base: Files = (0..10_000)
        .map(|at| {
            (
                format!("d{:02}/f{at}", at % 100),
                format!("{at}\n").into_bytes(),
            )
        })
        .collect();
    let mut head = base.clone();
    head.insert("d07/f7".to_owned(), b"changed\n".to_vec());
    let commits = [
        Commit::from_files("refs/heads/main", &[], "Base", &base),
        Commit::from_files("refs/heads/change", &[":1"], "Change", &head),
    ];
    build_history(&repository, &commits).await.unwrap();
    let begun = Instant::now();
    let resolved = place
        .resolve(&local(&repository, "main", "change"))
        .await
        .unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(paths(&resolved), ["d07/f7"]);
    assert_eq!(resolved.pull_request.other_paths.len(), 3_000);
}

/// Loose objects would let another run find a commit before its files, and a killed fetch would
/// leave such a commit behind.
#[tokio::test]
async fn a_fetched_commit_is_in_a_mirror_with_all_its_files_or_not_at_all() {
    let place = Place::new("https://forge.invalid");
    let repository = place.path().join("whole");
    let change = (files(&[("a", "1\n")]), files(&[("a", "2\n")]));
    let (base, head) = build_repository(&repository, &change.0, &change.1)
        .await
        .unwrap();
    let resolved = place
        .resolve(&local(&repository, &base, &head))
        .await
        .unwrap();
    let objects = std::fs::read_dir(resolved.mirror.path.join("objects")).unwrap();
    let mut names: Vec<_> = objects.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["info", "pack"]);
}
