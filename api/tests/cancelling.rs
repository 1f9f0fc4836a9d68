//! Calling a task off.

use std::time::Duration;

use axum::http::StatusCode;
use domain::vocabulary::{FailureCause, JobState, Level, RunStatus, TaskStatus};
use entity::{DeliveryId, TaskId, job};
use platform::events::{self, Event, NewEvent};
use platform::queue::{self, Notification, Work, lease};
use sea_orm::{ActiveModelTrait, Set, TransactionTrait};
use serde_json::json;

use crate::support::with_api;

const BODY: &str = "https://github.com/acme/widgets/pull/1";

#[tokio::test]
async fn a_queued_task_is_cancelled_at_once() {
    with_api(async |api| {
        let body = json!({"pr_url": BODY, "agents": ["claude"], "trials": 2});
        let id = api.created(&body).await;
        let task: TaskId = id.parse().unwrap();
        let answer = api.delete(&format!("/api/v1/tasks/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            answer.json(),
            json!({"message": "Task cancelled successfully"})
        );

        let row = api.rows().find_task(task).await;
        assert_eq!(row.status, TaskStatus::Cancelled);
        assert_eq!(row.failure_cause, Some(FailureCause::Cancelled));
        assert!(row.completed_at.is_some());
        for run in api.rows().runs_of(task).await {
            assert_eq!(run.status, RunStatus::Cancelled);
            assert_eq!(run.failure_cause, Some(FailureCause::Cancelled));
        }
        for job in api.rows().jobs_of(task).await {
            assert_eq!(job.state, JobState::Cancelled);
        }
        let kinds = api.rows().kinds_of(task).await;
        assert_eq!(
            kinds[kinds.len() - 4..],
            ["cancel_requested", "run_done", "run_done", "completed"]
        );
    })
    .await;
}

#[tokio::test]
async fn runs_of_a_worker_are_left_for_it_to_end() {
    with_api(async |api| {
        let id = api
            .created(&json!({"pr_url": BODY, "agents": ["claude"]}))
            .await;
        let task: TaskId = id.parse().unwrap();
        let platform = &api.state.platform;
        let notification = api.notifier.sent().remove(0);
        let lease = lease::claim(
            &platform.database,
            &notification,
            "a worker",
            &platform.queue,
        )
        .await
        .unwrap();
        assert!(lease.is_some());
        let answer = api.delete(&format!("/api/v1/tasks/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            api.rows().find_task(task).await.status,
            TaskStatus::Cancelled
        );
        let jobs = api.rows().jobs_of(task).await;
        assert_eq!(jobs[0].state, JobState::Leased);
        assert!(jobs[0].cancel_requested);
        let kinds = api.rows().kinds_of(task).await;
        assert!(kinds.contains(&"cancel_requested".to_owned()));
        assert!(!kinds.contains(&"completed".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_worker_in_the_middle_of_a_write_and_a_cancellation_do_not_wait_for_each_other() {
    with_api(async |api| {
        let body = json!({"pr_url": BODY, "agents": ["claude"]});
        let id = api.created(&body).await;
        let task: TaskId = id.parse().unwrap();
        let platform = &api.state.platform;
        let notification = api.notifier.sent().remove(0);
        let lease = lease::claim(
            &platform.database,
            &notification,
            "a worker",
            &platform.queue,
        )
        .await
        .unwrap()
        .unwrap();
        let transaction = platform.database.begin().await.unwrap();
        lease.fence(&transaction).await.unwrap();
        let path = format!("/api/v1/tasks/{id}");
        let cancelling = tokio::time::timeout(Duration::from_secs(20), api.delete(&path));
        let writing = async {
            let started = NewEvent {
                run: None,
                level: Level::Info,
                event: Event::TaskStarted {},
            };
            events::append(&transaction, task, &[started], &platform.redactor)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
        };
        let (cancelled, ()) = tokio::join!(cancelling, writing);
        assert_eq!(cancelled.unwrap().status, StatusCode::OK);
        let kinds = api.rows().kinds_of(task).await;
        assert_eq!(kinds[2], "task_started");
    })
    .await;
}

#[tokio::test]
async fn the_run_that_a_worker_holds_stays_as_it_is() {
    with_api(async |api| {
        let body = json!({"pr_url": BODY, "agents": ["claude"], "trials": 2});
        let id = api.created(&body).await;
        let task: TaskId = id.parse().unwrap();
        let runs = api.rows().runs_of(task).await;
        let mut held: job::ActiveModel = api.rows().jobs_of(task).await.remove(0).into();
        held.state = Set(JobState::Leased);
        held.run_id = Set(Some(runs[0].id));
        held.update(&api.state.platform.database).await.unwrap();
        api.delete(&format!("/api/v1/tasks/{id}")).await;
        let after = api.rows().runs_of(task).await;
        assert_eq!(after[0].status, RunStatus::Queued);
        assert_eq!(after[1].status, RunStatus::Cancelled);
    })
    .await;
}

#[tokio::test]
async fn a_finished_task_cannot_be_cancelled() {
    with_api(async |api| {
        for status in [TaskStatus::Done, TaskStatus::Error, TaskStatus::Cancelled] {
            let task = TaskId::new();
            api.rows().task(task, status, &["claude"]).await;
            let answer = api.delete(&format!("/api/v1/tasks/{task}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert_eq!(
                answer.json()["error"],
                "Task is already completed and cannot be cancelled"
            );
            assert_eq!(api.rows().find_task(task).await.status, status);
            assert!(api.rows().kinds_of(task).await.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn of_two_concurrent_cancellations_one_succeeds() {
    with_api(async |api| {
        let id = api
            .created(&json!({"pr_url": BODY, "agents": ["claude"]}))
            .await;
        let path = format!("/api/v1/tasks/{id}");
        let (one, other) = tokio::join!(api.delete(&path), api.delete(&path));
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400]);
        let kinds = api.rows().kinds_of(id.parse().unwrap()).await;
        let completed = kinds.iter().filter(|kind| *kind == "completed").count();
        assert_eq!(completed, 1);
    })
    .await;
}

/// A retried task can be cancelled while the message about its earlier end is pending.
#[tokio::test]
async fn messages_about_an_earlier_end_are_sent_all_the_same() {
    with_api(async |api| {
        let id = api
            .created(&json!({"pr_url": BODY, "agents": ["claude"]}))
            .await;
        let task: TaskId = id.parse().unwrap();
        let platform = &api.state.platform;
        let messages = [0; 2].map(|_| Work::DeliverWebhook {
            task,
            delivery: DeliveryId::new(),
        });
        let notifications = queue::enqueue_all(&platform.database, &messages)
            .await
            .unwrap();
        let lease = lease::claim(
            &platform.database,
            &notifications[0],
            "a worker",
            &platform.queue,
        )
        .await
        .unwrap();
        assert!(lease.is_some());
        let answer = api.delete(&format!("/api/v1/tasks/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        let state_of = async |notification: &Notification| {
            let jobs = api.rows().jobs_of(task).await;
            let job = jobs
                .into_iter()
                .find(|job| job.id == notification.job_id)
                .unwrap();
            (job.state, job.cancel_requested)
        };
        assert_eq!(state_of(&notifications[0]).await, (JobState::Leased, false));
        assert_eq!(state_of(&notifications[1]).await, (JobState::Queued, false));
        // No worker holds a run, so the log is complete.
        let kinds = api.rows().kinds_of(task).await;
        assert_eq!(kinds.last().unwrap(), "completed");
    })
    .await;
}
