//! Follows one task with many clients and tells what each costs and how late it hears of an event:
//! `sse_clients --api 127.0.0.1:8000 --pid 123 --database postgres://… --clients 10000`.
//!
//! Used by `scripts/bench-api.sh`; prints one JSON document.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use entity::status::Level;
use entity::{TaskId, task};
use platform::events::redis_waker::RedisWaker;
use platform::events::{self, Event, NewEvent, Waker};
use platform::redaction::Redactor;
use platform::settings::Secret;
use sea_orm::{Database, DatabaseConnection, EntityTrait, TransactionTrait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore, mpsc};

/// Events whose delay is measured.
const EVENTS: usize = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(700);
/// Connections that are being made at once.
const AT_ONCE: usize = 200;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    api: String,
    /// Of the API, whose memory is looked at.
    #[arg(long)]
    pid: u32,
    #[arg(long)]
    database: String,
    /// Over which the API hears of events, as it does of a worker's.
    #[arg(long)]
    redis: String,
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let database = Database::connect(&arguments.database).await?;
    let task = running_task(&database).await?;
    let waker = RedisWaker::connect(&Secret::new(arguments.redis.as_str()), "membreak")?;
    let before = resident_bytes(arguments.pid)?;
    let (heard, mut hears) = mpsc::unbounded_channel();
    let connected = Arc::new(Barrier::new(arguments.clients + 1));
    let room = Arc::new(Semaphore::new(AT_ONCE));
    for _ in 0..arguments.clients {
        let (api, heard, connected) =
            (arguments.api.clone(), heard.clone(), Arc::clone(&connected));
        let room = Arc::clone(&room);
        tokio::spawn(async move {
            if let Err(error) = follow(&api, task, &heard, &connected, &room).await {
                // A client that is cut off is counted as an event that never came.
                let _ = heard.send((usize::MAX, Instant::now()));
                drop(error);
            }
        });
    }
    connected.wait().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = resident_bytes(arguments.pid)?;
    let mut delays: Vec<Duration> = Vec::with_capacity(arguments.clients * EVENTS);
    for number in 0..EVENTS {
        let written = write_event(&database, task, number).await?;
        waker.wake(task).await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        for _ in 0..arguments.clients {
            let (which, at) = tokio::time::timeout_at(deadline, hears.recv())
                .await
                .context("an event did not reach every client within 20 s")?
                .context("all clients are gone")?;
            ensure!(
                which == number,
                "a client was cut off or heard another event"
            );
            delays.push(at.saturating_duration_since(written));
        }
        tokio::time::sleep(PAUSE).await;
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
        status: sea_orm::Set(entity::status::TaskStatus::Running),
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

async fn follow(
    api: &str,
    task: TaskId,
    heard: &mpsc::UnboundedSender<(usize, Instant)>,
    connected: &Barrier,
    room: &Semaphore,
) -> anyhow::Result<()> {
    let permit = room.acquire().await?;
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
    connected.wait().await;
    let mut next = 0;
    seen.clear();
    while next < EVENTS {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "cut off");
        let at = Instant::now();
        seen.extend_from_slice(&buffer[..count]);
        while contains(&seen, format!("event-{next}.").as_bytes()) {
            heard.send((next, at))?;
            next += 1;
            if next == EVENTS {
                break;
            }
        }
        if seen.len() > 16_384 {
            seen.drain(..seen.len() - 1024);
        }
    }
    Ok(())
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|part| part == wanted)
}
