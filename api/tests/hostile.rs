//! What an attacker would send.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on is a failed test"
)]

use std::time::{Duration, Instant};

use async_zip::base::read1::seek::ZipArchiveReader;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use entity::TaskId;
use entity::status::TaskStatus;
use futures::io::Cursor;
use platform::events::Event;
use serde_json::{Value, json};
use testkit::database::{TestDatabase, on_both_engines};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::{Answer, TestApi, request};

fn create(body: String) -> Request<Body> {
    request(Method::POST, "/api/v1/tasks", Body::from(body))
}

/// It is refused as the client's mistake, and tells nothing of the inside.
fn refused(answer: &Answer, what: &str) {
    assert!(
        answer.status.is_client_error(),
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    for inside in ["sqlx", "sea_orm", "panicked", "/root/", "src/", "SELECT"] {
        assert!(!answer.text().contains(inside), "{what}: {}", answer.text());
    }
}

#[tokio::test]
async fn no_name_of_an_artifact_leads_to_another_file() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        let task = TaskId::new();
        let rows = api.rows();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        rows.file(task, None, "task.log", "open").await;
        std::fs::write(format!("{}/secret", api.storage()), "quokka").unwrap();
        for name in [
            "..%2f..%2fsecret",
            "..%2Fsecret",
            "%2e%2e%2fsecret",
            "..%5csecret",
            "%2fetc%2fpasswd",
            "/etc/passwd",
            "../secret",
            "....//secret",
            "task.log%00.png",
            "task.log%0a",
            "%c0%ae%c0%ae%c0%afsecret",
            "file:%2f%2f%2fetc%2fpasswd",
            "C:%5cWindows",
            "TASK.LOG",
            "task.log/",
            "task.log%20",
            ".",
            "..",
            "%2e",
            "*",
            "%25",
        ] {
            let path = format!("/api/v1/artifacts/{task}/task/{name}");
            let Ok(uri) = path.parse::<axum::http::Uri>() else {
                continue;
            };
            let asking = Request::builder().uri(uri).body(Body::empty()).unwrap();
            let answer = api.send(asking).await;
            if name == "task.log/" {
                assert_eq!(answer.text(), "open");
                continue;
            }
            refused(&answer, name);
            assert!(!answer.text().contains("quokka") && !answer.text().contains("root:"));
        }
    })
    .await;
}

#[tokio::test]
async fn names_in_an_archive_stay_inside_wherever_it_is_unpacked() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        let task = TaskId::new();
        let rows = api.rows();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        for name in [
            "x/../../../etc/cron.d/x",
            "/absolute",
            "a\\..\\b",
            "C:\\x",
            "a\nb",
            "~/x",
            "a/../../b",
        ] {
            rows.file(task, None, name, "text").await;
        }
        let answer = api.get(&format!("/api/v1/artifacts/{task}/bundle")).await;
        assert_eq!(answer.status, StatusCode::OK);
        let zip = ZipArchiveReader::open(Cursor::new(answer.bytes))
            .await
            .unwrap();
        let entries = zip.inner().cdrs();
        assert_eq!(entries.len(), 7);
        for entry in entries {
            let name = entry.insecure_file_name.as_str().unwrap();
            let bad = name.starts_with(['/', '~'])
                || name.contains(['\\', ':', '\n'])
                || name.split('/').any(|part| part == "..");
            assert!(!bad, "{name:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn no_address_of_a_pull_request_leads_elsewhere() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        for url in [
            // User names that look like hosts.
            "https://github.com@evil.example/a/b/pull/1",
            "https://github.com:x@evil.example/a/b/pull/1",
            "https://evil.example#@github.com/a/b/pull/1",
            "https://evil.example\\@github.com/a/b/pull/1",
            // Ports.
            "https://github.com:22/a/b/pull/1",
            "https://github.com:8443/a/b/pull/1",
            "http://github.com/a/b/pull/1",
            // This machine and its network, in every spelling.
            "https://127.0.0.1/a/b/pull/1",
            "https://0x7f.1/a/b/pull/1",
            "https://2130706433/a/b/pull/1",
            "https://localhost/a/b/pull/1",
            "https://169.254.169.254/a/b/pull/1",
            "https://[::1]/a/b/pull/1",
            "https://[::ffff:127.0.0.1]/a/b/pull/1",
            "https://[fe80::1%25eth0]/a/b/pull/1",
            // Names that are almost right.
            "https://github.com./a/b/pull/1",
            "https://github.com.evil.example/a/b/pull/1",
            "https://evilgithub.com/a/b/pull/1",
            "https://g\u{131}thub.com/a/b/pull/1",
            "https://github\u{3002}com.evil.example/a/b/pull/1",
            "https://xn--gthub-n4a.com/a/b/pull/1",
            // Redirections of a forge, and other schemes.
            "https://github.com/login?return_to=//evil.example/a/b/pull/1",
            "https://github.com//evil.example/a/b/pull/1",
            "file:///etc/passwd",
            "ssh://git@github.com/a/b/pull/1",
            "git://github.com/a/b/pull/1",
            "javascript:alert(1)",
            "gopher://127.0.0.1:6379/_FLUSHALL",
            "ext::sh -c id",
            // Parts that climb.
            "https://github.com/a/../pull/1",
            "https://github.com/a/%2e%2e/pull/1",
            "https://github.com/a/b%2f..%2fc/pull/1",
            "https://github.com/a/b/pull/1%00",
        ] {
            let answer = api
                .send(create(
                    json!({"pr_url": url, "agents": ["claude"]}).to_string(),
                ))
                .await;
            refused(&answer, url);
        }
        assert_eq!(api.get("/api/v1/tasks").await.json()["total"], 0);
        assert!(api.doorbell.rung().is_empty());
    })
    .await;
}

