//! An interface to test, and rows to test it with.

mod rows;

use std::sync::{Arc, Mutex};

use api::KnownAgent;
use api::settings::ApiSettings;
use api::state::ApiDependencies;
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use domain::vocabulary::TaskStatus;
use entity::TaskId;
use platform::artifacts::ArtifactStore;
use platform::connect::Platform;
use platform::notify::local::LocalEventNotifier;
use platform::notify::{Notifier, NotifyError, Subscriber};
use platform::queue::Notification;
use platform::queue::QueueSettings;
use platform::redaction::Redactor;
use platform::settings::Reader;
use serde_json::Value;
use tempfile::TempDir;
use testkit::database::{TestDatabase, on_both_engines};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) use rows::{Rows, RunRow};

/// A notifier that records notifications, and can fail.
#[derive(Default)]
pub(crate) struct RecordingNotifier {
    sent: Mutex<Vec<Notification>>,
    broken: Mutex<Option<Breakage>>,
}

/// Failure of the notifier.
#[derive(Clone, Copy)]
pub(crate) enum Breakage {
    Fails,
    NeverAnswers,
}

impl RecordingNotifier {
    pub(crate) fn sent(&self) -> Vec<Notification> {
        self.sent.lock().expect("no test panics in here").clone()
    }

    pub(crate) fn break_down(&self, how: Breakage) {
        *self.broken.lock().expect("no test panics in here") = Some(how);
    }

    async fn work(&self) -> Result<(), NotifyError> {
        let broken = *self.broken.lock().expect("no test panics in here");
        match broken {
            None => Ok(()),
            Some(Breakage::Fails) => Err(NotifyError {
                operation: "notifying",
                source: "out of order".into(),
            }),
            Some(Breakage::NeverAnswers) => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Notifier for RecordingNotifier {
    async fn notify(&self, notifications: &[Notification]) -> Result<(), NotifyError> {
        self.work().await?;
        self.sent
            .lock()
            .expect("no test panics in here")
            .extend_from_slice(notifications);
        Ok(())
    }

    async fn subscribe(
        &self,
        _: &str,
        _: &[String],
        _: Arc<Semaphore>,
        _: Arc<dyn Subscriber>,
        stop: CancellationToken,
    ) -> Result<(), NotifyError> {
        stop.cancelled().await;
        Ok(())
    }

    async fn trim(&self) -> Result<(), NotifyError> {
        Ok(())
    }

    async fn healthy(&self) -> Result<(), NotifyError> {
        self.work().await
    }
}

/// The interface on a database of its own.
pub(crate) struct TestApi {
    pub(crate) state: ApiDependencies,
    pub(crate) notifier: Arc<RecordingNotifier>,
    pub(crate) stopping: CancellationToken,
    pub(crate) router: Router,
    folder: TempDir,
}

/// Runs a test with an API on a fresh database of each engine.
pub(crate) async fn with_api(test: impl AsyncFn(TestApi)) {
    on_both_engines(async |database| test(TestApi::on(database)).await).await;
}

impl TestApi {
    /// Stores a task of the agent `claude` and returns its id.
    pub(crate) async fn task(&self, status: TaskStatus) -> TaskId {
        let task = TaskId::new();
        self.rows().task(task, status, &["claude"]).await;
        task
    }

    pub(crate) fn on(database: &TestDatabase) -> Self {
        Self::with(database, [])
    }

    /// With settings as in the environment.
    pub(crate) fn with<const N: usize>(
        database: &TestDatabase,
        settings: [(&str, &str); N],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let storage = folder.path().to_str().expect("its path is UTF-8");
        let notifier = Arc::new(RecordingNotifier::default());
        let platform = Platform {
            database: database.connection().clone(),
            notifier: notifier.clone(),
            event_notifier: Arc::new(LocalEventNotifier::default()),
            artifacts: ArtifactStore::open(storage, Redactor::default())
                .expect("a folder can be opened"),
            redactor: Redactor::default(),
            queue: QueueSettings::default(),
            rate_limit: None,
        };
        let mut reader = Reader::new(&settings);
        let settings = ApiSettings::read(&mut reader);
        let settings = reader.finish(settings).expect("the settings are good");
        let state = ApiDependencies {
            platform,
            settings: Arc::new(settings),
            known_agents: known_agents(),
        };
        let stopping = CancellationToken::new();
        Self {
            router: api::router(state.clone(), stopping.clone()),
            state,
            notifier,
            stopping,
            folder,
        }
    }

    /// The same with another notifier.
    pub(crate) fn with_notifier(mut self, notifier: impl Notifier) -> Self {
        self.state.platform.notifier = Arc::new(notifier);
        self.rebuilt()
    }

    /// The same API with changed state.
    pub(crate) fn rebuilt(mut self) -> Self {
        self.router = api::router(self.state.clone(), self.stopping.clone());
        self
    }

    /// The folder where files are kept.
    pub(crate) fn storage(&self) -> &str {
        self.folder.path().to_str().expect("its path is UTF-8")
    }

    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows(&self.state.platform)
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("a router has no errors");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX)
            .await
            .expect("the body can be read");
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes: bytes.to_vec(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, Body::empty())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, Body::empty()))
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(request(Method::POST, path, Body::from(body.to_string())))
            .await
    }

    /// Creates a task that is as good as any, and returns its id.
    pub(crate) async fn created(&self, body: &Value) -> String {
        let answer = self.post("/api/v1/tasks", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }
}

/// The settings of an installation behind a gateway.
pub(crate) const GATEWAY: [(&str, &str); 2] = [("SSO_ENABLED", "true"), ("GATEWAY_SECRET", SECRET)];
pub(crate) const SECRET: &str = "the secret of the gateway";

/// A request as the gateway hands it on.
pub(crate) fn from_gateway(
    method: Method,
    path: &str,
    body: Body,
    (org, team, role): (&str, Option<&str>, &str),
) -> Request<Body> {
    let mut request = request(method, path, body);
    let headers = request.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        headers.insert(name, value.parse().expect("a header"));
    };
    put("x-gateway-secret", SECRET);
    put("x-user-id", "ada");
    put("x-user-email", "ada@example.com");
    put("x-org-id", org);
    put("x-user-role", role);
    if let Some(team) = team {
        put("x-team-id", team);
    }
    request
}

/// A request with a JSON body.
pub(crate) fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body)
        .expect("the parts are good")
}

/// A response.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("the answer is JSON")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn known_agents() -> Arc<[KnownAgent]> {
    [
        ("iflow", false),
        ("claude", false),
        ("gemini", false),
        ("control-perfect", true),
        ("control-lossy", true),
    ]
    .map(|(name, control)| KnownAgent {
        name: name.to_owned(),
        display_name: name.to_owned(),
        control,
        takes_model: !control,
    })
    .into()
}
