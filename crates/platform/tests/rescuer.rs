//! The rescuer recovers lost work.

mod support;

use std::time::Duration;

use domain::vocabulary::{JobState, RunStatus, TaskStatus};
use entity::{agent_run, job, task};
use platform::queue::QueueSettings;
use platform::queue::lease::{claim, fail, request_cancel};
use platform::queue::rescuer::{Rescued, rescue};
use platform::queue::{Work, enqueue, enqueue_all};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseConnection, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, TransactionTrait as _,
};
use support::{at_once, leased_job, no_lease, pool, row, task_and_run, waiting_job};
use testkit::builders;
use testkit::database::{TestDatabase, on_both_engines};

async fn rescued(database: &DatabaseConnection, settings: &QueueSettings) -> Rescued {
    rescue(database, settings)
        .await
        .expect("the database is there")
}

#[tokio::test]
async fn a_lost_notification_is_repeated_after_a_while() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let patient = QueueSettings {
            notify_again: Duration::from_secs(3600),
            ..QueueSettings::default()
        };
        let (_, notification) = waiting_job(&database).await;
        assert_eq!(rescued(&database, &patient).await, Rescued::default());
        assert_eq!(rescued(&database, &at_once()).await.notify, [notification]);
        assert_eq!(rescued(&database, &patient).await, Rescued::default());
    })
    .await;
}

#[tokio::test]
async fn no_notification_is_sent_for_work_that_is_not_due() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let settings = QueueSettings {
            backoff: Duration::from_secs(3600),
            ..at_once()
        };
        let lease = leased_job(&database, "me", &settings).await;
        assert_eq!(rescued(&database, &settings).await, Rescued::default());
        fail(
            &database,
            &lease,
            "no luck",
            Some(Duration::ZERO),
            &settings,
        )
        .await
        .unwrap();
        assert_eq!(rescued(&database, &settings).await, Rescued::default());
    })
    .await;
}

#[tokio::test]
async fn work_of_a_dead_worker_returns_to_the_queue() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "dead", &no_lease()).await;
        let notifications = rescued(&database, &at_once()).await.notify;
        let [notification] = notifications.as_slice() else {
            panic!("{notifications:?}")
        };
        assert!(lease.fence(&database).await.is_err());
        let next = claim(&database, notification, "other", &at_once()).await;
        let next = next.unwrap().expect("it waits");
        assert_eq!((next.attempt, &next.work), (2, &lease.work));
        let row = row(&database, lease.job_id).await;
        assert!(row.last_error.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_is_renewed_is_left_alone() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "me", &at_once()).await;
        assert_eq!(rescued(&database, &at_once()).await, Rescued::default());
        lease.fence(&database).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn work_whose_last_lease_ran_out_is_named_until_its_run_has_ended() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let settings = QueueSettings {
            max_attempts: 1,
            ..no_lease()
        };
        let lease = leased_job(&database, "dead", &settings).await;
        let named = Rescued {
            failed: vec![lease.work.clone()],
            ..Rescued::default()
        };
        assert_eq!(rescued(&database, &settings).await, named);
        assert_eq!(row(&database, lease.job_id).await.state, JobState::Failed);
        assert_eq!(rescued(&database, &settings).await, named);
        agent_run::Entity::update_many()
            .col_expr(agent_run::Column::Status, Expr::value(RunStatus::Error))
            .exec(&database)
            .await
            .unwrap();
        assert_eq!(rescued(&database, &settings).await, Rescued::default());
    })
    .await;
}

#[tokio::test]
async fn a_task_whose_work_failed_is_named_until_it_has_ended() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let (task, _) = task_and_run(&database).await;
        let work = Work::PrepareTask { task };
        let notification = enqueue(&database, &work).await.unwrap();
        let lease = claim(&database, &notification, "me", &at_once())
            .await
            .unwrap();
        fail(&database, &lease.unwrap(), "bad", None, &at_once())
            .await
            .unwrap();
        assert_eq!(rescued(&database, &at_once()).await.failed, [work]);
        task::Entity::update_many()
            .col_expr(task::Column::Status, Expr::value(TaskStatus::Error))
            .exec(&database)
            .await
            .unwrap();
        assert_eq!(rescued(&database, &at_once()).await, Rescued::default());
    })
    .await;
}

