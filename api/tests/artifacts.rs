//! Artifacts of a task.

use std::collections::BTreeMap;

use async_zip::base::read1::seek::ZipArchiveReader;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::vocabulary::TaskStatus;
use entity::TaskId;
use futures::io::Cursor;
use futures::{AsyncReadExt, StreamExt};
use serde_json::json;
use tower::ServiceExt;

use crate::support::{RunRow, TestApi, request, with_api};

/// A task with a report, and a transcript of each of two trials.
async fn with_files(api: &TestApi) -> TaskId {
    with_files_of(api, TaskStatus::Done).await
}

async fn with_files_of(api: &TestApi, status: TaskStatus) -> TaskId {
    let task = TaskId::new();
    let rows = api.rows();
    rows.task(task, status, &["claude"]).await;
    rows.file(task, None, "report.md", "# Report").await;
    rows.file(task, None, "task.log", "{}\n").await;
    for trial in [1, 2] {
        let row = RunRow {
            trial,
            ..RunRow::default()
        };
        let run = rows.run(task, row).await;
        let text = format!("trial {trial}");
        rows.file(task, Some(run.id), "transcript", &text).await;
        let private = bytes::Bytes::from_static(b"state");
        api.state
            .platform
            .artifacts
            .put_private(
                &api.state.platform.database,
                task,
                Some(run.id),
                ".checkpoint",
                private,
            )
            .await
            .expect("bytes can be kept");
    }
    task
}

