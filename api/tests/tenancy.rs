//! No way leads from one organisation to another, nor from one team to another. The ways are taken
//! from the router's own description, so that a new one cannot be forgotten.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::vocabulary::TaskStatus;
use entity::TaskId;
use entity::task;
use platform::events::Event;
use platform::queue::Work;
use sea_orm::Set;
use serde_json::{Value, json};
use testkit::database::{TestDatabase, on_both_engines};

use crate::support::{Answer, GATEWAY, RunRow, TestApi, from_gateway};

/// Resources of another organisation.
struct Theirs {
    task: String,
    job: String,
    token: String,
    webhook: String,
}

impl Theirs {
    fn all(&self) -> [&str; 4] {
        [&self.task, &self.job, &self.token, &self.webhook]
    }
}

async fn ask(api: &TestApi, method: &Method, path: &str, who: (&str, Option<&str>)) -> Answer {
    let body = Body::from("{}");
    let request = from_gateway(method.clone(), path, body, (who.0, who.1, "admin"));
    api.send(request).await
}

async fn make(api: &TestApi, path: &str, body: &Value, who: (&str, Option<&str>)) -> String {
    let body = Body::from(body.to_string());
    let request = from_gateway(Method::POST, path, body, (who.0, who.1, "admin"));
    let answer = api.send(request).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// One of everything, all of it as open as it gets.
async fn furnish(api: &TestApi, org: &str, team: Option<&str>) -> Theirs {
    let rows = api.rows();
    let task = TaskId::new();
    rows.task_of(org, task, TaskStatus::Done, &["claude"]).await;
    let change = task::ActiveModel {
        team_id: Set(team.map(str::to_owned)),
        ..Default::default()
    };
    rows.change(task, change).await;
    let run = rows.run(task, RunRow::default()).await;
    rows.file(task, Some(run.id), "transcript", "text").await;
    rows.file(task, None, "task.log", "{}\n").await;
    rows.happened(task, None, vec![Event::TaskStarted {}]).await;
    rows.judging(task, 1).await;
    let job = rows.dead_job(&Work::FinishTask { task }).await;
    rows.completed(task).await;
    let token = make(
        api,
        "/api/v1/tokens",
        &json!({"name": "theirs"}),
        (org, team),
    )
    .await;
    let webhook = json!({"url": "https://hooks.example.com/theirs"});
    let webhook = make(api, "/api/v1/webhooks", &webhook, (org, team)).await;
    Theirs {
        task: task.to_string(),
        job: job.to_string(),
        token,
        webhook,
    }
}

/// The operations that the router describes, with the parts of the path filled in.
fn operations(document: &Value, theirs: &Theirs) -> Vec<(Method, String, String)> {
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().expect("paths") {
        let mut path = template.clone();
        for (name, value) in [
            ("{task_id}", theirs.task.as_str()),
            ("{job_id}", &theirs.job),
            ("{token_id}", &theirs.token),
            ("{webhook_id}", &theirs.webhook),
            ("{agent}", "claude"),
            ("{name}", "transcript"),
            ("{number}", "1"),
        ] {
            path = path.replace(name, value);
        }
        assert!(
            !path.contains('{'),
            "{path} has a part that this test does not know"
        );
        for method in item.as_object().expect("operations").keys() {
            let method = method.to_uppercase().parse().expect("a method");
            operations.push((method, path.clone(), template.clone()));
        }
    }
    operations
}

/// Requests all foreign resources as `stranger`.
pub(crate) async fn nothing_leads_across(
    owner: (&str, Option<&str>),
    stranger: (&str, Option<&str>),
) {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let theirs = furnish(&api, owner.0, owner.1).await;
        let document = api.get("/openapi.json").await.json();
        let mut crossed = 0;
        for (method, path, template) in operations(&document, &theirs) {
            let answer = ask(&api, &method, &path, stranger).await;
            if path != template {
                crossed += 1;
                assert_eq!(
                    answer.status,
                    StatusCode::NOT_FOUND,
                    "{method} {template}: {}",
                    answer.text()
                );
                // The same message as for missing resources.
                let mut nowhere = path.clone();
                for id in theirs.all() {
                    nowhere = nowhere.replace(id, "00000000-0000-4000-8000-00000000dead");
                }
                let unknown = ask(&api, &method, &nowhere, stranger).await;
                assert_eq!(
                    unknown.json()["error"],
                    answer.json()["error"],
                    "{template}"
                );
            } else if path.starts_with("/api/") {
                let text = answer.text();
                for id in theirs.all() {
                    assert!(!text.contains(id), "{method} {path} tells of {id}: {text}");
                }
            }
        }
        assert!(crossed >= 20, "only {crossed} ways were tried");
        // The owner finds all of it as it was.
        for (method, path, template) in operations(&document, &theirs) {
            if method == Method::GET && !path.contains("question-bank") {
                let answer = ask(&api, &method, &path, owner).await;
                assert!(answer.status.is_success(), "{template}: {}", answer.text());
            }
        }
        // The owner can change them, so they existed when the requests above were refused.
        let number = operations(&document, &theirs).len();
        for number in 0..number {
            let (method, _, template) = &operations(&document, &theirs)[number];
            if method == Method::GET || !template.contains('{') {
                continue;
            }
            let theirs = furnish(&api, owner.0, owner.1).await;
            let (method, path, template) = &operations(&document, &theirs)[number];
            let answer = ask(&api, method, path, owner).await;
            assert_ne!(
                answer.status,
                StatusCode::NOT_FOUND,
                "{method} {template}: {}",
                answer.text()
            );
        }
    })
    .await;
}

