//! Connections made from settings.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use entity::TaskId;
use platform::connect::{Platform, PlatformSettings};
use platform::queue::QueueSettings;
use platform::settings::{ExposeSecret, Reader, SettingErrors, Source};
use platform::telemetry::{TelemetrySettings, chain};
use testkit::builders;
use testkit::database::{TestDatabase, on_both_engines};

fn read(source: &impl Source) -> Result<PlatformSettings, SettingErrors> {
    let mut reader = Reader::new(source);
    let settings = PlatformSettings::read(&mut reader);
    reader.finish(settings)
}

/// Returns the refused variables.
fn refused(source: &impl Source) -> Vec<&'static str> {
    match read(source) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(|error| error.name).collect(),
    }
}

fn secrets(source: &impl Source) -> Vec<String> {
    let settings = read(source).expect("the settings are right");
    let secrets = settings.secrets.iter();
    secrets
        .map(|secret| secret.expose_secret().to_owned())
        .collect()
}

#[test]
fn without_settings_everything_stays_in_this_folder() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.database.url, "sqlite://data/membreak.db?mode=rwc");
    assert_eq!(settings.storage, "storage");
    assert!(settings.redis_url.is_none());
    assert_eq!(settings.redis_prefix, "membreak");
    assert_eq!(settings.queue, QueueSettings::default());
    assert!(settings.secrets.is_empty());
}

#[test]
fn the_database_is_beside_the_artifacts() {
    let settings = read(&[("STORAGE_DIR", "/srv/mb")]).unwrap();
    assert_eq!(
        settings.database.url,
        "sqlite:///srv/mb/membreak.db?mode=rwc"
    );
    let settings = read(&[("STORAGE_DIR", "s3://bucket/mb")]).unwrap();
    assert_eq!(settings.database.url, "sqlite://data/membreak.db?mode=rwc");
    assert_eq!(settings.storage, "s3://bucket/mb");
    let settings = read(&[("STORAGE_DIR", "file:///srv/mb")]).unwrap();
    assert_eq!(
        settings.database.url,
        "sqlite:///srv/mb/membreak.db?mode=rwc"
    );
}

#[test]
fn a_store_of_another_kind_is_not_taken_for_a_folder() {
    for storage in ["ftp://a/b", "S3://a/b", "gcs://a/b", "az://a/b", "://a"] {
        let errors = read(&[("STORAGE_DIR", storage)]).unwrap_err();
        let messages: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].starts_with("STORAGE_DIR"), "{messages:?}");
        assert!(
            messages[0].contains(storage) && messages[0].contains("gs://"),
            "{messages:?}"
        );
    }
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let bad = [
        ("DATABASE_URL", "mysql://localhost/x"),
        ("DATABASE_MAX_CONNECTIONS", "many"),
        ("REDIS_URL", "localhost"),
        ("REDIS_PREFIX", "a b"),
        ("LEASE_SECONDS", "-1"),
        ("RENEW_SECONDS", "45"),
        ("JOB_MAX_ATTEMPTS", "0"),
        ("JOB_BACKOFF_SECONDS", "1e300"),
        ("NOTIFY_AGAIN_SECONDS", "soon"),
    ];
    let mut names = refused(&bad);
    names.sort_unstable();
    let mut expected = bad.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(
        refused(&[("DATABASE_MAX_CONNECTIONS", "0")]),
        ["DATABASE_MAX_CONNECTIONS"]
    );
}

#[test]
fn spans_of_time_can_be_broken() {
    let settings = read(&[("LEASE_SECONDS", "1.5"), ("RENEW_SECONDS", "0.25")]).unwrap();
    assert_eq!(settings.queue.lease, Duration::from_millis(1500));
    assert_eq!(settings.queue.renew, Duration::from_millis(250));
}