#[tokio::test]
async fn work_to_be_cancelled_ends_even_if_its_worker_died() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "dead", &no_lease()).await;
        let held = leased_job(&database, "alive", &at_once()).await;
        for task in [lease.task_id, held.task_id] {
            request_cancel(&database, task).await.unwrap();
        }
        let named = Rescued {
            cancelled: vec![lease.work.clone()],
            ..Rescued::default()
        };
        assert_eq!(rescued(&database, &at_once()).await, named);
        let ended = row(&database, lease.job_id).await;
        assert_eq!(ended.state, JobState::Cancelled);
        assert!(ended.finished_at.is_some());
        assert_eq!(row(&database, held.job_id).await.state, JobState::Leased);
    })
    .await;
}

#[tokio::test]
async fn at_most_a_thousand_notifications_are_repeated_per_queue() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let mut works = Vec::new();
        let task = builders::stored_task(&database).await.unwrap();
        let runs: Vec<_> = (0..1200)
            .map(|trial| builders::run(task, "claude", trial))
            .collect();
        for runs in runs.chunks(400) {
            let rows = runs
                .iter()
                .map(|run| run.clone().into_active_model().reset_all());
            agent_run::Entity::insert_many(rows)
                .exec_without_returning(&database)
                .await
                .unwrap();
            works.extend(runs.iter().map(|run| Work::JudgeRun { task, run: run.id }));
        }
        works.push(Work::PrepareTask { task });
        let notifications = enqueue_all(&database, &works).await.unwrap();
        assert_eq!(notifications.len(), 1201);
        let rescued_notifications = rescued(&database, &at_once()).await.notify;
        let judge = rescued_notifications
            .iter()
            .filter(|notification| notification.queue == "judge");
        assert_eq!((judge.count(), rescued_notifications.len()), (1000, 1001));
        // The oldest jobs stay first: later ones are notified only after the oldest are claimed.
        let mut again = rescued(&database, &at_once()).await.notify;
        again.sort_by_key(|notification| notification.job_id);
        let mut first = rescued_notifications.clone();
        first.sort_by_key(|notification| notification.job_id);
        assert_eq!(again, first);
        job::Entity::update_many()
            .col_expr(job::Column::State, Expr::value(JobState::Done))
            .filter(job::Column::Id.is_in(first.iter().map(|notification| notification.job_id)))
            .exec(&database)
            .await
            .unwrap();
        assert_eq!(rescued(&database, &at_once()).await.notify.len(), 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_rescuers_process_every_job_once() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        for _ in 0..10 {
            leased_job(&database, "dead", &no_lease()).await;
        }
        let settings = QueueSettings {
            notify_again: Duration::from_secs(3600),
            ..QueueSettings::default()
        };
        let rescuers: Vec<_> = (0..8)
            .map(|_| {
                let database = database.clone();
                tokio::spawn(async move { rescue(&database, &settings).await })
            })
            .collect();
        let mut notified = Vec::new();
        for rescuer in rescuers {
            notified.extend(rescuer.await.unwrap().unwrap().notify);
        }
        // The next pass finds jobs that were skipped because another one had locked them.
        notified.extend(rescued(&database, &settings).await.notify);
        notified.sort_by_key(|notification| notification.job_id);
        let all = notified.len();
        notified.dedup();
        assert_eq!((notified.len(), all), (10, 10));
    })
    .await;
}

#[tokio::test]
async fn a_rescuer_skips_locked_jobs() {
    // SQLite has one writer at a time, so there is nothing to skip.
    let Some(test) = TestDatabase::postgres().await.unwrap() else {
        return;
    };
    let database = pool(&test).await;
    let lease = leased_job(&database, "slow", &no_lease()).await;
    let transaction = database.begin().await.unwrap();
    lease.fence(&transaction).await.unwrap();
    assert_eq!(rescued(&database, &at_once()).await, Rescued::default());
    transaction.commit().await.unwrap();
    assert_eq!(rescued(&database, &at_once()).await.notify.len(), 1);
}
