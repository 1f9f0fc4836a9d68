//! `membreak judge` processes judgings only, and no other waiting job.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use domain::vocabulary::JobState;
use entity::{TaskId, job};
use platform::database::{self, DatabaseSettings};
use platform::queue::{self, Work};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::{Value, json};
use testkit::{builders, pull_requests};

/// The longest time that a service may take to start.
const START: Duration = Duration::from_secs(60);

fn membreak(folder: &Path, repository: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_membreak"));
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("STORAGE_DIR", folder)
        .env("LOCAL_REPOSITORIES", repository)
        .current_dir(folder);
    command
}

/// A process that ends with the test in any case.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A service, and the address of its interface.
fn serve(folder: &Path, repository: &Path) -> (Service, String) {
    let mut child = membreak(folder, repository)
        .args(["serve", "--port", "0"])
        .env("LOG_FORMAT", "json")
        .stderr(Stdio::piped())
        .spawn()
        .expect("membreak starts");
    let service_errors = child.stderr.take().expect("standard error");
    let service = Service(child);
    let (sender, address) = mpsc::channel();
    // The thread reads to the end: a pipe without a reader would block the program.
    std::thread::spawn(move || {
        for line in BufReader::new(service_errors).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening at http://") {
                let host = rest.split('/').next().unwrap_or_default();
                let _ = sender.send(format!("http://{host}"));
            }
        }
    });
    let address = address
        .recv_timeout(START)
        .expect("it says where it listens");
    (service, address)
}

#[tokio::test]
async fn other_waiting_tasks_are_not_processed() {
    let folder = tempfile::tempdir().expect("a folder");
    let repository = folder.path().join("repository");
    let fixture = pull_requests::all().into_iter().next().expect("fixtures");
    let (base, head) = fixture.commit(&repository).await.expect("a repository");
    let repository = repository.canonicalize().expect("a folder");
    let (service, address) = serve(folder.path(), &repository);
    let client = platform::http_client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let request = json!({
        "repo": repository, "base": base, "head": head,
        "agents": ["control-perfect"], "trials": 1,
    });
    let created: Value = client
        .post(format!("{address}/api/v1/tasks"))
        .json(&request)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let id = created["id"].as_str().expect("an id").to_owned();
    // The stream of events ends with the task.
    let events = client.get(format!("{address}/api/v1/logs/{id}/stream"));
    let events = events
        .send()
        .await
        .expect("events")
        .text()
        .await
        .expect("events");
    assert!(events.contains("completed"), "{events}");
    drop(service);

    let settings = DatabaseSettings {
        url: format!("sqlite://{}/membreak.db?mode=rwc", folder.path().display()),
        max_connections: 2,
    };
    let database = database::connect(&settings).await.expect("the database");
    let other = builders::stored_task(&database).await.expect("a task");
    let work = Work::PrepareTask { task: other };
    queue::enqueue(&database, &work).await.expect("a job");

    let judged = membreak(folder.path(), &repository)
        .args(["judge", &id, "--json"])
        .output()
        .expect("membreak starts");
    assert!(judged.status.success(), "{judged:?}");
    let document: Value = serde_json::from_slice(&judged.stdout).expect("one document");
    assert_eq!(document["judging"]["number"], 2);
    assert_eq!(document["leaderboard"][0]["overall_score"], 1.0);
    let job = of_task(&database, other).await;
    assert_eq!((job.state, job.attempt), (JobState::Queued, 0));
}

async fn of_task(database: &sea_orm::DatabaseConnection, task: TaskId) -> job::Model {
    job::Entity::find()
        .filter(job::Column::TaskId.eq(task))
        .one(database)
        .await
        .expect("the ledger")
        .expect("the job is there")
}
