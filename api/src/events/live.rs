//! Live events of tasks, read once per process for all clients.
//!
//! One reader receives notifications of tasks with new events. It also polls all followed tasks
//! once a second, because a notification may be lost. It stores new events in a window per task,
//! from which each client reads at its own pace. A client behind the window reads older events from
//! cached pages, which all such clients share. Events never change, so cached pages stay valid.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::vocabulary::{RunStatus, TaskStatus};
use entity::{RunId, TaskId};
use moka::future::Cache;
use platform::events;
use platform::notify::EventNotifier;
use platform::telemetry::chain;
use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::events::frame::Frame;
use crate::tenancy;

/// Events per query.
const PAGE: u64 = 500;
/// Polling interval, and so the largest delay after a lost notification.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Limits in bytes: of all windows together, of the largest and of the smallest window.
const ALL_WINDOWS: usize = 32 * 1024 * 1024;
const LARGEST_WINDOW: usize = 512 * 1024;
const SMALLEST_WINDOW: usize = 8 * 1024;
/// Concurrent queries for older events.
const HISTORY_READERS: usize = 2;
/// Limit of all cached pages in bytes.
const ALL_PAGES: u64 = 8 * 1024 * 1024;
/// Lifetime of an unused page.
const PAGE_IDLE: Duration = Duration::from_secs(30);
/// Events of one answer to a client.
const FRAMES_PER_READ: usize = 64;
/// Tasks named in one query.
const TASKS_PER_QUERY: usize = 500;

/// Follows tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LiveEvents {
    shared: Arc<Shared>,
    asked: mpsc::UnboundedSender<TaskId>,
}

struct Shared {
    database: DatabaseConnection,
    followed: Mutex<HashMap<TaskId, Arc<Followed>>>,
    history: Semaphore,
    pages: Cache<PageKey, Arc<[Arc<Frame>]>>,
}

/// A range of events of a task. Its contents do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PageKey {
    task: TaskId,
    after: i64,
    to: i64,
}

impl PageKey {
    /// Returns the page with the event after number `after`. `newest` is the number of the newest
    /// event.
    fn containing(task: TaskId, after: i64, newest: i64) -> Self {
        let size = PAGE.cast_signed();
        let begin = after - after.rem_euclid(size);
        Self {
            task,
            after: begin,
            to: begin.saturating_add(size).min(newest),
        }
    }
}

/// A task that clients follow.
struct Followed {
    window: Mutex<Window>,
    /// Changes whenever the window does.
    changed: watch::Sender<u64>,
    /// Whether a client needs the statuses of the runs.
    runs_matter: AtomicBool,
}

/// The newest events of a task and its status.
#[derive(Default)]
struct Window {
    /// False until the first look.
    loaded: bool,
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// The number of the newest event that was read.
    last: i64,
    /// Status of a task that has ended without a final event, if no more events can follow.
    abandoned: Option<TaskStatus>,
    /// Statuses of the runs. They were read before the events, so all events of a run that had
    /// ended are in the window.
    runs: HashMap<RunId, RunStatus>,
}

impl Window {
    fn push(&mut self, frame: Frame) {
        self.last = frame.seq;
        self.bytes += frame.bytes.len();
        self.frames.push_back(Arc::new(frame));
    }

    fn shrink(&mut self, most: usize) {
        while self.bytes > most
            && self.frames.len() > 1
            && let Some(oldest) = self.frames.pop_front()
        {
            self.bytes -= oldest.bytes.len();
        }
    }

    /// The number of the event before the oldest here.
    fn begins_after(&self) -> i64 {
        self.frames.front().map_or(self.last, |first| first.seq - 1)
    }
}

/// Returns the approximate size of a page in bytes.
fn weight(page: &[Arc<Frame>]) -> u32 {
    let bytes: usize = page.iter().map(|frame| frame.bytes.len() + 128).sum();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data is consistent after each step, even if a holder of the lock panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveEvents {
    /// Begins to read, until `stopping`.
    pub(crate) fn start(
        database: DatabaseConnection,
        waker: &dyn EventNotifier,
        stopping: CancellationToken,
    ) -> Self {
        // Holds at most one message per new client.
        let (asked, asks) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            database,
            followed: Mutex::default(),
            history: Semaphore::new(HISTORY_READERS),
            pages: Cache::builder()
                .max_capacity(ALL_PAGES)
                .weigher(|_, page: &Arc<[Arc<Frame>]>| weight(page))
                .time_to_idle(PAGE_IDLE)
                .build(),
        });
        let reading = read(Arc::clone(&shared), asks, waker.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = reading => {}
            }
        });
        Self { shared, asked }
    }

    /// Returns the number of readers.
    pub(crate) fn readers(&self) -> usize {
        lock(&self.shared.followed)
            .values()
            .map(|followed| followed.changed.receiver_count())
            .sum()
    }

    /// Returns a reader of a task's events after number `after`. `runs_matter` makes the statuses
    /// of the runs available.
    pub(crate) fn reader(&self, task: TaskId, after: i64, runs_matter: bool) -> EventReader {
        let mut is_new = false;
        let (followed, changed) = {
            let mut all = lock(&self.shared.followed);
            let followed = all.entry(task).or_insert_with(|| {
                is_new = true;
                Arc::new(Followed {
                    window: Mutex::default(),
                    changed: watch::Sender::new(0),
                    runs_matter: AtomicBool::new(false),
                })
            });
            (Arc::clone(followed), followed.changed.subscribe())
        };
        let has_news = runs_matter && !followed.runs_matter.swap(true, Ordering::Relaxed);
        if is_new || has_news {
            // Fails only where the reader has stopped, and then the process does.
            let _ = self.asked.send(task);
        }
        EventReader {
            shared: Arc::clone(&self.shared),
            task,
            after,
            followed,
            changed,
        }
    }
}