#[tokio::test]
async fn no_way_leads_from_one_organisation_to_another() {
    nothing_leads_across(("acme", None), ("umbrella", None)).await;
}

#[tokio::test]
async fn no_way_leads_from_one_team_to_another() {
    nothing_leads_across(("acme", Some("red")), ("acme", Some("blue"))).await;
}

#[tokio::test]
async fn a_caller_without_a_team_sees_the_whole_organisation() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::with(&database, GATEWAY);
    let theirs = furnish(&api, "acme", Some("red")).await;
    let path = format!("/api/v1/tasks/{}", theirs.task);
    let answer = ask(&api, &Method::GET, &path, ("acme", None)).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn every_route_below_api_needs_authentication() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let theirs = furnish(&api, "acme", None).await;
        let document = api.get("/openapi.json").await.json();
        for (method, path, template) in operations(&document, &theirs) {
            let request = crate::support::request(method.clone(), &path, Body::from("{}"));
            let answer = api.send(request).await;
            let open = !path.starts_with("/api/");
            assert_eq!(
                answer.status == StatusCode::UNAUTHORIZED,
                !open,
                "{method} {template}: {}",
                answer.status
            );
        }
        let unknown = api.get("/api/v1/nowhere").await;
        assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    })
    .await;
}

fn rust_files(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path.display().to_string()],
        })
        .collect()
}

/// The tests above take their routes from the OpenAPI document, so every route below `/api` must be
/// described there.
#[test]
fn every_route_below_api_is_described() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let files = rust_files(std::path::Path::new(sources));
    assert!(files.len() > 50, "{files:?}");
    let mut plain = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for way in [".route_service(", ".nest(", ".nest_service("] {
            assert!(!text.contains(way), "{file} has {way}");
        }
        for rest in text.split(".route(").skip(1) {
            plain += 1;
            let path = rest.trim_start();
            assert!(
                path.starts_with('"') && !path.starts_with("\"/api"),
                "{file}: {}",
                path.lines().next().unwrap_or_default()
            );
        }
    }
    assert!(plain >= 3, "the pages at / and /admin are plain routes");
}

#[tokio::test]
async fn figures_and_names_of_one_team_say_nothing_to_another() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        furnish(&api, "acme", Some("red")).await;
        for (who, tasks, dead) in [
            (("acme", Some("red")), 1, 1),
            (("acme", None), 1, 1),
            (("acme", Some("blue")), 0, 0),
            (("umbrella", Some("red")), 0, 0),
            (("umbrella", None), 0, 0),
        ] {
            let board = ask(&api, &Method::GET, "/api/v1/leaderboard", who).await;
            let board = board.json();
            assert_eq!(board["tasks"], tasks, "{who:?}: {board}");
            let rows = board["leaderboard"].as_array().map(Vec::len);
            assert_eq!(rows, Some(tasks), "{who:?}");
            let queues = ask(&api, &Method::GET, "/api/v1/queues", who).await.json();
            let counted: u64 = queues["queues"]
                .as_array()
                .unwrap()
                .iter()
                .map(|queue| queue["dead"].as_u64().unwrap())
                .sum();
            assert_eq!(counted, dead, "{who:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_never_leads_to_a_foreign_task() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let create = async |org, team| {
            let body = Body::from(body.to_string());
            let who = (org, team, "member");
            let mut asking = from_gateway(Method::POST, "/api/v1/tasks", body, who);
            let key = "build-17".parse().unwrap();
            asking.headers_mut().insert("idempotency-key", key);
            api.send(asking).await
        };
        let first = create("acme", Some("red")).await;
        assert_eq!(first.status, StatusCode::CREATED);
        let id = first.json()["id"].as_str().unwrap().to_owned();
        // Another organisation has names of its own.
        let elsewhere = create("umbrella", Some("red")).await;
        assert_eq!(elsewhere.status, StatusCode::CREATED);
        assert_eq!(elsewhere.header("idempotency-replayed"), None);
        assert_ne!(elsewhere.json()["id"], first.json()["id"]);
        // Another team of the same organisation learns that the key is taken, but not by which
        // task.
        let beside = create("acme", Some("blue")).await;
        assert_eq!(beside.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!beside.text().contains(&id), "{}", beside.text());
        let again = create("acme", Some("red")).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json()["id"], first.json()["id"]);
    })
    .await;
}
