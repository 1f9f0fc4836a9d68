//! A worker with its own database, artifact store and folder, and tasks for it.

#![expect(dead_code, reason = "every test file uses its own part")]

pub(crate) mod controls;
pub(crate) mod repository;
pub(crate) mod scripted;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agents::adapter::AgentAdapter;
use agents::sandbox::Mode;
use domain::vocabulary::{Level, TaskStatus};
use entity::{TaskId, agent_run, answer, task, task_event};
use platform::artifacts::{self, ArtifactStore};
use platform::connect::Platform;
use platform::notify::local::LocalEventNotifier;
use platform::notify::local::LocalNotifier;
use platform::queue::QueueSettings;
use platform::redaction::Redactor;
use results::document::ResultDocument;
use results::load::result_document;
use sea_orm::{ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder};
use source::ForgeSettings;
use tempfile::TempDir;
use testkit::database::TestDatabase;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::WorkerError;
use worker::settings::{AgentSettings, JudgeSettings, WorkerSettings};

/// Everything that outlives a worker.
pub(crate) struct Installation {
    pub(crate) platform: Platform,
    pub(crate) folder: TempDir,
    _database: Option<TestDatabase>,
}

/// A running worker.
pub(crate) struct RunningWorker {
    pub(crate) stop: CancellationToken,
    pub(crate) ended: JoinHandle<Result<(), WorkerError>>,
}

impl RunningWorker {
    /// Stops it and waits.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// Short leases, for tests of lost workers.
pub(crate) fn quick() -> QueueSettings {
    QueueSettings {
        lease: Duration::from_secs(3),
        renew: Duration::from_millis(500),
        backoff: Duration::from_millis(100),
        ..QueueSettings::default()
    }
}

impl Installation {
    pub(crate) async fn new() -> Self {
        Self::with(quick()).await
    }

    pub(crate) async fn with(ledger: QueueSettings) -> Self {
        let database = TestDatabase::sqlite().await.unwrap();
        let installation = Self::on(database.connection().clone(), ledger);
        Self {
            _database: Some(database),
            ..installation
        }
    }

