//! Pull requests of a forge, with its API and without, and attacks by a forge.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::time::Duration;

use domain::PullRequestSource;
use simulator::forge::Forge;
use simulator::repository::{Files, git};
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
const TOKEN: &str = "a-token-that-nobody-sees";

struct Place {
    folder: TempDir,
    settings: SourceSettings,
    told: Mutex<Vec<String>>,
}

impl Place {
    fn new(base_url: &str, api_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = SourceSettings {
            work_dir: folder.path().join("work"),
            forge: ForgeSettings {
                base_urls: vec![base_url.to_owned()],
                api_url: Some(api_url.to_owned()),
                token: Some(TOKEN.into()),
                local_roots: Vec::new(),
                timeout: Duration::from_secs(600),
                max_bytes: 4 << 30,
            },
        };
        Self {
            folder,
            settings,
            told: Mutex::default(),
        }
    }

    fn of(forge: &Forge) -> Self {
        Self::new(&forge.base_url(), &forge.api_url())
    }

    async fn resolve(&self, source: &PullRequestSource) -> Result<Resolved, SourceError> {
        let told = |stage: &'static str, line: String| {
            self.told.lock().unwrap().push(format!("{stage}: {line}"));
        };
        resolve(
            &self.settings,
            source,
            LIMITS,
            &CancellationToken::new(),
            &told,
        )
        .await
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }
}

