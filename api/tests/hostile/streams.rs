//! Clients that send slowly or do not read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use domain::vocabulary::TaskStatus;
use entity::TaskId;
use nix::sys::socket::{setsockopt, sockopt};
use platform::events::Event;
use serde_json::Value;
use testkit::database::TestDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::listening;
use crate::support::TestApi;

/// Batches of events, and events of each.
const BATCHES: usize = 12;
const EACH: usize = 50;
/// Letters of each event's message, so that the whole stream is far more than sockets hold.
const LETTERS: usize = 400;

/// A connection with small buffers. On loopback, segments are 64 KiB long, and the system would
/// buffer megabytes for a client that does not read.
async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    setsockopt(&socket, sockopt::TcpMaxSeg, &536).unwrap();
    socket.connect(address).await.unwrap()
}

fn follow(task: TaskId) -> String {
    format!("GET /api/v1/logs/{task}/stream HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// All events of a task and its end.
async fn tell_all(api: &TestApi, task: TaskId) {
    for batch in 0..BATCHES {
        let events = (0..EACH).map(|number| Event::Progress {
            stage: "fetch".to_owned(),
            message: format!("{batch}-{number} {}", "x".repeat(LETTERS)),
            percent: None,
        });
        api.rows().happened(task, None, events.collect()).await;
    }
    api.rows().completed(task).await;
}

/// Reads until the stream has ended, and returns all of it.
async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    // The end of a body that is sent in pieces.
    while !all.ends_with(b"\r\n0\r\n\r\n") {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "cut off after {} bytes", all.len());
        all.extend_from_slice(&buffer[..count]);
    }
    all
}