/// The one reader of a process.
async fn read(
    shared: Arc<Shared>,
    mut asks: mpsc::UnboundedReceiver<TaskId>,
    mut wakeups: tokio::sync::broadcast::Receiver<TaskId>,
) {
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let looked = tokio::select! {
            asked = asks.recv() => match asked {
                Some(task) => shared.read_tasks(&[task]).await,
                None => return,
            },
            heard = wakeups.recv() => match heard {
                Ok(task) if shared.follows(task) => shared.read_tasks(&[task]).await,
                Ok(_) => Ok(()),
                // The missed notifications are unknown, so all tasks are read.
                Err(RecvError::Lagged(_)) => shared.read_all().await,
                Err(RecvError::Closed) => {
                    ticks.tick().await;
                    shared.read_all().await
                }
            },
            _ = ticks.tick() => shared.read_all().await,
        };
        if let Err(error) = looked {
            tracing::warn!(error = chain(&error), "could not read events");
        }
    }
}

impl Shared {
    fn follows(&self, task: TaskId) -> bool {
        lock(&self.followed).contains_key(&task)
    }

    async fn read_all(&self) -> Result<(), DbErr> {
        let mut tasks: Vec<TaskId> = lock(&self.followed).keys().copied().collect();
        tasks.sort();
        self.read_tasks(&tasks).await
    }

    /// Reads new events of some tasks. One query finds the tasks with new events, and only these
    /// need another.
    async fn read_tasks(&self, tasks: &[TaskId]) -> Result<(), DbErr> {
        for tasks in tasks.chunks(TASKS_PER_QUERY) {
            let of_interest: Vec<TaskId> = {
                let all = lock(&self.followed);
                let matters = |task: &&TaskId| {
                    all.get(task)
                        .is_some_and(|followed| followed.runs_matter.load(Ordering::Relaxed))
                };
                tasks.iter().filter(matters).copied().collect()
            };
            let runs = if of_interest.is_empty() {
                Vec::new()
            } else {
                tenancy::run_states(&self.database, &of_interest).await?
            };
            let states = tenancy::task_states(&self.database, tasks).await?;
            let mut of_runs: HashMap<TaskId, HashMap<RunId, RunStatus>> = HashMap::new();
            for (task, run, status) in runs {
                of_runs.entry(task).or_default().insert(run, status);
            }
            for (task, status, newest) in states {
                let runs = of_runs.remove(&task).unwrap_or_default();
                self.read_task(task, status, newest, runs).await?;
            }
        }
        Ok(())
    }

