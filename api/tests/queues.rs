//! Queue depths and dead jobs.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::vocabulary::{FailureCause, JudgingStatus, RunStatus, TaskStatus};
use entity::{JobId, TaskId, task};
use platform::queue::Work;
use sea_orm::Set;
use serde_json::{Value, json};

use crate::support::{RunRow, request, with_api};

fn queue<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let queues = answer["queues"].as_array().expect("queues");
    queues
        .iter()
        .find(|queue| queue["name"] == name)
        .unwrap_or(&Value::Null)
}

#[tokio::test]
async fn queues_are_listed_with_depths_and_workers() {
    with_api(async |api| {
        let rows = api.rows();
        rows.worker("worker-1", chrono::Utc::now(), json!([])).await;
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        api.created(&body).await;
        let answer = api.get("/api/v1/queues").await.json();
        let prepare = queue(&answer, "prepare");
        assert_eq!(prepare["depth"], 1);
        assert_eq!(prepare["workers"], 1);
        assert!(prepare["oldest_age_seconds"].as_f64().unwrap() >= 0.0);
        assert_eq!(prepare["notifications"], Value::Null);
        assert_eq!(prepare["doorbells"], Value::Null);
        assert_eq!(answer["workers"][0]["name"], "worker-1");
        assert_eq!(answer["leases"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_dead_job_is_tried_again_or_taken_off_the_list() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Error, &["claude"]).await;
        let change = task::ActiveModel {
            base_sha: Set(Some("a".repeat(40))),
            probe_set_hash: Set(Some("c".repeat(64))),
            ..Default::default()
        };
        rows.change(task, change).await;
        let run = rows.run(task, RunRow::default()).await;
        rows.failed(run.id, FailureCause::Harness).await;
        let work = Work::RunAgent {
            task,
            run: run.id,
            agent: "claude".to_owned(),
        };
        let dead = rows.dead_job(&work).await;
        let finish = rows.dead_job(&Work::FinishTask { task }).await;
        let list = api.get("/api/v1/queues/dead?page_size=1").await.json();
        assert_eq!(list["total"], 2);
        assert_eq!(list["jobs"][0]["last_error"], "the provider was away");
        let cursor = list["next_cursor"].as_str().unwrap();
        let rest = api
            .get(&format!("/api/v1/queues/dead?cursor={cursor}"))
            .await
            .json();
        assert_eq!(rest["jobs"].as_array().unwrap().len(), 1);

        let gone = api.delete(&format!("/api/v1/queues/dead/{finish}")).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        assert_eq!(api.get("/api/v1/queues/dead").await.json()["total"], 1);
        let retry = format!("/api/v1/queues/dead/{dead}/retry");
        let again = api.send(request(Method::POST, &retry, Body::empty())).await;
        assert_eq!(again.status, StatusCode::NO_CONTENT, "{}", again.text());
        assert_eq!(rows.runs_of(task).await[0].status, RunStatus::Queued);
        assert_eq!(api.get("/api/v1/queues/dead").await.json()["total"], 0);
        let again = api.send(request(Method::POST, &retry, Body::empty())).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND);
        let done: Vec<String> = api.get("/api/v1/audit").await.json()["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["action"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(done, ["job.retry", "task.retry", "job.discard"]);
    })
    .await;
}

#[tokio::test]
async fn of_many_concurrent_retries_of_a_dead_job_one_succeeds() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        let judging = api
            .post(&format!("/api/v1/tasks/{task}/judge"), &json!({}))
            .await;
        assert_eq!(judging.status, StatusCode::ACCEPTED, "{}", judging.text());
        let dead = rows.dead_job(&Work::JudgeTask { task, judging: 2 }).await;
        let retry = format!("/api/v1/queues/dead/{dead}/retry");
        let asking = (0..8).map(|_| api.send(request(Method::POST, &retry, Body::empty())));
        let answers = futures::future::join_all(asking).await;
        let done = |status| {
            answers
                .iter()
                .filter(|answer| answer.status == status)
                .count()
        };
        assert_eq!(done(StatusCode::NO_CONTENT), 1);
        // Concurrent and later requests.
        assert_eq!(
            done(StatusCode::CONFLICT) + done(StatusCode::NOT_FOUND),
            7,
            "{:?}",
            answers
                .iter()
                .map(|answer| answer.status)
                .collect::<Vec<_>>()
        );
        assert_eq!(rows.jobs_of(task).await.len(), 1);
        let events = api.get("/api/v1/audit?action=job.retry").await.json();
        assert_eq!(events["events"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn finished_jobs_are_counted_periodically_and_queued_ones_at_once() {
    with_api(async |api| {
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        api.created(&body).await;
        let before = api.get("/api/v1/queues").await.json();
        assert_eq!(queue(&before, "prepare")["depth"], 1);
        let id = api.created(&body).await;
        api.created(&body).await;
        api.delete(&format!("/api/v1/tasks/{id}")).await;
        let after = api.get("/api/v1/queues").await.json();
        assert_eq!(queue(&after, "prepare")["depth"], 2);
        assert_eq!(queue(&after, "prepare")["cancelled"], 0);
        let fresh = api.rebuilt();
        let after = fresh.get("/api/v1/queues").await.json();
        assert_eq!(queue(&after, "prepare")["cancelled"], 1);
    })
    .await;
}

#[tokio::test]
async fn of_the_judgings_that_died_only_the_newest_is_tried_again() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        for number in 1..=3 {
            rows.judging(task, number).await;
        }
        rows.judging_is(task, 2, JudgingStatus::Error).await;
        let shown = task::ActiveModel {
            judging: Set(3),
            ..Default::default()
        };
        rows.change(task, shown).await;
        let old = rows.dead_job(&Work::JudgeTask { task, judging: 2 }).await;
        let retry = async |job: JobId| {
            let path = format!("/api/v1/queues/dead/{job}/retry");
            api.send(request(Method::POST, &path, Body::empty())).await
        };
        let refused = retry(old).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
        assert!(refused.text().contains("newest"), "{}", refused.text());
        // It stays on the list.
        assert_eq!(api.get("/api/v1/queues/dead").await.json()["total"], 1);
        let (done, error) = (JudgingStatus::Done, JudgingStatus::Error);
        assert_eq!(rows.judgings_of(task).await, [done, error, done]);

        // One that only lacks its documents keeps its figures.
        let newest = rows.dead_job(&Work::JudgeTask { task, judging: 3 }).await;
        assert_eq!(retry(newest).await.status, StatusCode::NO_CONTENT);
        assert_eq!(rows.judgings_of(task).await, [done, error, done]);

        rows.judging_is(task, 3, error).await;
        let newest = rows.dead_job(&Work::JudgeTask { task, judging: 3 }).await;
        assert_eq!(retry(newest).await.status, StatusCode::NO_CONTENT);
        let waits = JudgingStatus::Queued;
        assert_eq!(rows.judgings_of(task).await, [done, error, waits]);
    })
    .await;
}

#[tokio::test]
async fn a_judging_is_not_tried_again_while_runs_are_made_again() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        let run = rows.run(task, RunRow::default()).await;
        rows.failed(run.id, FailureCause::Provider).await;
        rows.judging(task, 1).await;
        rows.judging(task, 2).await;
        rows.judging_is(task, 2, JudgingStatus::Error).await;
        let dead = rows.dead_job(&Work::JudgeTask { task, judging: 2 }).await;
        let again = api
            .post(&format!("/api/v1/tasks/{task}/retry"), &json!({}))
            .await;
        assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.text());
        let retry = format!("/api/v1/queues/dead/{dead}/retry");
        let refused = api.send(request(Method::POST, &retry, Body::empty())).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
        assert!(refused.text().contains("not done"), "{}", refused.text());
        assert_eq!(rows.judgings_of(task).await[1], JudgingStatus::Error);
        assert_eq!(api.get("/api/v1/queues/dead").await.json()["total"], 1);
    })
    .await;
}
