//! Listening, and stopping.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on is a failed test"
)]

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::vocabulary::TaskStatus;
use testkit::database::TestDatabase;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::TestApi;

#[tokio::test]
async fn it_does_not_listen_to_other_machines_by_default() {
    let database = TestDatabase::sqlite().await.unwrap();
    let state = TestApi::on(&database).state;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = api::serve(listener, state, std::future::pending())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(
        refused.to_string().contains("ALLOW_PUBLIC_BIND"),
        "{refused}"
    );
}

#[tokio::test]
async fn it_does_not_run_open_where_single_sign_on_is_asked_for() {
    let database = TestDatabase::sqlite().await.unwrap();
    let mut state = TestApi::on(&database).state;
    let mut settings = state.settings.as_ref().clone();
    settings.auth.enabled = true;
    state.settings = Arc::new(settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = api::serve(listener, state, std::future::pending())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("SSO_ENABLED"), "{refused}");
}

#[tokio::test]
async fn it_stops_although_a_client_follows_a_task() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::on(&database);
    let task = api.task(TaskStatus::Running).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(api::serve(listener, api.state.clone(), async {
        stopped.await.ok();
    }));
    let client = platform::http_client::builder().no_proxy().build().unwrap();
    let mut stream = client
        .get(format!("http://{address}/api/v1/logs/{task}/stream"))
        .send()
        .await
        .unwrap();
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"retry: 2000\nid: 0\nevent: connected"));
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), serving).await;
    ended.unwrap().unwrap().unwrap();
    assert!(stream.chunk().await.unwrap().is_none());
}

/// Starts the service with invalid settings and returns its output.
fn refused(folder: &Path, variables: &[(&str, &OsStr)]) -> String {
    let mut process = Command::new(env!("CARGO_BIN_EXE_api"))
        .current_dir(folder)
        .env_clear()
        .env("PORT", "0")
        .env("STORAGE_DIR", folder)
        .envs(variables.iter().copied())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while process.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            process.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = process.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn a_bad_line_of_the_file_stops_the_start_before_its_consequences() {
    let folder = tempfile::tempdir().unwrap();
    let file = "LOG_LEVEL=warn\nGATEWAY_SECRET=quokka and kiwi\nSSO_ENABLED=true\n";
    std::fs::write(folder.path().join(".env"), file).unwrap();
    let told = refused(folder.path(), &[]);
    assert!(told.contains(".env, line 2 (GATEWAY_SECRET)"), "{told}");
    assert!(!told.contains("quokka"), "{told}");
}

#[test]
fn a_value_that_is_no_text_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = OsStr::from_bytes(b"true\xff");
    let told = refused(folder.path(), &[("SSO_ENABLED", bytes)]);
    assert!(told.contains("SSO_ENABLED: is not valid UTF-8"), "{told}");
    // Nor does the file go before it.
    std::fs::write(folder.path().join(".env"), "SSO_ENABLED=false\n").unwrap();
    let told = refused(folder.path(), &[("SSO_ENABLED", bytes)]);
    assert!(told.contains("SSO_ENABLED"), "{told}");
}