#[tokio::test]
async fn files_are_listed_by_agent_and_name_without_a_path_of_the_server() {
    with_api(async |api| {
        let task = with_files(&api).await;
        let answer = api.get(&format!("/api/v1/artifacts/{task}/list")).await;
        assert!(!answer.text().contains(api.storage()), "{}", answer.text());
        let list = answer.json();
        let newest = &list["artifacts"]["claude"]["transcript"];
        assert_eq!(newest["path"], "transcript");
        assert_eq!(newest["trial"], 2);
        assert_eq!(newest["size"], 7);
        assert_eq!(list["artifacts"]["task"]["report.md"]["size"], 8);
        assert_eq!(list["files"].as_array().unwrap().len(), 4);
        assert_eq!(list["total_size"], 8 + 3 + 7 + 7);
        for file in list["files"].as_array().unwrap() {
            let got = api.get(file["download_url"].as_str().unwrap()).await;
            assert_eq!(got.status, StatusCode::OK);
            assert_eq!(json!(got.bytes.len()), file["size"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_is_fetched_from_the_newest_trial_or_the_one_asked_for() {
    with_api(async |api| {
        let task = with_files(&api).await;
        let path = format!("/api/v1/artifacts/{task}/claude/transcript");
        let newest = api.get(&path).await;
        assert_eq!(newest.text(), "trial 2");
        assert_eq!(newest.header("content-type"), Some("text/plain"));
        assert_eq!(newest.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(newest.header("content-length"), Some("7"));
        assert_eq!(api.get(&format!("{path}?trial=1")).await.text(), "trial 1");
        let report = api
            .get(&format!("/api/v1/artifacts/{task}/task/report.md"))
            .await;
        assert_eq!(report.text(), "# Report");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_not_a_file_of_the_task_is_not_found() {
    with_api(async |api| {
        let task = with_files(&api).await;
        for name in [
            "nope",
            ".checkpoint",
            "..%2f..%2f..%2fetc%2fpasswd",
            "..%252f..%252fetc%252fpasswd",
            "%2e%2e",
            "..",
            "%2fetc%2fpasswd",
            "transcript%00",
            "%ff",
            "report.md",
        ] {
            let answer = api
                .get(&format!("/api/v1/artifacts/{task}/claude/{name}"))
                .await;
            assert_eq!(
                answer.status,
                StatusCode::NOT_FOUND,
                "{name}: {}",
                answer.text()
            );
        }
        for agent in ["gemini", "..", "%2e%2e%2f", "control-lossy:0.5"] {
            let path = format!("/api/v1/artifacts/{task}/{agent}/transcript");
            assert_eq!(
                api.get(&path).await.status,
                StatusCode::NOT_FOUND,
                "{agent}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_bundle_is_a_whole_archive_of_all_files() {
    with_api(async |api| {
        let task = with_files(&api).await;
        // Larger than every buffer on the way.
        let large: String = (0..200_000).map(|number| format!("{number}\n")).collect();
        api.rows().file(task, None, "large.txt", &large).await;
        let answer = api.get(&format!("/api/v1/artifacts/{task}/bundle")).await;
        assert_eq!(answer.header("content-type"), Some("application/zip"));
        let mut archive = ZipArchiveReader::open(Cursor::new(answer.bytes))
            .await
            .unwrap();
        let names: Vec<String> = archive
            .inner()
            .cdrs()
            .iter()
            .map(|entry| entry.insecure_file_name.as_str().unwrap().to_owned())
            .collect();
        let mut found = BTreeMap::new();
        for (index, name) in names.into_iter().enumerate() {
            let mut text = String::new();
            let mut file = archive.file(index).await.unwrap();
            file.read_to_string(&mut text).await.unwrap();
            found.insert(name, text);
        }
        let expected = [
            ("agents/claude/trial-1/transcript", "trial 1"),
            ("agents/claude/trial-2/transcript", "trial 2"),
            ("large.txt", large.as_str()),
            ("report.md", "# Report"),
            ("task.log", "{}\n"),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
    })
    .await;
}

#[tokio::test]
async fn a_bundle_that_cannot_be_finished_breaks_off() {
    with_api(async |api| {
        let task = with_files(&api).await;
        let mut gone: entity::artifact::ActiveModel = {
            use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
            entity::artifact::Entity::find()
                .filter(entity::artifact::Column::Name.eq("report.md"))
                .one(&api.state.platform.database)
                .await
                .unwrap()
                .unwrap()
                .into()
        };
        gone.key = sea_orm::Set(format!("{task}-gone"));
        sea_orm::ActiveModelTrait::update(gone, &api.state.platform.database)
            .await
            .unwrap();
        let asking = request(
            Method::GET,
            &format!("/api/v1/artifacts/{task}/bundle"),
            Body::empty(),
        );
        let response = api.router.clone().oneshot(asking).await.unwrap();
        let pieces: Vec<_> = response.into_body().into_data_stream().collect().await;
        assert!(pieces.last().unwrap().is_err());
    })
    .await;
}

#[tokio::test]
async fn the_log_files_are_those_that_people_read_along() {
    with_api(async |api| {
        let task = with_files(&api).await;
        let answer = api
            .get(&format!("/api/v1/logs/{task}/artifacts/logs"))
            .await
            .json();
        let names: Vec<_> = answer["log_files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| {
                (
                    file["name"].as_str().unwrap(),
                    file["path"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            names,
            [
                ("task.log", "task.log"),
                ("claude_transcript", "agents/claude/trial-1/transcript"),
                ("claude_transcript", "agents/claude/trial-2/transcript"),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn until_a_task_has_ended_nothing_reveals_its_questions() {
    with_api(async |api| {
        for status in TaskStatus::ALL {
            let task = with_files_of(&api, status).await;
            // The files of the preparation, and an unknown one.
            for name in ["probes.json", "fact_sheet.json", "pull_request.diff", "new"] {
                api.rows().file(task, None, name, "{}").await;
            }
            api.rows().file(task, None, "manifest.json", "{}").await;
            let open = match status {
                TaskStatus::Queued | TaskStatus::Running | TaskStatus::Judging => false,
                TaskStatus::Done | TaskStatus::Error | TaskStatus::Cancelled => true,
            };
            let list = api
                .get(&format!("/api/v1/artifacts/{task}/list"))
                .await
                .json();
            let files = list["files"].as_array().unwrap();
            assert_eq!(files.len(), 9);
            for file in files {
                let name = file["name"].as_str().unwrap();
                let readable = open || ["manifest.json", "task.log"].contains(&name);
                assert_eq!(file["readable"], readable, "{status} {name}");
                let url = file["download_url"].as_str().unwrap();
                for method in [Method::GET, Method::HEAD] {
                    let answer = api.send(request(method, url, Body::empty())).await;
                    let expected = match readable {
                        true => StatusCode::OK,
                        false => StatusCode::CONFLICT,
                    };
                    assert_eq!(answer.status, expected, "{status} {name}");
                }
            }
            let bundle = api.get(&format!("/api/v1/artifacts/{task}/bundle")).await;
            assert_eq!(bundle.status == StatusCode::OK, open, "{status}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_locked_file_names_the_reason_and_opens_when_the_task_ends() {
    with_api(async |api| {
        let task = with_files_of(&api, TaskStatus::Running).await;
        let path = format!("/api/v1/artifacts/{task}/claude/transcript");
        let kept_back = api.get(&path).await;
        assert_eq!(kept_back.status, StatusCode::CONFLICT);
        let body = kept_back.json();
        assert_eq!(body["status_code"], 409);
        assert_eq!(body["title"], "Conflict");
        let error = body["error"].as_str().unwrap();
        for word in ["transcript", "running", "task.log", "manifest.json"] {
            assert!(error.contains(word), "{error}");
        }
        // A missing file is not found in any state of the task.
        let missing = api
            .get(&format!("/api/v1/artifacts/{task}/claude/nope"))
            .await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        api.rows().completed(task).await;
        assert_eq!(api.get(&path).await.text(), "trial 2");
    })
    .await;
}

#[tokio::test]
async fn a_range_of_a_file_can_be_fetched_and_a_cached_file_is_not_sent_again() {
    with_api(async |api| {
        let task = TaskId::new();
        let rows = api.rows();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        rows.file(task, None, "task.log", "0123456789").await;
        let path = format!("/api/v1/artifacts/{task}/task/task.log");
        let whole = api.get(&path).await;
        let etag = whole.header("etag").unwrap().to_owned();
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        let ask = async |headers: &[(&'static str, &str)]| {
            let mut asking = request(Method::GET, &path, Body::empty());
            for (name, value) in headers {
                asking.headers_mut().insert(*name, value.parse().unwrap());
            }
            api.send(asking).await
        };
        for (range, text, told) in [
            ("bytes=0-3", "0123", "bytes 0-3/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-2", "89", "bytes 8-9/10"),
            ("bytes=4-400", "456789", "bytes 4-9/10"),
            ("bytes=9-9", "9", "bytes 9-9/10"),
            // Fewer than the last so many there are: all of them.
            ("bytes=-10", "0123456789", "bytes 0-9/10"),
            ("bytes=-1000", "0123456789", "bytes 0-9/10"),
            ("bytes=-99999999999999999999", "0123456789", "bytes 0-9/10"),
        ] {
            let part = ask(&[("range", range)]).await;
            assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(part.text(), text, "{range}");
            assert_eq!(part.header("content-range"), Some(told));
        }
        for beyond in ["bytes=10-", "bytes=10-20", "bytes=99-100", "bytes=-0"] {
            let part = ask(&[("range", beyond)]).await;
            assert_eq!(part.status, StatusCode::RANGE_NOT_SATISFIABLE, "{beyond}");
            assert_eq!(part.header("content-range"), Some("bytes */10"));
        }
        for all in ["bytes=0-1,3-4", "lines=1-2", "bytes=b-c", "bytes=5-2"] {
            let answer = ask(&[("range", all)]).await;
            let fine = answer.status == StatusCode::OK && answer.text() == "0123456789";
            let refused = answer.status == StatusCode::RANGE_NOT_SATISFIABLE;
            assert!(fine || refused, "{all}: {}", answer.status);
        }
        for several in ["bytes=-1112,-564", "bytes=90-99,0-1", "bytes=1-2, 4-5"] {
            let answer = ask(&[("range", several)]).await;
            assert_eq!(answer.status, StatusCode::OK, "{several}");
            assert_eq!(answer.text(), "0123456789");
        }
        let other = ask(&[("range", "bytes=0-3"), ("if-range", "\"other\"")]).await;
        assert_eq!(
            (other.status, other.text().as_str()),
            (StatusCode::OK, "0123456789")
        );
        let same = ask(&[("range", "bytes=0-3"), ("if-range", &etag)]).await;
        assert_eq!(same.status, StatusCode::PARTIAL_CONTENT);
        let known = ask(&[("if-none-match", &etag)]).await;
        assert_eq!(known.status, StatusCode::NOT_MODIFIED);
        assert!(known.bytes.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_file_is_sent_as_it_is_stored_so_that_a_download_can_go_on() {
    with_api(async |api| {
        let rows = api.rows();
        let task = TaskId::new();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        let text = "the same again and again ".repeat(400);
        rows.file(task, None, "long.txt", &text).await;
        let ask = async |path: String, headers: &[(&'static str, &str)]| {
            let mut asking = request(Method::GET, &path, Body::empty());
            for (name, value) in headers {
                asking.headers_mut().insert(*name, value.parse().unwrap());
            }
            asking
                .headers_mut()
                .insert("accept-encoding", "gzip, br".parse().unwrap());
            api.send(asking).await
        };
        let path = format!("/api/v1/artifacts/{task}/task/long.txt");
        let whole = ask(path.clone(), &[]).await;
        assert_eq!(whole.header("content-encoding"), None);
        assert_eq!(whole.text(), text);
        let etag = whole.header("etag").unwrap().to_owned();
        let going_on = [("range", "bytes=5000-"), ("if-range", etag.as_str())];
        let rest = ask(path, &going_on).await;
        assert_eq!(rest.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(rest.text(), text[5000..]);
        let bundle = ask(format!("/api/v1/artifacts/{task}/bundle"), &[]).await;
        assert_eq!(bundle.header("content-encoding"), None);
        assert!(bundle.bytes.starts_with(b"PK"));
        // Responses other than files are compressed.
        let list = ask(format!("/api/v1/artifacts/{task}/list"), &[]).await;
        assert_eq!(list.header("content-encoding"), Some("br"));
    })
    .await;
}
