//! The event log: no gap, no disorder, no secret.

mod support;

use std::collections::BTreeMap;

use domain::vocabulary::Level;
use entity::TaskId;
use platform::events::{Event, NewEvent, append, read_after};
use platform::notify::EventNotifier as _;
use platform::notify::local::LocalEventNotifier;
use platform::redaction::Redactor;
use sea_orm::{DatabaseConnection, TransactionTrait as _};
use support::{pool, task_and_run};
use testkit::builders;
use testkit::database::{TestDatabase, on_both_engines};

/// One of every kind. A new kind does not compile until it is here.
fn every_event() -> Vec<Event> {
    let agent = || "claude".to_owned();
    let text = || "text".to_owned();
    let trial = 1;
    let all = vec![
        Event::TaskCreated {
            agents: vec![agent()],
            trials: 3,
        },
        Event::TaskStarted {},
        Event::Progress {
            stage: text(),
            message: text(),
            percent: Some(50),
        },
        Event::FilesDropped {
            count: 1,
            reasons: vec![text()],
        },
        Event::ProbesMade {
            counts: BTreeMap::from([("AR".to_owned(), 12)]),
            hash: text(),
        },
        Event::RunQueued {
            agent: agent(),
            trial,
        },
        Event::RunStarted {
            agent: agent(),
            trial,
            attempt: 1,
        },
        Event::RunResumed {
            agent: agent(),
            trial,
            attempt: 2,
            from: text(),
        },
        Event::PhaseStarted {
            agent: agent(),
            trial,
            phase: text(),
        },
        Event::PhaseDone {
            agent: agent(),
            trial,
            phase: text(),
            duration_ms: 5,
        },
        Event::Turn {
            agent: agent(),
            trial,
            turn: 1,
            context: Some(9),
            window: None,
        },
        Event::ToolCalled {
            agent: agent(),
            trial,
            tool: text(),
            target: text(),
            sealed: false,
        },
        Event::BreakSeen {
            agent: agent(),
            trial,
            trigger: text(),
            tokens_before: Some(9),
            tokens_after: None,
        },
        Event::NoBreak {
            agent: agent(),
            trial,
            why: text(),
        },
        Event::SealBroken {
            agent: agent(),
            trial,
            tool: text(),
        },
        Event::Answered {
            agent: agent(),
            trial,
            arm: text(),
            done: 1,
            of: 2,
        },
        Event::Retry {
            agent: agent(),
            trial,
            message: text(),
        },
        Event::RunJudged {
            agent: agent(),
            trial,
            overall_score: Some(0.5),
            passed: None,
        },
        Event::RunDone {
            agent: agent(),
            trial,
            status: text(),
        },
        Event::RunFailed {
            agent: agent(),
            trial,
            cause: text(),
            message: text(),
            will_retry: true,
        },
        Event::CancelRequested { by: None },
        Event::TaskRetried { by: None, runs: 2 },
        Event::Completed {
            status: text(),
            message: None,
        },
    ];
    for event in &all {
        match event {
            Event::TaskCreated { .. }
            | Event::TaskStarted {}
            | Event::Progress { .. }
            | Event::FilesDropped { .. }
            | Event::ProbesMade { .. }
            | Event::RunQueued { .. }
            | Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::PhaseStarted { .. }
            | Event::PhaseDone { .. }
            | Event::Turn { .. }
            | Event::ToolCalled { .. }
            | Event::BreakSeen { .. }
            | Event::NoBreak { .. }
            | Event::SealBroken { .. }
            | Event::Answered { .. }
            | Event::Retry { .. }
            | Event::RunJudged { .. }
            | Event::RunDone { .. }
            | Event::RunFailed { .. }
            | Event::CancelRequested { .. }
            | Event::TaskRetried { .. }
            | Event::Completed { .. } => {}
        }
    }
    all
}

fn new(event: Event) -> NewEvent {
    NewEvent {
        run: None,
        level: Level::Info,
        event,
    }
}

fn turn(agent: &str, turn: u32) -> NewEvent {
    new(Event::Turn {
        agent: agent.to_owned(),
        trial: 1,
        turn,
        context: None,
        window: None,
    })
}

async fn appended(database: &DatabaseConnection, task: TaskId, events: &[NewEvent]) {
    let all = async {
        let transaction = database.begin().await?;
        append(&transaction, task, events, &Redactor::default()).await?;
        transaction.commit().await
    };
    all.await.expect("the task is there");
}

#[test]
fn the_kind_of_an_event_is_its_tag() {
    let mut kinds = Vec::new();
    for event in every_event() {
        let stored = serde_json::to_value(&event).unwrap();
        assert_eq!(stored["type"], event.kind());
        kinds.push(event.kind());
        let read: Event = serde_json::from_value(stored).unwrap();
        assert_eq!(read, event);
        assert_eq!(event.is_last(), event.kind() == "completed");
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), every_event().len());
}

