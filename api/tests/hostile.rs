//! Requests of an attacker.
//!
//! This file: names, URLs, bodies and headers. [`callers`]: forged identities and foreign
//! resources. [`streams`]: clients that send or read nothing. Redirecting forges are tested with
//! the workers, because this process fetches nothing of a pull request.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on is a failed test"
)]

mod callers;
mod streams;

use std::time::Duration;

use async_zip::base::read1::seek::ZipArchiveReader;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use domain::vocabulary::TaskStatus;
use entity::TaskId;
use futures::io::Cursor;
use serde_json::json;
use testkit::database::{TestDatabase, on_both_engines};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::{Answer, TestApi, request, with_api};

fn create(body: String) -> Request<Body> {
    request(Method::POST, "/api/v1/tasks", Body::from(body))
}

/// The request is refused as a client error and reveals no internals.
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
    with_api(async |api| {
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
    with_api(async |api| {
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
    with_api(async |api| {
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
        assert!(api.notifier.sent().is_empty());
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
    with_api(async |api| {
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
            // The response does not repeat long input.
            assert!(
                answer.bytes.len() < 2_500_000,
                "{what}: {}",
                answer.bytes.len()
            );
        }
        // A megabyte of nothing but mistakes is not answered with a hundred of explanations.
        let nothing = vec![""; 300_000];
        let numbers = vec![1; 400_000];
        for (what, list) in [
            ("words", json!({"pr_url": url, "agents": nothing})),
            ("words", json!({"pr_url": url, "rubric": nothing})),
            ("numbers", json!({"pr_url": url, "agents": numbers})),
            ("numbers", json!({"pr_url": url, "rubric": numbers})),
            ("some", json!({"pr_url": url, "agents": vec![""; 900]})),
        ] {
            let answer = api.send(create(list.to_string())).await;
            refused(&answer, what);
            assert!(answer.bytes.len() < 100_000, "{}", answer.bytes.len());
            let problems = answer.json()["detail"].as_array().map_or(0, Vec::len);
            assert!((1..=101).contains(&problems), "{problems}");
        }
        for path in [
            format!("/api/v1/tasks?status={}", ",".repeat(30_000)),
            format!("/api/v1/tasks?status={}", "x,".repeat(15_000)),
        ] {
            let answer = api.get(&path).await;
            refused(&answer, "a list of states");
            assert!(answer.bytes.len() < 100_000, "{}", answer.bytes.len());
            let problems = answer.json()["detail"].clone();
            assert_eq!(problems.as_array().map(Vec::len), Some(101));
            assert_eq!(problems[100]["type"], "too_many_problems");
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
    with_api(async |api| {
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
    with_api(async |api| {
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
async fn heads_that_are_too_large_or_twisted_are_refused() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::on(&database);
    let (address, _stop) = listening(&api).await;
    for (expected, head) in [
        (
            431,
            format!(
                "GET / HTTP/1.1\r\nhost: localhost\r\nx-a: {}\r\n\r\n",
                "x".repeat(100_000)
            ),
        ),
        (
            431,
            format!(
                "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
                "x".repeat(100_000)
            ),
        ),
        (
            431,
            format!(
                "GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
                "a: b\r\n".repeat(500)
            ),
        ),
        (
            400,
            "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_owned(),
        ),
        (
            400,
            "GET / HTTP/1.1\r\nhost: localhost\r\nx-a: \u{0}\r\n\r\n".to_owned(),
        ),
        (
            400,
            "POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n"
                .to_owned(),
        ),
        (400, "nonsense\r\n\r\n".to_owned()),
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
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{}: {answer:?} instead of {expected}",
            &head[..60.min(head.len())]
        );
    }
}
