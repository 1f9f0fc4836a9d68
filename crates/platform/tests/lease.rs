//! Leases: claiming, renewing, losing and finishing jobs.

mod support;

use std::time::Duration;

use chrono::Utc;
use domain::vocabulary::JobState;
use entity::{job, task};
use platform::queue::lease::{
    FenceError, Lease, Renewal, cancel, claim, fail, finish, release, renew, request_cancel,
};
use platform::queue::{Notification, QueueSettings, Work, enqueue, enqueue_all};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    TransactionTrait as _,
};
use support::{at_once, leased_job, no_lease, pool, row, task_and_run, waiting_job};
use testkit::database::{TestDatabase, on_both_engines};

/// Writes the task's repository for a job.
async fn write(database: &DatabaseConnection, lease: &Lease, text: &str) -> Result<(), FenceError> {
    let transaction = database.begin().await?;
    lease.fence(&transaction).await?;
    task::Entity::update_many()
        .col_expr(task::Column::Repo, Expr::value(text))
        .filter(task::Column::Id.eq(lease.task_id))
        .exec(&transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

async fn written(database: &DatabaseConnection, lease: &Lease) -> String {
    let task = task::Entity::find_by_id(lease.task_id).one(database).await;
    let task = task.expect("the database is there");
    task.expect("tasks are not deleted").repo
}

/// Claims a job again after its first lease has expired.
async fn take_over(database: &DatabaseConnection, lease: &Lease, owner: &str) -> Lease {
    let notification = Notification {
        queue: lease.work.queue(),
        job_id: lease.job_id,
        epoch: lease.epoch,
    };
    let taken = claim(database, &notification, owner, &QueueSettings::default()).await;
    let taken = taken.expect("the database is there");
    taken.expect("the lease has run out")
}

#[tokio::test]
async fn work_is_enqueued_once() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let (task, run) = task_and_run(&database).await;
        let works = [
            Work::PrepareTask { task },
            Work::RunAgent {
                task,
                run,
                agent: "control-lossy:0.5".to_owned(),
            },
            Work::JudgeRun { task, run },
            Work::FinishTask { task },
        ];
        let notifications = enqueue_all(&database, &works).await.unwrap();
        let queues: Vec<_> = notifications
            .iter()
            .map(|notification| notification.queue.as_str())
            .collect();
        assert_eq!(queues, ["prepare", "run:control-lossy", "judge", "finish"]);
        let again = futures::future::join_all(works.iter().map(|work| enqueue(&database, work)));
        let again: Result<Vec<_>, _> = again.await.into_iter().collect();
        assert_eq!(again.unwrap(), notifications);
        assert_eq!(job::Entity::find().count(&database).await.unwrap(), 4);
        assert_eq!(enqueue_all(&database, &[]).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn work_enqueued_in_a_transaction_that_fails_was_never_there() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let (task, _) = task_and_run(&database).await;
        let transaction = database.begin().await.unwrap();
        let notification = enqueue(&transaction, &Work::PrepareTask { task }).await;
        transaction.rollback().await.unwrap();
        let claimed = claim(&database, &notification.unwrap(), "me", &at_once()).await;
        assert_eq!(claimed.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_twenty_workers_claims_a_job() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let (work, notification) = waiting_job(&database).await;
        let claimants: Vec<_> = (0..20)
            .map(|number| {
                let (database, notification) = (database.clone(), notification.clone());
                tokio::spawn(async move {
                    claim(&database, &notification, &format!("w{number}"), &at_once()).await
                })
            })
            .collect();
        let mut leases = Vec::new();
        for claimant in claimants {
            leases.extend(claimant.await.unwrap().unwrap());
        }
        let [lease] = leases.as_slice() else {
            panic!("{leases:?}")
        };
        assert_eq!((lease.epoch, lease.attempt, &lease.work), (1, 1, &work));
        let row = row(&database, lease.job_id).await;
        assert_eq!(row.state, JobState::Leased);
        assert_eq!(row.lease_owner.as_ref(), Some(&lease.owner));
    })
    .await;
}

#[tokio::test]
async fn jobs_that_are_not_claimable_are_not_claimed() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let (_, notification) = waiting_job(&database).await;
        let of_the_future = Notification {
            epoch: 1,
            ..notification.clone()
        };
        let claimed = claim(&database, &of_the_future, "me", &at_once()).await;
        assert_eq!(claimed.unwrap(), None, "another epoch");

        let later = Utc::now() + Duration::from_secs(3600);
        job::Entity::update_many()
            .col_expr(job::Column::AvailableAt, Expr::value(later))
            .exec(&database)
            .await
            .unwrap();
        let claimed = claim(&database, &notification, "me", &at_once()).await;
        assert_eq!(claimed.unwrap(), None, "not due");

        let (work, notification) = waiting_job(&database).await;
        request_cancel(&database, work.task()).await.unwrap();
        let claimed = claim(&database, &notification, "me", &at_once()).await;
        assert_eq!(claimed.unwrap(), None, "cancelled");
    })
    .await;
}