/// All events are there, once each and in order.
fn is_complete(stream: &[u8]) {
    let text = String::from_utf8_lossy(stream);
    let numbers: Vec<usize> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .map(|number| number.parse().unwrap())
        .collect();
    // 0 is the position of a new client.
    let expected: Vec<usize> = (0..=BATCHES * EACH + 1).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn slow_senders_are_disconnected_and_delay_no_other_client() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::with(
        &database,
        [
            ("HEADER_TIMEOUT_SECONDS", "1"),
            ("REQUEST_TIMEOUT_SECONDS", "2"),
        ],
    );
    let (address, _stop) = listening(&api).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-a: b")
            .await
            .unwrap();
        slow.push(stream);
    }
    // A body that never comes.
    let mut body = TcpStream::connect(address).await.unwrap();
    let head =
        b"POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        content-length: 1000\r\n\r\n{";
    body.write_all(head).await.unwrap();
    let client = platform::http_client::builder().no_proxy().build().unwrap();
    let answer = client
        .get(format!("http://{address}/health"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let ended = async {
        for mut stream in slow {
            let mut rest = Vec::new();
            // A refusal, or nothing; then the end.
            let _ = stream.read_to_end(&mut rest).await;
        }
        let mut rest = Vec::new();
        let _ = body.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    };
    let answered = tokio::time::timeout(Duration::from_secs(20), ended)
        .await
        .unwrap();
    assert!(answered.starts_with("HTTP/1.1 503"), "{answered}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_loses_its_connection() {
    let database = TestDatabase::sqlite().await.unwrap();
    let settings = [("STALLED_CLIENT_SECONDS", "1"), ("MAX_CONNECTIONS", "1")];
    let api = TestApi::with(&database, settings);
    let task = TaskId::new();
    let rows = api.rows();
    rows.task(task, TaskStatus::Running, &["claude"]).await;
    tell_all(&api, task).await;
    let (address, _stop) = listening(&api).await;
    let mut stalled = narrow(address).await;
    stalled.write_all(follow(task).as_bytes()).await.unwrap();
    let mut waiting = TcpStream::connect(address).await.unwrap();
    let asking = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    waiting.write_all(asking).await.unwrap();
    let mut answer = String::new();
    let answered = waiting.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(60), answered)
        .await
        .expect("the only connection was given up")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // It was cut off before the end.
    let mut rest = Vec::new();
    let _ = stalled.read_to_end(&mut rest).await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("event: connected"));
    assert!(!rest.contains("event: completed"));
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_ends() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::with(&database, [("MAX_CONNECTIONS", "2")]);
    let task = TaskId::new();
    let rows = api.rows();
    rows.task(task, TaskStatus::Running, &["claude"]).await;
    let (address, _stop) = listening(&api).await;
    let mut following = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(follow(task).as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        following.push(stream);
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    let asking = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    third.write_all(asking).await.unwrap();
    let mut first = [0; 12];
    let early = tokio::time::timeout(Duration::from_millis(500), third.peek(&mut first)).await;
    assert!(early.is_err(), "it was answered beside two others");
    drop(following.pop());
    let answered = third.read_exact(&mut first);
    tokio::time::timeout(Duration::from_secs(30), answered)
        .await
        .expect("there is room again")
        .unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
}

/// The service as a process of its own, killed when dropped.
struct Service {
    process: std::process::Child,
    address: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    async fn start(folder: &std::path::Path, database: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = std::process::Command::new(env!("CARGO_BIN_EXE_api"))
            .current_dir(folder)
            .env_clear()
            .env("DATABASE_URL", database)
            .env("STORAGE_DIR", folder.join("storage"))
            .env("PORT", address.port().to_string())
            .env("RATE_LIMIT_PER_MINUTE", "0")
            .env("STALLED_CLIENT_SECONDS", "600")
            .env("LOG_LEVEL", "warn")
            .spawn()
            .unwrap();
        let service = Self {
            process,
            address: address.to_string(),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&service.address).await.is_err() {
            assert!(Instant::now() < deadline, "the service does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        service
    }

    /// Bytes per connection that the system buffers because the client does not read.
    fn held_by_the_system(&self) -> Vec<usize> {
        let (_, port) = self.address.rsplit_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        let here = format!("0100007F:{port:04X}");
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        connections
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields[1] == here && fields[3] == "01")
            .map(|fields| {
                let (sent, _) = fields[4].split_once(':').unwrap();
                usize::from_str_radix(sent, 16).unwrap()
            })
            .collect()
    }

    fn resident_mib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 1024
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_clients_of_which_half_never_read_do_no_harm() {
    const CLIENTS: usize = 10_000;
    // The limit is inherited by the service, which holds as many connections.
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, most) = nix::sys::resource::getrlimit(limit).unwrap();
    nix::sys::resource::setrlimit(limit, most, most).unwrap();
    assert!(
        most > 11_000,
        "only {most} files may be open: raise the limit (ulimit -n)"
    );

    let folder = tempfile::tempdir().unwrap();
    let database = TestDatabase::sqlite().await.unwrap();
    let service = Service::start(folder.path(), database.url()).await;
    let address: SocketAddr = service.address.parse().unwrap();
    let api = TestApi::on(&database);
    let task = api.task(TaskStatus::Running).await;

    let mut idle = Vec::with_capacity(CLIENTS / 2);
    let mut reading = Vec::with_capacity(CLIENTS / 2);
    for number in 0..CLIENTS / 2 {
        let mut stream = narrow(address).await;
        stream.write_all(follow(task).as_bytes()).await.unwrap();
        idle.push(stream);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(follow(task).as_bytes()).await.unwrap();
        reading.push(tokio::spawn(async move {
            let all = read_all(&mut stream).await;
            assert!(all.len() > BATCHES * EACH * LETTERS, "{}", all.len());
            // To look at each event of each would take longer than to send them.
            if number % 20 == 0 {
                is_complete(&all);
            }
            all.len()
        }));
    }
    tell_all(&api, task).await;
    let all = futures::future::join_all(reading);
    let read = tokio::time::timeout(Duration::from_secs(240), all).await;
    let mut shortest = usize::MAX;
    for reader in read.expect("half of the clients read, and must hear of the end in time") {
        shortest = shortest.min(reader.unwrap());
    }
    // The others still hold their connections. A new request is answered anyway.
    let asked = Instant::now();
    let client = platform::http_client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/tasks/{task}", service.address);
    let answer: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "done");
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    // The system buffered a part of each response; the service waits with the rest.
    let held = service.held_by_the_system();
    let stuck = held.iter().filter(|held| **held > 0).count();
    assert!(stuck >= CLIENTS / 2, "only {stuck} connections are stuck");
    let most = held.iter().max().copied().unwrap_or_default();
    assert!(most < shortest / 2, "{most} of {shortest} bytes are sent");
    let resident = service.resident_mib();
    println!("resident {resident} MiB, held at most {most}, a stream is {shortest} bytes");
    // Held for all of them it would be several times as much.
    assert!(resident < 900, "{resident} MiB");
    // A client that starts to read late misses nothing.
    for stream in idle.iter_mut().step_by(500) {
        let all = tokio::time::timeout(Duration::from_secs(60), read_all(stream)).await;
        is_complete(&all.expect("it is sent the rest"));
    }
}
