//! Listening, and stopping.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use entity::TaskId;
use entity::status::TaskStatus;
use testkit::database::TestDatabase;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::TestApi;

#[tokio::test]
async fn it_does_not_listen_to_other_machines_without_being_told() {
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
async fn it_stops_although_somebody_follows_a_task() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::on(&database);
    let task = TaskId::new();
    api.rows()
        .task(task, TaskStatus::Running, &["claude"])
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(api::serve(listener, api.state.clone(), async {
        stopped.await.ok();
    }));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
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