#[tokio::test]
async fn an_expired_lease_can_be_claimed_while_attempts_are_left() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let (_, mut notification) = waiting_job(&database).await;
        for attempt in 1..=3 {
            let lease = claim(&database, &notification, "me", &no_lease())
                .await
                .unwrap();
            let lease = lease.expect("the one before has run out");
            assert_eq!((lease.attempt, lease.epoch), (attempt, i64::from(attempt)));
            notification.epoch = lease.epoch;
        }
        let claimed = claim(&database, &notification, "me", &no_lease()).await;
        assert_eq!(claimed.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_holds_cannot_be_claimed() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "me", &at_once()).await;
        let notification = Notification {
            queue: lease.work.queue(),
            job_id: lease.job_id,
            epoch: lease.epoch,
        };
        let claimed = claim(&database, &notification, "other", &at_once()).await;
        assert_eq!(claimed.unwrap(), None);
        write(&database, &lease, "mine").await.unwrap();
        assert_eq!(written(&database, &lease).await, "mine");
    })
    .await;
}

#[tokio::test]
async fn a_lost_lease_cannot_write() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let mine = leased_job(&database, "me", &no_lease()).await;
        // The lease has expired, but no other worker has claimed the job.
        write(&database, &mine, "mine").await.unwrap();
        // The next lease of the same worker is another lease.
        let taken = take_over(&database, &mine, "me").await;
        let refused = write(&database, &mine, "too late").await;
        assert!(
            matches!(refused, Err(FenceError::LeaseLost { epoch: 1, .. })),
            "{refused:?}"
        );
        assert!(finish(&database, &mine).await.is_err());
        assert!(cancel(&database, &mine).await.is_err());
        assert!(release(&database, &mine).await.is_err());
        assert!(
            fail(&database, &mine, "late", Some(Duration::ZERO), &at_once())
                .await
                .is_err()
        );
        assert_eq!(written(&database, &mine).await, "mine");
        write(&database, &taken, "taken").await.unwrap();
        assert_eq!(written(&database, &mine).await, "taken");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fenced_transaction_keeps_others_out_until_it_commits() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let mine = leased_job(&database, "me", &no_lease()).await;
        let transaction = database.begin().await.unwrap();
        mine.fence(&transaction).await.unwrap();
        let other = {
            let (database, mine) = (database.clone(), mine.clone());
            tokio::spawn(async move { take_over(&database, &mine, "other").await })
        };
        let early = tokio::time::timeout(Duration::from_millis(200), async {
            while !other.is_finished() {
                tokio::task::yield_now().await;
            }
        });
        assert!(early.await.is_err(), "claimed inside a fenced transaction");
        task::Entity::update_many()
            .col_expr(task::Column::Repo, Expr::value("whole"))
            .exec(&transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let other = other.await.unwrap();
        assert_eq!(other.epoch, 2);
        assert_eq!(written(&database, &mine).await, "whole");
        assert!(write(&database, &mine, "late").await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_renewal_returns_the_state_of_every_lease() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let held = leased_job(&database, "me", &at_once()).await;
        let wanted_back = leased_job(&database, "me", &at_once()).await;
        let expired = leased_job(&database, "me", &no_lease()).await;
        let lost = leased_job(&database, "me", &no_lease()).await;
        take_over(&database, &lost, "other").await;
        let done = leased_job(&database, "me", &at_once()).await;
        finish(&database, &done).await.unwrap();
        let leased = request_cancel(&database, wanted_back.task_id).await;
        assert_eq!(leased.unwrap(), 1);

        let before = row(&database, held.job_id).await.lease_until;
        let leases = [&held, &wanted_back, &expired, &lost, &done].map(Clone::clone);
        let renewals = renew(&database, &leases).await.unwrap();
        assert_eq!(
            renewals,
            [
                (held.job_id, Renewal::Held),
                (wanted_back.job_id, Renewal::CancelRequested),
                (expired.job_id, Renewal::Held),
                (lost.job_id, Renewal::Lost),
                (done.job_id, Renewal::Lost),
            ]
        );
        assert!(row(&database, held.job_id).await.lease_until > before);
        assert_eq!(renew(&database, &[]).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn finished_work_is_never_claimed_again() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "me", &at_once()).await;
        finish(&database, &lease).await.unwrap();
        let row = row(&database, lease.job_id).await;
        assert_eq!(row.state, JobState::Done);
        assert!(row.finished_at.is_some() && row.lease_owner.is_none());
        let notification = enqueue(&database, &lease.work).await.unwrap();
        let claimed = claim(&database, &notification, "me", &at_once()).await;
        assert_eq!(claimed.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_failed_attempt_waits_before_the_next() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let settings = QueueSettings {
            backoff: Duration::from_secs(100),
            ..QueueSettings::default()
        };
        let lease = leased_job(&database, "me", &settings).await;
        let before = Utc::now();
        let notification = fail(
            &database,
            &lease,
            "no luck",
            Some(Duration::ZERO),
            &settings,
        )
        .await;
        let notification = notification.unwrap().expect("there are attempts left");
        let row = row(&database, lease.job_id).await;
        assert_eq!((row.state, row.attempt), (JobState::Queued, 1));
        assert_eq!(row.last_error.as_deref(), Some("no luck"));
        let wait = (row.available_at - before).num_milliseconds();
        assert!((79_000..=121_000).contains(&wait), "{wait}");
        let claimed = claim(&database, &notification, "me", &settings).await;
        assert_eq!(claimed.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn failing_uses_up_the_attempts() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let settings = QueueSettings {
            max_attempts: 2,
            ..at_once()
        };
        let first = leased_job(&database, "me", &settings).await;
        let notification = fail(&database, &first, "once", Some(Duration::ZERO), &settings).await;
        let second = claim(&database, &notification.unwrap().unwrap(), "me", &settings).await;
        let second = second.unwrap().expect("it is due at once");
        assert_eq!((second.attempt, second.epoch), (2, 2));
        let end = fail(&database, &second, "twice", Some(Duration::ZERO), &settings).await;
        assert_eq!(end.unwrap(), None);
        let row = row(&database, first.job_id).await;
        assert_eq!(row.state, JobState::Failed);
        assert_eq!(row.last_error.as_deref(), Some("twice"));
    })
    .await;
}

#[tokio::test]
async fn a_failure_that_must_not_be_tried_again_is_final() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "me", &at_once()).await;
        let end = fail(&database, &lease, "never", None, &at_once()).await;
        assert_eq!(end.unwrap(), None);
        assert_eq!(row(&database, lease.job_id).await.state, JobState::Failed);
    })
    .await;
}

