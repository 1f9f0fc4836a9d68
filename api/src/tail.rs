//! The events of a task as they come: rows after a number, then waiting for more.
//!
//! One subscription per process hears of every task and wakes whoever watches that one, so a
//! hundred clients cost no more wake-ups from outside than one does. A reader holds at most one
//! page of rows and asks for the next only when its client has taken them: a slow client costs
//! itself time and nobody memory. Wake-ups may be lost, so a reader also looks once a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::{TaskId, task_event};
use platform::events::{self, Waker};
use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Events that are read at once.
pub(crate) const PAGE: u64 = 500;
/// How long a lost wake-up can hold an event back.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Watched = Arc<Mutex<HashMap<TaskId, watch::Sender<()>>>>;

/// Wakes the readers of tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tail {
    watched: Watched,
}

impl Tail {
    /// Begins to listen, until `stopping`.
    pub(crate) fn start(waker: &dyn Waker, stopping: CancellationToken) -> Self {
        let mut wakeups = waker.subscribe();
        let watched = Watched::default();
        let readers = watched.clone();
        tokio::spawn(async move {
            loop {
                let heard = tokio::select! {
                    () = stopping.cancelled() => return,
                    heard = wakeups.recv() => heard,
                };
                match heard {
                    Ok(task) => wake(&readers, Some(task)),
                    // Which tasks were missed is not known, so everybody looks.
                    Err(RecvError::Lagged(_)) => wake(&readers, None),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Self { watched }
    }

    /// A reader of one task's events after number `after`.
    pub(crate) fn reader(
        &self,
        database: DatabaseConnection,
        task: TaskId,
        after: i64,
    ) -> TailReader {
        let wakeups = lock(&self.watched)
            .entry(task)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe();
        TailReader {
            database,
            task,
            after,
            wakeups,
            watched: self.watched.clone(),
        }
    }
}

/// Wakes the readers of one task, or all.
fn wake(watched: &Watched, task: Option<TaskId>) {
    let watched = lock(watched);
    match task {
        Some(task) => {
            if let Some(readers) = watched.get(&task) {
                readers.send_replace(());
            }
        }
        None => watched.values().for_each(|readers| {
            readers.send_replace(());
        }),
    }
}

fn lock(watched: &Watched) -> std::sync::MutexGuard<'_, HashMap<TaskId, watch::Sender<()>>> {
    // The map is whole after every single step, also where a holder of the lock panicked.
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the events of one task in order.
pub(crate) struct TailReader {
    database: DatabaseConnection,
    task: TaskId,
    after: i64,
    wakeups: watch::Receiver<()>,
    watched: Watched,
}

impl TailReader {
    /// The next events, if there are any yet.
    pub(crate) async fn read(&mut self) -> Result<Vec<task_event::Model>, DbErr> {
        // Marked before the read: what comes while it runs wakes the next wait.
        self.wakeups.mark_unchanged();
        let page = events::read_after(&self.database, self.task, self.after, PAGE).await?;
        if let Some(last) = page.last() {
            self.after = last.seq;
        }
        Ok(page)
    }

    /// Waits until there may be something new.
    pub(crate) async fn wait(&mut self) {
        // Both ends of the wait mean the same: look again.
        let _ = tokio::time::timeout(LOOK_EVERY, self.wakeups.changed()).await;
    }
}

impl Drop for TailReader {
    fn drop(&mut self) {
        let mut watched = lock(&self.watched);
        // This reader still counts.
        let is_last = watched
            .get(&self.task)
            .is_some_and(|readers| readers.receiver_count() <= 1);
        if is_last {
            watched.remove(&self.task);
        }
    }
}