    /// Creates an installation on a database of the caller.
    pub(crate) fn on(database: DatabaseConnection, ledger: QueueSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Redactor::default();
        let storage = folder.path().join("storage").display().to_string();
        let platform = Platform {
            database,
            notifier: Arc::new(LocalNotifier::new()),
            event_notifier: Arc::new(LocalEventNotifier::new()),
            artifacts: ArtifactStore::open(&storage, redactor.clone()).unwrap(),
            redactor,
            queue: ledger,
            rate_limit: None,
        };
        Self {
            platform,
            folder,
            _database: None,
        }
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn settings(&self, name: &str) -> WorkerSettings {
        WorkerSettings {
            name: name.to_owned(),
            queues: Vec::new(),
            slots: 4,
            work_dir: self.work_dir(),
            drain: Duration::from_millis(100),
            run_timeout: Duration::from_secs(120),
            turn_timeout: Duration::from_secs(60),
            provider_wait: Duration::ZERO,
            max_context_tokens: 200_000,
            max_turns: 40,
            agents: AgentSettings {
                sandbox: Mode::None,
                ..AgentSettings::default()
            },
            judges: JudgeSettings::default(),
            webhooks: worker::settings::WebhookSettings {
                private_addresses: true,
                wait: Duration::from_millis(100),
            },
            forge: ForgeSettings {
                base_urls: Vec::new(),
                api_url: None,
                token: None,
                local_roots: vec![self.folder.path().to_owned()],
                timeout: Duration::from_secs(60),
                max_bytes: 1 << 30,
            },
        }
    }

    pub(crate) fn start(&self, name: &str, adapters: Vec<Arc<dyn AgentAdapter>>) -> RunningWorker {
        self.start_with(self.settings(name), adapters)
    }

    pub(crate) fn start_with(
        &self,
        settings: WorkerSettings,
        adapters: Vec<Arc<dyn AgentAdapter>>,
    ) -> RunningWorker {
        let stop = CancellationToken::new();
        let ended = tokio::spawn(worker::run(
            settings,
            self.platform.clone(),
            adapters,
            stop.clone(),
        ));
        RunningWorker { stop, ended }
    }

    pub(crate) async fn task(&self, id: TaskId) -> task::Model {
        task::Entity::find_by_id(id)
            .one(&self.platform.database)
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn runs(&self, id: TaskId) -> Vec<agent_run::Model> {
        agent_run::Entity::find()
            .filter(agent_run::Column::TaskId.eq(id))
            .order_by_asc(agent_run::Column::Id)
            .all(&self.platform.database)
            .await
            .unwrap()
    }

    pub(crate) async fn answers(&self, run: entity::RunId) -> Vec<answer::Model> {
        answer::Entity::find()
            .filter(answer::Column::RunId.eq(run))
            .all(&self.platform.database)
            .await
            .unwrap()
    }

    pub(crate) async fn events(&self, id: TaskId) -> Vec<task_event::Model> {
        platform::events::read_after(&self.platform.database, id, 0, 100_000)
            .await
            .unwrap()
    }

    pub(crate) async fn kinds(&self, id: TaskId) -> Vec<String> {
        let events = self.events(id).await;
        events.into_iter().map(|event| event.kind).collect()
    }

    /// Returns the remarks of a task: its progress events of level `warning`.
    pub(crate) async fn remarks(&self, id: TaskId) -> Vec<String> {
        self.events(id)
            .await
            .into_iter()
            .filter(|event| event.kind == "progress" && event.level == Level::Warning)
            .filter_map(|event| Some(event.payload["message"].as_str()?.to_owned()))
            .collect()
    }

    pub(crate) async fn artifact(
        &self,
        id: TaskId,
        run: Option<entity::RunId>,
        name: &str,
    ) -> String {
        let bytes = self.artifact_bytes(id, run, name).await;
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) async fn artifact_bytes(
        &self,
        id: TaskId,
        run: Option<entity::RunId>,
        name: &str,
    ) -> Vec<u8> {
        let found = artifacts::find(&self.platform.database, id, run, name)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("there is no artifact {name}"));
        let bytes = self.platform.artifacts.get(&found).await.unwrap();
        bytes.to_vec()
    }

    pub(crate) async fn result(&self, id: TaskId) -> ResultDocument {
        result_document(&self.platform.database, id)
            .await
            .unwrap()
            .unwrap()
    }

    /// Waits until a task has ended, including its last event.
    pub(crate) async fn ended(&self, id: TaskId) -> task::Model {
        self.wait(id, "the end of the task", |_, kinds| {
            kinds.iter().any(|kind| kind == "completed")
        })
        .await;
        let task = self.task(id).await;
        assert!(task.status.is_final(), "{:?}", task.status);
        task
    }

    /// Waits until a run is in a phase.
    pub(crate) async fn reached(&self, id: TaskId, phase: &str) {
        loop {
            let runs = self.runs(id).await;
            if runs.iter().any(|run| run.phase.as_deref() == Some(phase)) {
                return;
            }
            self.next_event(id, &format!("phase {phase}")).await;
        }
    }

    pub(crate) async fn wait(
        &self,
        id: TaskId,
        what: &str,
        condition: impl Fn(TaskStatus, &[String]) -> bool,
    ) {
        loop {
            let (task, kinds) = (self.task(id).await, self.kinds(id).await);
            if condition(task.status, &kinds) {
                return;
            }
            self.next_event(id, what).await;
        }
    }

    /// Waits a short time for the next notification of a task, because one may be missed.
    async fn next_event(&self, id: TaskId, what: &str) {
        static STARTED: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let started = STARTED.get_or_init(std::time::Instant::now);
        if started.elapsed() > Duration::from_secs(180) {
            let runs = self.runs(id).await;
            panic!("{what} did not come: {runs:#?} {:#?}", self.kinds(id).await);
        }
        let mut woken = self.platform.event_notifier.subscribe();
        // A notification or the next poll, as for every reader of events.
        let _ = tokio::time::timeout(Duration::from_millis(50), woken.recv()).await;
    }
}