#[tokio::test]
async fn no_name_becomes_an_option_of_git() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, [("LOCAL_REPOSITORIES", "/srv/repositories")]);
        for owner in ["--upload-pack=touch", "-c", "-"] {
            let url = format!("https://github.com/{owner}/b/pull/1");
            refused(
                &api.send(create(json!({"pr_url": url}).to_string())).await,
                owner,
            );
            let url = format!("https://github.com/a/{owner}/pull/1");
            refused(
                &api.send(create(json!({"pr_url": url}).to_string())).await,
                owner,
            );
        }
        for revision in [
            "--output=/etc/passwd",
            "-n1",
            "--",
            "a b",
            "a\tb",
            "a\nb",
            "a\u{0}b",
            "",
        ] {
            for (base, head) in [(revision, "HEAD"), ("HEAD", revision)] {
                let body = json!({"repo": "/srv/repositories/a", "base": base, "head": head});
                refused(&api.send(create(body.to_string())).await, revision);
            }
        }
        for repo in [
            "/srv/repositories/../../etc",
            "/srv/repositories-other/a",
            "/etc",
            "srv/repositories/a",
            "--upload-pack=x",
            "ext::sh -c id",
            "/srv/repositories/a\u{0}",
        ] {
            let body = json!({"repo": repo, "base": "HEAD~1", "head": "HEAD"});
            refused(&api.send(create(body.to_string())).await, repo);
        }
        assert_eq!(api.get("/api/v1/tasks").await.json()["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn json_that_is_giant_deep_or_twisted_is_refused() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        let url = "https://github.com/a/b/pull/1";
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let nested = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
        let giant = json!({"pr_url": url, "agents": vec!["claude"; 100_000]}).to_string();
        let long = json!({"pr_url": format!("{url}/{}", "x".repeat(1_000_000))}).to_string();
        for (what, body) in [
            ("deep", deep),
            ("nested", nested),
            ("giant", giant),
            ("long", long),
            ("a number", "1e999999".to_owned()),
            (
                "huge numbers",
                format!("{{\"pr_url\": \"{url}\", \"seed\": {}}}", "9".repeat(400)),
            ),
            (
                "a fraction",
                format!("{{\"pr_url\": \"{url}\", \"trials\": 1.5}}"),
            ),
            ("half", "{\"pr_url\": \"https://".to_owned()),
            ("a lone surrogate", "{\"pr_url\": \"\\ud800\"}".to_owned()),
            (
                "many runs",
                json!({"pr_url": url, "agents": vec!["claude"; 11], "trials": 100}).to_string(),
            ),
        ] {
            let answer = api.send(create(body)).await;
            refused(&answer, what);
            // What was sent is not sent back at length.
            assert!(
                answer.bytes.len() < 2_500_000,
                "{what}: {}",
                answer.bytes.len()
            );
        }
        let too_large = api.send(create(" ".repeat(1024 * 1024 + 1))).await;
        assert_eq!(too_large.status, StatusCode::PAYLOAD_TOO_LARGE);
        let bytes = Body::from(&b"{\"pr_url\": \"\xff\xfe\"}"[..]);
        let answer = api
            .send(request(Method::POST, "/api/v1/tasks", bytes))
            .await;
        refused(&answer, "bytes that are no text");
        assert_eq!(api.get("/api/v1/tasks").await.json()["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn control_characters_get_nowhere() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        let url = "https://github.com/a/b/pull/1";
        for letter in [
            '\u{0}', '\u{1}', '\u{7}', '\u{1b}', '\u{7f}', '\u{85}', '\n', '\r',
        ] {
            for body in [
                json!({"pr_url": format!("{url}{letter}")}),
                json!({"pr_url": url, "agents": [format!("claude{letter}")]}),
                json!({"pr_url": url, "trigger": format!("auto{letter}")}),
                json!({"pr_url": url, "rubric": [format!("AR{letter}")]}),
            ] {
                refused(
                    &api.send(create(body.to_string())).await,
                    &format!("{letter:?} {body}"),
                );
            }
            for name in ["repo", "agent", "q", "status", "cursor", "from"] {
                let value: String =
                    url::form_urlencoded::byte_serialize(letter.to_string().as_bytes()).collect();
                let answer = api.get(&format!("/api/v1/tasks?{name}=x{value}")).await;
                refused(&answer, &format!("{name} {letter:?}"));
            }
        }
        for path in [
            "/api/v1/tasks/%00",
            "/api/v1/tasks/%ff",
            "/api/v1/tasks/%0d%0aset-cookie:%20a=b",
            "/api/v1/logs/%00/stream",
        ] {
            refused(&api.get(path).await, path);
        }
        assert_eq!(api.get("/api/v1/tasks").await.json()["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn texts_that_are_looked_for_are_no_statements() {
    on_both_engines(async |database| {
        let api = TestApi::on(database);
        api.rows()
            .task(TaskId::new(), TaskStatus::Done, &["claude"])
            .await;
        for text in [
            "' OR 1=1 --",
            "%27%3B%20DROP%20TABLE%20task%3B--",
            "\\",
            "%25",
            "_",
            "\u{1F600}",
        ] {
            let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            for name in ["repo", "agent", "q"] {
                let answer = api.get(&format!("/api/v1/tasks?{name}={text}")).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
                assert_eq!(answer.json()["total"], 0, "{name}={text}");
            }
        }
        assert_eq!(api.get("/api/v1/tasks").await.json()["total"], 1);
    })
    .await;
}

/// A server of the test's own, until the sender is dropped.
async fn listening(api: &TestApi) -> (std::net::SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(api::serve(listener, api.state.clone(), async {
        stopped.await.ok();
    }));
    (address, stop)
}

#[tokio::test]
async fn who_sends_slowly_is_let_go_and_keeps_nobody_waiting() {
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
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
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
async fn heads_that_are_too_large_or_twisted_are_refused() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::on(&database);
    let (address, _stop) = listening(&api).await;
    for head in [
        format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\nx-a: {}\r\n\r\n",
            "x".repeat(100_000)
        ),
        format!(
            "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "x".repeat(100_000)
        ),
        format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
            "a: b\r\n".repeat(500)
        ),
        "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
            .to_owned(),
        "GET / HTTP/1.1\r\nhost: localhost\r\nx-a: \u{0}\r\n\r\n".to_owned(),
        "POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may hang up before it has read all of it.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(30), reading)
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{}: {answer}",
            &head[..60.min(head.len())]
        );
    }
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
    const BATCHES: usize = 12;
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
    let api = TestApi::on(&database);
    let task = TaskId::new();
    api.rows()
        .task(task, TaskStatus::Running, &["claude"])
        .await;
    let path = format!("GET /api/v1/logs/{task}/stream HTTP/1.1\r\nhost: localhost\r\n\r\n");

    let mut idle = Vec::with_capacity(CLIENTS / 2);
    let mut reading = Vec::with_capacity(CLIENTS / 2);
    for number in 0..CLIENTS {
        let mut stream = TcpStream::connect(&service.address).await.unwrap();
        stream.write_all(path.as_bytes()).await.unwrap();
        if number % 2 == 0 {
            idle.push(stream);
        } else {
            reading.push(tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                let mut tail = Vec::new();
                loop {
                    let count = stream.read(&mut buffer).await.unwrap();
                    assert!(count > 0, "cut off");
                    tail.extend_from_slice(&buffer[..count]);
                    if tail.windows(16).any(|part| part == b"event: completed") {
                        return;
                    }
                    if tail.len() > 1024 {
                        tail.drain(..tail.len() - 64);
                    }
                }
            }));
        }
    }
    // Far more than a connection that nobody reads can hold.
    for batch in 0..BATCHES {
        let events = (0..50).map(|number| Event::Progress {
            stage: "fetch".to_owned(),
            // Sent twice: under this name and under that of the first service.
            message: format!("{batch}-{number} {}", "x".repeat(250)),
            percent: None,
        });
        api.rows().happened(task, None, events.collect()).await;
    }
    api.rows().completed(task).await;
    let all = futures::future::join_all(reading);
    let read = tokio::time::timeout(Duration::from_secs(120), all).await;
    for reader in read.expect("half of the clients read, and must hear of the end in time") {
        reader.unwrap();
    }
    // The others still hold their connections; whoever asks now is answered all the same.
    let asked = Instant::now();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/tasks/{task}", service.address);
    let answer: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "done");
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    let resident = service.resident_mib();
    assert!(resident < 1500, "{resident} MiB");
    drop(idle);
}