fn files(pairs: &[(&str, &str)]) -> Files {
    pairs
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

async fn forge_with_one() -> (Forge, String, String) {
    let forge = Forge::start().await.unwrap();
    let (base, head) = forge
        .add_pull_request(
            "acme",
            "shop",
            7,
            &files(&[("a", "1\n")]),
            &files(&[("a", "2\n")]),
        )
        .await
        .unwrap();
    (forge, base, head)
}

fn source(base_url: &str, number: u64) -> PullRequestSource {
    PullRequestSource::Forge {
        base_url: base_url.to_owned(),
        owner: "acme".to_owned(),
        name: "shop".to_owned(),
        number,
    }
}

fn refusal(result: Result<Resolved, SourceError>) -> String {
    match result {
        Err(SourceError::Refused(message)) => message,
        other => unreachable!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_pull_request_is_read_from_api_and_repository() {
    let (forge, base, head) = forge_with_one().await;
    let place = Place::of(&forge);
    let pull_request = place
        .resolve(&source(&forge.base_url(), 7))
        .await
        .unwrap()
        .pull_request;
    assert_eq!(pull_request.title.as_deref(), Some("Change 7"));
    assert_eq!((pull_request.base, pull_request.head), (base, head));
    assert_eq!(pull_request.files.len(), 1);
    assert_eq!(forge.api_requests(), 1);
    let sent = forge.authorizations();
    assert!(
        sent.contains(&format!("Bearer {TOKEN}")),
        "the API wants the token"
    );
    assert!(
        sent.iter().any(|value| value.starts_with("Basic ")),
        "git wants it too"
    );
    assert!(!place.told().contains(TOKEN));
}

#[tokio::test]
async fn without_the_api_the_default_branch_is_the_base() {
    let (forge, base, head) = forge_with_one().await;
    forge.set_api_down(true);
    let place = Place::of(&forge);
    let pull_request = place
        .resolve(&source(&forge.base_url(), 7))
        .await
        .unwrap()
        .pull_request;
    assert_eq!(pull_request.title, None);
    assert_eq!((pull_request.base, pull_request.head), (base, head));
    assert!(place.told().contains("500"), "{}", place.told());
    assert!(place.told().contains("default branch"), "{}", place.told());
}

#[tokio::test]
async fn a_merged_pull_request_is_still_the_change_it_was() {
    let (forge, base, head) = forge_with_one().await;
    let repository = forge.repository("acme", "shop");
    let who = [
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@forge.example",
        "commit-tree",
    ];
    let tree = format!("{head}^{{tree}}");
    let merge = who
        .into_iter()
        .chain([tree.as_str(), "-p", &base, "-p", &head, "-m", "Merge"]);
    let merge = String::from_utf8(git(&repository, merge).await.unwrap()).unwrap();
    let merge = merge.trim().to_owned();
    let later = who
        .into_iter()
        .chain([tree.as_str(), "-p", &merge, "-m", "Later"]);
    let later = String::from_utf8(git(&repository, later).await.unwrap()).unwrap();
    git(&repository, ["update-ref", "refs/heads/main", later.trim()])
        .await
        .unwrap();
    forge.publish("acme", "shop").await.unwrap();
    for api_is_down in [false, true] {
        forge.set_api_down(api_is_down);
        let place = Place::of(&forge);
        let resolved = place.resolve(&source(&forge.base_url(), 7)).await.unwrap();
        assert_eq!(resolved.pull_request.base, base);
        assert_eq!(resolved.pull_request.files.len(), 1);
    }
}

#[tokio::test]
async fn a_base_that_the_api_invents_is_not_used() {
    let (forge, base, head) = forge_with_one().await;
    let place = Place::of(&forge);
    let invented = "0123456789".repeat(4);
    for (branch, sha) in [
        ("main", invented.as_str()),
        ("main:refs/heads/x", &base),
        ("main", "--upload-pack=x"),
        ("../main", &base),
    ] {
        forge.describe("acme", "shop", 7, branch, sha, &head);
        let resolved = place.resolve(&source(&forge.base_url(), 7)).await.unwrap();
        assert_eq!(resolved.pull_request.base, base, "{branch} {sha}");
    }
}

#[tokio::test]
async fn a_pull_request_or_a_repository_that_does_not_exist_is_refused() {
    let (forge, ..) = forge_with_one().await;
    let place = Place::of(&forge);
    let message = refusal(place.resolve(&source(&forge.base_url(), 8)).await);
    assert!(message.contains("no such ref"), "{message}");
    refusal(place.resolve(&source(&forge.base_url(), 0)).await);
    let nowhere = PullRequestSource::Forge {
        base_url: forge.base_url(),
        owner: "acme".to_owned(),
        name: "nowhere".to_owned(),
        number: 1,
    };
    let message = refusal(place.resolve(&nowhere).await);
    assert!(message.contains("does not exist"), "{message}");
}

#[tokio::test]
async fn only_forges_of_the_settings_are_asked() {
    let (forge, ..) = forge_with_one().await;
    let place = Place::of(&forge);
    let host = forge.base_url().replace("http://", "");
    for base_url in [
        "https://github.com".to_owned(),
        format!("https://{host}"),
        format!("http://user:word@{host}"),
        format!("http://{host}/"),
        format!("http://{host}@elsewhere.example"),
        format!("ext::sh -c http://{host}"),
    ] {
        let message = refusal(place.resolve(&source(&base_url, 7)).await);
        assert!(message.contains("FORGE_URLS"), "{message}");
        assert!(!message.contains("user:word"), "{message}");
    }
    for part in ["..", ".", "", "a/b", "-x", "a b", "a\n"] {
        let hostile = PullRequestSource::Forge {
            base_url: forge.base_url(),
            owner: "acme".to_owned(),
            name: part.to_owned(),
            number: 7,
        };
        let message = refusal(place.resolve(&hostile).await);
        assert!(message.contains("not a valid name"), "{message}");
    }
    assert_eq!(forge.api_requests() + forge.repository_requests(), 0);
}

#[tokio::test]
async fn a_redirect_of_a_forge_is_not_followed() {
    let (forge, ..) = forge_with_one().await;
    forge.set_redirecting(true);
    let place = Place::of(&forge);
    let message = refusal(place.resolve(&source(&forge.base_url(), 7)).await);
    assert!(message.contains("redirects"), "{message}");
    assert!(!message.contains(TOKEN));
}

#[tokio::test]
async fn a_repository_around_the_workers_folder_changes_nothing() {
    let (forge, base, _) = forge_with_one().await;
    forge.set_api_down(true);
    let place = Place::of(&forge);
    let around = place.folder.path();
    git(around, ["init", "--quiet"]).await.unwrap();
    let setting = ["url.http://127.0.0.1:1/.insteadOf", &forge.base_url()];
    git(around, ["config", setting[0], setting[1]])
        .await
        .unwrap();
    let resolved = place.resolve(&source(&forge.base_url(), 7)).await.unwrap();
    assert_eq!(resolved.pull_request.base, base);
}

#[tokio::test]
async fn two_at_once_share_one_mirror() {
    let forge = Forge::start().await.unwrap();
    for number in [1, 2] {
        let text = format!("{number}\n");
        forge
            .add_pull_request(
                "acme",
                "shop",
                number,
                &files(&[("a", "0\n")]),
                &files(&[("a", &text)]),
            )
            .await
            .unwrap();
    }
    let place = Place::of(&forge);
    let (first, second) = (source(&forge.base_url(), 1), source(&forge.base_url(), 2));
    let (one, two, again) = tokio::join!(
        place.resolve(&first),
        place.resolve(&second),
        place.resolve(&first)
    );
    let (one, two, again) = (one.unwrap(), two.unwrap(), again.unwrap());
    assert_eq!(one.mirror, two.mirror);
    assert_eq!(one.pull_request, again.pull_request);
    assert_eq!(two.pull_request.files[0].head_text.as_deref(), Some("2\n"));
}

#[tokio::test]
async fn a_commit_that_is_there_is_not_fetched_again_and_a_missing_one_is() {
    let (forge, base, head) = forge_with_one().await;
    let source = source(&forge.base_url(), 7);
    let place = Place::of(&forge);
    let cancel = CancellationToken::new();
    let first = mirror_with(&place.settings, &source, &[&head, &base], &cancel)
        .await
        .unwrap();
    let requests = forge.repository_requests();
    assert!(requests > 0);
    let second = mirror_with(&place.settings, &source, &[&head], &cancel)
        .await
        .unwrap();
    assert_eq!(first, second);
    assert_eq!(forge.repository_requests(), requests);
    let unknown = "ab".repeat(20);
    assert!(
        mirror_with(&place.settings, &source, &[&unknown], &cancel)
            .await
            .is_err()
    );
    for text in ["main", "--all", ""] {
        let refused = mirror_with(&place.settings, &source, &[text], &cancel).await;
        assert!(
            matches!(refused, Err(SourceError::Refused(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_repository_over_the_limit_is_refused_and_leaves_nothing() {
    let (forge, ..) = forge_with_one().await;
    let mut place = Place::of(&forge);
    place.settings.forge.max_bytes = 100;
    let message = refusal(place.resolve(&source(&forge.base_url(), 7)).await);
    assert!(message.contains("GIT_MAX_BYTES"), "{message}");
    let mirrors = std::fs::read_dir(place.settings.work_dir.join("mirrors")).unwrap();
    let left: Vec<_> = mirrors
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

/// Starts a server that accepts connections and never responds. Returns its address and a receiver
/// that reports a connection.
async fn silent_server() -> (String, tokio::sync::oneshot::Receiver<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let first = listener.accept().await;
        let _ = sender.send(());
        // Both stay open until the test ends.
        let _held = (first, listener);
        std::future::pending::<()>().await;
    });
    (format!("http://{address}"), receiver)
}

/// Returns the number of processes with this text in their command line.
fn processes_with(text: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(text))
        .count()
}

async fn none_left(text: &str) {
    let gone = async {
        while processes_with(text) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("git is gone");
}

#[tokio::test]
async fn cancelling_ends_git_and_its_children() {
    let (base_url, connected) = silent_server().await;
    let mut place = Place::new(&base_url, &base_url);
    place.settings.forge.api_url = None;
    let cancel = CancellationToken::new();
    let source = source(&base_url, 7);
    let silent = |_: &'static str, _: String| {};
    let resolving = resolve(&place.settings, &source, LIMITS, &cancel, &silent);
    let stopping = async {
        connected.await.unwrap();
        assert!(processes_with(&base_url) > 0);
        assert_eq!(
            processes_with(TOKEN),
            0,
            "command lines are no place for a token"
        );
        cancel.cancel();
    };
    let (resolved, ()) = tokio::join!(resolving, stopping);
    assert!(
        matches!(resolved, Err(SourceError::Cancelled)),
        "{resolved:?}"
    );
    none_left(&base_url).await;
}

#[tokio::test]
async fn a_git_command_is_killed_when_its_caller_is_dropped() {
    let (base_url, connected) = silent_server().await;
    let mut place = Place::new(&base_url, &base_url);
    place.settings.forge.api_url = None;
    let source = source(&base_url, 7);
    tokio::select! {
        _ = place.resolve(&source) => unreachable!("the server never answers"),
        _ = connected => {}
    }
    none_left(&base_url).await;
}

#[tokio::test]
async fn a_forge_that_never_responds_times_out() {
    let (base_url, _connected) = silent_server().await;
    let mut place = Place::new(&base_url, &base_url);
    place.settings.forge.api_url = None;
    place.settings.forge.timeout = Duration::from_secs(1);
    let resolved = place.resolve(&source(&base_url, 7)).await;
    assert!(
        matches!(resolved, Err(SourceError::TimedOut { .. })),
        "{resolved:?}"
    );
    none_left(&base_url).await;
}