#[tokio::test]
async fn a_failed_attempt_of_cancelled_work_is_its_last() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "me", &at_once()).await;
        request_cancel(&database, lease.task_id).await.unwrap();
        let end = fail(
            &database,
            &lease,
            "killed",
            Some(Duration::ZERO),
            &at_once(),
        )
        .await;
        assert_eq!(end.unwrap(), None);
        let row = row(&database, lease.job_id).await;
        assert_eq!(row.state, JobState::Cancelled);
        assert!(row.finished_at.is_some());
    })
    .await;
}

#[tokio::test]
async fn cancelling_ends_queued_jobs_and_marks_leased_ones() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "me", &at_once()).await;
        let task = lease.task_id;
        let waits = enqueue(&database, &Work::FinishTask { task })
            .await
            .unwrap();
        let (_, of_another_task) = waiting_job(&database).await;
        assert_eq!(request_cancel(&database, task).await.unwrap(), 1);
        assert_eq!(request_cancel(&database, task).await.unwrap(), 1);

        let waited = row(&database, waits.job_id).await;
        assert_eq!(waited.state, JobState::Cancelled);
        assert!(waited.finished_at.is_some());
        let runs = row(&database, lease.job_id).await;
        assert_eq!(runs.state, JobState::Leased);
        assert!(runs.cancel_requested && runs.finished_at.is_none());
        let other = row(&database, of_another_task.job_id).await;
        assert_eq!(other.state, JobState::Queued);

        cancel(&database, &lease).await.unwrap();
        assert_eq!(request_cancel(&database, task).await.unwrap(), 0);
        let ended = row(&database, lease.job_id).await;
        assert_eq!(ended.state, JobState::Cancelled);
    })
    .await;
}

#[tokio::test]
async fn released_work_can_be_claimed_at_once_and_costs_no_attempt() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let lease = leased_job(&database, "me", &QueueSettings::default()).await;
        let notification = release(&database, &lease).await.unwrap();
        assert!(write(&database, &lease, "late").await.is_err());
        let next = claim(&database, &notification, "other", &QueueSettings::default()).await;
        let next = next.unwrap().expect("it waits");
        assert_eq!((next.attempt, next.epoch), (1, 2));
    })
    .await;
}