#[test]
fn keys_and_passwords_are_secrets_and_plain_words_are_not() {
    let found = secrets(&[
        ("ANTHROPIC_API_KEY", "key-of-anthropic"),
        ("GITHUB_TOKEN", "token-of-github"),
        ("DATABASE_URL", "postgres://me:p%40ssw0rd@db/x"),
        ("REDIS_URL", "redis://:Another1@redis/"),
    ]);
    assert_eq!(
        found,
        [
            "key-of-anthropic",
            "token-of-github",
            "p@ssw0rd",
            "Another1"
        ]
    );
    let found = secrets(&[("DATABASE_URL", "postgres://postgres:postgres@db/x")]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn settings_are_shown_without_passwords() {
    let settings = read(&[
        ("DATABASE_URL", "postgres://me:p4ssword@db/x"),
        ("REDIS_URL", "redis://:p4ssword@redis/"),
        ("OPENAI_API_KEY", "p4ssword"),
    ])
    .unwrap();
    let shown = format!("{settings:?} {}", settings.database.address());
    assert!(!shown.contains("p4ssword"), "{shown}");
    assert!(shown.contains("postgres://me:…@db/x"), "{shown}");
    let redacted = settings.redactor();
    assert_eq!(redacted.redact("it is p4ssword"), "it is [redacted]");
}

#[test]
fn lists_flags_and_filters_are_read() {
    let source = [
        ("WORKER_QUEUES", " prepare, run:claude ,,"),
        ("FORGE_URLS", ","),
        ("LOG_LEVEL", "info,[bad"),
        ("LOG_FORMAT", "xml"),
    ];
    let mut reader = Reader::new(&source);
    let queues = reader.list("WORKER_QUEUES").unwrap();
    assert_eq!(queues, ["prepare", "run:claude"]);
    assert_eq!(reader.list("FORGE_URLS"), Some(Vec::new()));
    assert_eq!(reader.list("JUDGES"), None);
    let telemetry = TelemetrySettings::read(&mut reader);
    assert_eq!(
        telemetry,
        TelemetrySettings {
            filter: "info".to_owned(),
            json: false
        }
    );
    let errors = reader.finish(()).unwrap_err().0;
    let names: Vec<_> = errors.iter().map(|error| error.name).collect();
    assert_eq!(names, ["LOG_LEVEL", "LOG_FORMAT"]);
}

fn settings(folder: &Path, url: &str) -> PlatformSettings {
    let storage = folder.join("storage").display().to_string();
    let source: BTreeMap<String, String> = [
        ("DATABASE_URL".to_owned(), url.to_owned()),
        ("STORAGE_DIR".to_owned(), storage),
    ]
    .into();
    read(&source).expect("the settings are right")
}

#[tokio::test]
async fn a_fresh_installation_makes_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/down/membreak.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    let settings = settings(folder.path(), &url);
    // Several processes of one installation start together.
    let starts = (0..4).map(|_| Platform::connect(&settings));
    let platforms = futures::future::try_join_all(starts).await.unwrap();
    let task = builders::stored_task(&platforms[0].database).await.unwrap();
    let kept = platforms[1]
        .artifacts
        .put_text(&platforms[1].database, task, None, "a", "text/plain", "b")
        .await
        .unwrap();
    assert_eq!(platforms[2].artifacts.get(&kept).await.unwrap(), "b");
}

#[tokio::test]
async fn an_installation_is_found_again() {
    on_both_engines(async |test: &TestDatabase| {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), test.url());
        let task = {
            let platform = Platform::connect(&settings).await.unwrap();
            let task = builders::stored_task(&platform.database).await.unwrap();
            platform.database.close().await.unwrap();
            task
        };
        let platform = Platform::connect(&settings).await.unwrap();
        let mut readers = platform.event_notifier.subscribe();
        platform.event_notifier.notify(task).await;
        assert_eq!(readers.recv().await, Ok(task));
        platform.notifier.healthy().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn redis_that_does_not_answer_is_no_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a.db?mode=rwc", folder.path().display());
    let mut settings = settings(folder.path(), &url);
    // Port 1 of this host has no listener.
    settings.redis_url = Some(platform::settings::SecretString::from(
        "redis://127.0.0.1:1/",
    ));
    let platform = Platform::connect(&settings).await.unwrap();
    platform.event_notifier.notify(TaskId::new()).await;
    assert!(platform.notifier.healthy().await.is_err());
}

#[tokio::test]
async fn a_failed_connection_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let url = format!("sqlite://{}/a.db?mode=rwc", file.display());
    let failed = Platform::connect(&settings(folder.path(), &url)).await;
    let error = chain(&failed.err().expect("a file is no folder"));
    assert!(error.contains("file/a.db"), "{error}");

    // A server that is not PostgreSQL.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hang_up = async { while listener.accept().await.is_ok() {} };
    let settings = settings(
        folder.path(),
        &format!("postgres://me:p4ssword@{address}/x"),
    );
    let failed = tokio::select! {
        failed = Platform::connect(&settings) => failed,
        () = hang_up => panic!("the listener is closed"),
    };
    let error = chain(&failed.err().expect("it is no PostgreSQL"));
    assert!(
        error.contains(&format!("postgres://me:…@{address}/x")),
        "{error}"
    );
    assert!(!error.contains("p4ssword"), "{error}");
}
