//! Follows one task with many clients, and measures the memory per client and the delay of events:
//! `sse_clients --api 127.0.0.1:8000 --pid 123 --database postgres://… --clients 10000`.
//!
//! Used by `scripts/bench-api.sh`. Prints one JSON document.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use domain::vocabulary::Level;
use entity::{TaskId, task};
use platform::events::{self, Event, NewEvent};
use platform::notify::EventNotifier as _;
use platform::notify::redis_events::RedisEventNotifier;
use platform::redaction::Redactor;
use platform::settings::SecretString;
use sea_orm::{Database, DatabaseConnection, EntityTrait, TransactionTrait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Notify, Semaphore};

/// Events whose delay is measured.
const EVENTS: usize = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(700);
/// Connections that are being made at once.
const AT_ONCE: usize = 200;

/// Threads of clients; the rest of the machine is for the API and its database.
const THREADS: usize = 2;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    api: String,
    /// Process id of the API, whose memory is measured.
    #[arg(long)]
    pid: u32,
    #[arg(long)]
    database: String,
    /// Redis for notifications, as workers use it.
    #[arg(long)]
    redis: String,
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
}

/// State shared by all clients.
struct Hall {
    api: String,
    task: TaskId,
    clients: usize,
    connected: Barrier,
    /// Connections that may still be made at once.
    room: Semaphore,
    /// Number of received events of all clients.
    heard: AtomicUsize,
    cut_off: AtomicUsize,
    /// All clients stay until the end, because closing ten thousand connections costs time, too.
    over: Barrier,
    rung: Notify,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let database = Database::connect(&arguments.database).await?;
    let task = running_task(&database).await?;
    let waker =
        RedisEventNotifier::connect(&SecretString::from(arguments.redis.as_str()), "membreak")?;
    let before = resident_bytes(arguments.pid)?;
    let hall = Arc::new(Hall {
        api: arguments.api,
        task,
        clients: arguments.clients,
        connected: Barrier::new(arguments.clients + 1),
        room: Semaphore::new(AT_ONCE),
        heard: AtomicUsize::new(0),
        cut_off: AtomicUsize::new(0),
        over: Barrier::new(arguments.clients + 1),
        rung: Notify::new(),
    });
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let share = (arguments.clients + thread) / THREADS;
            let hall = Arc::clone(&hall);
            std::thread::spawn(move || clients(&hall, share))
        })
        .collect();
    hall.connected.wait().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = resident_bytes(arguments.pid)?;
    let mut written = Vec::with_capacity(EVENTS);
    for number in 0..EVENTS {
        written.push(write_event(&database, task, number).await?);
        waker.notify(task).await;
        let all = arguments.clients * (number + 1);
        let reached = async {
            while hall.heard.load(Ordering::Relaxed) < all {
                ensure!(
                    hall.cut_off.load(Ordering::Relaxed) == 0,
                    "a client was cut off"
                );
                hall.rung.notified().await;
            }
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .context("an event did not reach every client within 20 s")??;
        tokio::time::sleep(PAUSE).await;
    }
    hall.over.wait().await;
    let mut delays: Vec<Duration> = Vec::with_capacity(arguments.clients * EVENTS);
    for thread in threads {
        let Ok(heard) = thread.join() else {
            bail!("a thread of clients failed");
        };
        for moments in heard? {
            let pairs = moments.iter().zip(&written);
            delays.extend(pairs.map(|(at, written)| at.saturating_duration_since(*written)));
        }
    }
    delays.sort_unstable();
    let at = |share: f64| {
        let place = (delays.len() as f64 * share) as usize;
        delays[place.min(delays.len() - 1)].as_secs_f64() * 1000.0
    };
    let clients = arguments.clients as u64;
    let document = serde_json::json!({
        "clients": clients,
        "bytes_per_client": after.saturating_sub(before) / clients.max(1),
        "resident_mib": after as f64 / 1_048_576.0,
        "events": EVENTS,
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
        "met": after.saturating_sub(before) / clients.max(1) < 30_000 && at(0.99) < 250.0,
    });
    print(&document.to_string());
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "what a program of the command line is for"
)]
fn print(text: &str) {
    println!("{text}");
}

/// A task that has not ended: one of those that are there, made to run.
async fn running_task(database: &DatabaseConnection) -> anyhow::Result<TaskId> {
    #[expect(clippy::disallowed_methods, reason = "any task will do")]
    let task = task::Entity::find().one(database).await?;
    let task = task.context("there is no task")?;
    task::Entity::update(task::ActiveModel {
        id: sea_orm::Set(task.id),
        status: sea_orm::Set(domain::vocabulary::TaskStatus::Running),
        ..Default::default()
    })
    .exec(database)
    .await?;
    Ok(task.id)
}

fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("the process tells nothing of its memory")?;
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .context("no number")?
        .parse()?;
    Ok(kib * 1024)
}

async fn write_event(
    database: &DatabaseConnection,
    task: TaskId,
    number: usize,
) -> anyhow::Result<Instant> {
    let event = NewEvent {
        run: None,
        level: Level::Info,
        event: Event::Progress {
            stage: "bench".to_owned(),
            message: format!("event-{number}."),
            percent: None,
        },
    };
    let transaction = database.begin().await?;
    events::append(&transaction, task, &[event], &Redactor::default()).await?;
    transaction.commit().await?;
    Ok(Instant::now())
}

/// Clients run on their own thread, so that they leave the processors to the API.
fn clients(hall: &Arc<Hall>, count: usize) -> anyhow::Result<Vec<Vec<Instant>>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let clients: Vec<_> = (0..count)
            .map(|_| {
                let hall = Arc::clone(hall);
                tokio::spawn(async move {
                    let heard = follow(&hall).await;
                    if heard.is_err() {
                        hall.cut_off.fetch_add(1, Ordering::Relaxed);
                        hall.rung.notify_one();
                    }
                    heard
                })
            })
            .collect();
        let mut heard = Vec::with_capacity(count);
        for client in clients {
            heard.push(client.await??);
        }
        Ok(heard)
    })
}

/// One client. Records the time of each event.
async fn follow(hall: &Hall) -> anyhow::Result<Vec<Instant>> {
    let permit = hall.room.acquire().await?;
    let (api, task) = (&hall.api, hall.task);
    let mut stream = TcpStream::connect(api).await?;
    let request = format!("GET /api/v1/logs/{task}/stream HTTP/1.1\r\nhost: {api}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 2048];
    let mut seen = Vec::new();
    while !contains(&seen, b"connected") {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "cut off");
        seen.extend_from_slice(&buffer[..count]);
    }
    drop(permit);
    hall.connected.wait().await;
    let mut heard = Vec::with_capacity(EVENTS);
    seen.clear();
    while heard.len() < EVENTS {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "cut off");
        let at = Instant::now();
        seen.extend_from_slice(&buffer[..count]);
        // An event counts when it is complete.
        while contains(&seen, format!("event-{}.", heard.len()).as_bytes()) {
            heard.push(at);
            let before = hall.heard.fetch_add(1, Ordering::Relaxed);
            if (before + 1).is_multiple_of(hall.clients) {
                hall.rung.notify_one();
            }
            if seen.ends_with(b"\n\n\r\n") {
                seen.clear();
            }
        }
    }
    hall.over.wait().await;
    Ok(heard)
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|part| part == wanted)
}