#[tokio::test]
async fn events_are_read_as_they_were_appended() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let (task, run) = task_and_run(&database).await;
        let other = builders::stored_task(&database).await.unwrap();
        let events: Vec<_> = every_event()
            .into_iter()
            .map(|event| NewEvent {
                run: Some(run),
                level: Level::Warning,
                event,
            })
            .collect();
        appended(&database, task, &events).await;
        appended(&database, other, &[new(Event::TaskStarted {})]).await;
        appended(&database, task, &[]).await;

        let read = read_after(&database, task, 0, 100).await.unwrap();
        assert_eq!(read.len(), events.len());
        for (seq, (row, event)) in (1..).zip(read.iter().zip(&events)) {
            assert_eq!((row.seq, row.task_id, row.run_id), (seq, task, Some(run)));
            assert_eq!(
                (row.level, row.kind.as_str()),
                (Level::Warning, event.event.kind())
            );
            let payload: Event = serde_json::from_value(row.payload.clone()).unwrap();
            assert_eq!(payload, event.event);
        }
        let some = read_after(&database, task, 3, 2).await.unwrap();
        assert_eq!(some.iter().map(|row| row.seq).collect::<Vec<_>>(), [4, 5]);
        let last = i64::try_from(events.len()).unwrap();
        let none = read_after(&database, task, last, 100).await.unwrap();
        assert_eq!(none, []);
    })
    .await;
}

#[tokio::test]
async fn thousands_of_events_are_appended_at_once() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let task = builders::stored_task(&database).await.unwrap();
        let events: Vec<_> = (1..=1234).map(|number| turn("a", number)).collect();
        appended(&database, task, &events).await;
        let read = read_after(&database, task, 1230, 100).await.unwrap();
        let turns: Vec<_> = read
            .iter()
            .map(|row| row.payload["turn"].as_u64())
            .collect();
        assert_eq!(turns, [1231, 1232, 1233, 1234].map(Some));
    })
    .await;
}

#[tokio::test]
async fn a_task_that_is_not_there_takes_no_events() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let task = TaskId::new();
        let outcome = append(&database, task, &[turn("a", 1)], &Redactor::default()).await;
        assert!(outcome.is_err());
    })
    .await;
}

#[tokio::test]
async fn an_event_that_is_taken_back_leaves_no_gap() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let task = builders::stored_task(&database).await.unwrap();
        appended(&database, task, &[turn("a", 1)]).await;
        let transaction = database.begin().await.unwrap();
        append(&transaction, task, &[turn("a", 2)], &Redactor::default())
            .await
            .unwrap();
        transaction.rollback().await.unwrap();
        appended(&database, task, &[turn("a", 3)]).await;
        let read = read_after(&database, task, 0, 100).await.unwrap();
        assert_eq!(read.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_of_many_writers_sees_every_number_in_its_turn() {
    const WRITERS: u32 = 8;
    const EACH: u32 = 15;
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let task = builders::stored_task(&database).await.unwrap();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let database = database.clone();
                tokio::spawn(async move {
                    for number in (1..=EACH).map(|number| number * 2) {
                        let events = [
                            turn(&writer.to_string(), number - 1),
                            turn(&writer.to_string(), number),
                        ];
                        appended(&database, task, &events).await;
                    }
                })
            })
            .collect();
        let mut seen = Vec::new();
        while seen.len() < usize::try_from(WRITERS * EACH * 2).unwrap() {
            let after = i64::try_from(seen.len()).unwrap();
            // A number that became visible before a smaller one would leave a gap here.
            let next = read_after(&database, task, after, 7).await.unwrap();
            for (seq, row) in (after + 1..).zip(&next) {
                assert_eq!(row.seq, seq);
            }
            seen.extend(next);
        }
        for writer in writers {
            writer.await.unwrap();
        }
        for writer in 0..WRITERS {
            let writer = writer.to_string();
            let own = seen.iter().filter(|row| row.payload["agent"] == writer);
            let turns: Vec<_> = own.filter_map(|row| row.payload["turn"].as_u64()).collect();
            assert!(turns.is_sorted(), "{turns:?}");
            assert_eq!(turns.len(), 2 * usize::try_from(EACH).unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_is_stored_without_secrets() {
    on_both_engines(async |test: &TestDatabase| {
        let database = pool(test).await;
        let task = builders::stored_task(&database).await.unwrap();
        // A secret with the same text as a tag does not damage the tag.
        let secrets = ["correct horse".to_owned(), "files_dropped".to_owned()];
        let event = new(Event::FilesDropped {
            count: 1,
            reasons: vec!["it said correct horse\0".to_owned()],
        });
        append(&database, task, &[event], &Redactor::new(secrets))
            .await
            .unwrap();
        let read = read_after(&database, task, 0, 1).await.unwrap();
        assert_eq!(read[0].payload["type"], "files_dropped");
        assert_eq!(read[0].payload["reasons"][0], "it said [redacted]\u{fffd}");
    })
    .await;
}

#[tokio::test]
async fn every_reader_of_this_process_is_notified() {
    let event_notifier = LocalEventNotifier::new();
    let task = TaskId::new();
    event_notifier.notify(task).await;
    let (mut one, mut other) = (
        event_notifier.subscribe(),
        event_notifier.clone().subscribe(),
    );
    event_notifier.notify(task).await;
    assert_eq!(one.recv().await, Ok(task));
    assert_eq!(other.recv().await, Ok(task));
    assert!(one.try_recv().is_err());
}