    async fn read_task(
        &self,
        task: TaskId,
        status: TaskStatus,
        newest: i64,
        runs: HashMap<RunId, RunStatus>,
    ) -> Result<(), DbErr> {
        let Some((followed, most)) = self.followed(task) else {
            return Ok(());
        };
        let (mut after, known) = {
            let window = lock(&followed.window);
            let begin = if window.loaded {
                window.last
            } else {
                // Older events are read on demand.
                newest.saturating_sub(PAGE.cast_signed()).max(0)
            };
            (begin, window.loaded && window.runs == runs)
        };
        let mut changed = !known;
        let mut is_over = false;
        while after < newest {
            let rows = events::read_after(&self.database, task, after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            is_over = last.kind == "completed";
            let mut window = lock(&followed.window);
            for row in rows {
                window.push(Frame::new(row));
            }
            window.shrink(most);
            changed = true;
        }
        // The final event has been written by now, unless its writer has died.
        let abandoned = status.is_final()
            && !is_over
            && lock(&followed.window)
                .frames
                .back()
                .is_none_or(|last| last.kind != "completed")
            && tenancy::open_jobs(&self.database, task).await? == 0;
        {
            let mut window = lock(&followed.window);
            let abandoned = abandoned.then_some(status);
            changed |= window.abandoned != abandoned;
            window.abandoned = abandoned;
            window.runs = runs;
            window.last = window.last.max(after);
            window.loaded = true;
        }
        if changed {
            followed.changed.send_modify(|version| *version += 1);
        }
        Ok(())
    }

    /// Returns a page of older events, from the cache or the database.
    async fn page(&self, of: PageKey) -> Result<Arc<[Arc<Frame>]>, DbErr> {
        let reading = async {
            // Never closed.
            let _permit = self.history.acquire().await;
            let count = (of.to - of.after).unsigned_abs();
            let rows = events::read_after(&self.database, of.task, of.after, count).await?;
            let frames = rows.into_iter().map(|row| Arc::new(Frame::new(row)));
            Ok::<Arc<[Arc<Frame>]>, DbErr>(frames.collect())
        };
        // Concurrent requests for the same page share one query.
        self.pages
            .try_get_with(of, reading)
            .await
            .map_err(|error| DbErr::Custom(error.to_string()))
    }

    /// Returns a followed task and the current limit of its window in bytes.
    fn followed(&self, task: TaskId) -> Option<(Arc<Followed>, usize)> {
        let all = lock(&self.followed);
        let most = (ALL_WINDOWS / all.len().max(1)).clamp(SMALLEST_WINDOW, LARGEST_WINDOW);
        all.get(&task).map(|followed| (Arc::clone(followed), most))
    }
}

/// Result of one read.
pub(crate) enum ReadResult {
    /// Events in order, and whether the last of them is the newest.
    Frames(Vec<Arc<Frame>>, bool),
    /// No new events.
    Nothing,
    /// The task has ended without a final event, and no more events will follow.
    Abandoned(TaskStatus),
}

/// Reads the events of one task in order.
pub(crate) struct EventReader {
    shared: Arc<Shared>,
    task: TaskId,
    after: i64,
    followed: Arc<Followed>,
    changed: watch::Receiver<u64>,
}

impl EventReader {
    /// Returns the next events, if there are any.
    pub(crate) async fn next(&mut self) -> Result<ReadResult, DbErr> {
        // Marked before the read, so that a change during the read ends the next wait.
        self.changed.mark_unchanged();
        {
            let window = lock(&self.followed.window);
            if !window.loaded {
                return Ok(ReadResult::Nothing);
            }
            if self.after >= window.begins_after() {
                let frames: Vec<_> = match window.frames.front() {
                    None => Vec::new(),
                    Some(first) => {
                        // Numbers have no gaps.
                        let known = self.after.saturating_add(1).saturating_sub(first.seq);
                        let skipped = usize::try_from(known).unwrap_or(0);
                        window
                            .frames
                            .iter()
                            .skip(skipped)
                            .take(FRAMES_PER_READ)
                            .cloned()
                            .collect()
                    }
                };
                if let Some(last) = frames.last() {
                    self.after = last.seq;
                    let newest = self.after >= window.last;
                    return Ok(ReadResult::Frames(frames, newest));
                }
                return Ok(match window.abandoned {
                    Some(status) => ReadResult::Abandoned(status),
                    None => ReadResult::Nothing,
                });
            }
        }
        // Boxed, because this path is rare and would enlarge every stream.
        Box::pin(self.older()).await
    }

    async fn older(&mut self) -> Result<ReadResult, DbErr> {
        let newest = lock(&self.followed.window).last;
        let of = PageKey::containing(self.task, self.after, newest);
        let page = self.shared.page(of).await?;
        let frames: Vec<_> = page
            .iter()
            .skip_while(|frame| frame.seq <= self.after)
            .take(FRAMES_PER_READ)
            .cloned()
            .collect();
        match frames.last() {
            Some(last) => self.after = last.seq,
            // Deleted events do not return.
            None => self.after = of.to,
        }
        let window = lock(&self.followed.window);
        Ok(ReadResult::Frames(frames, self.after >= window.last))
    }

    /// Returns the number of the last event that was read.
    pub(crate) fn after(&self) -> i64 {
        self.after
    }

    /// Returns the status that a run had when the latest events were read.
    pub(crate) fn run_status(&self, run: RunId) -> Option<RunStatus> {
        lock(&self.followed.window).runs.get(&run).copied()
    }

    /// Reads the statuses of all runs of the task from the database.
    pub(crate) async fn load_run_statuses(&self) -> Result<HashMap<RunId, RunStatus>, DbErr> {
        let runs = tenancy::run_states(&self.shared.database, &[self.task]).await?;
        Ok(runs
            .into_iter()
            .map(|(_, run, status)| (run, status))
            .collect())
    }

    /// Waits for possible changes.
    pub(crate) async fn wait(&mut self) {
        // The sender lives as long as `followed` does.
        let _ = self.changed.changed().await;
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        let mut all = lock(&self.shared.followed);
        // This reader still counts.
        let is_last = all
            .get(&self.task)
            .is_some_and(|followed| followed.changed.receiver_count() <= 1);
        if is_last {
            all.remove(&self.task);
        }
    }
}
