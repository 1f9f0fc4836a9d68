//! Judging a finished task again, and exporting its questions.

use domain::vocabulary::{JobKind, TaskStatus};
use entity::TaskId;
use serde_json::json;

use crate::support::{RunRow, with_api};

#[tokio::test]
async fn a_finished_task_is_judged_again_once_at_a_time() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Done).await;
        let path = format!("/api/v1/tasks/{task}/judge");
        let answer = api.post(&path, &json!({})).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let judging = answer.json();
        assert_eq!(
            (&judging["number"], &judging["status"]),
            (&json!(2), &json!("queued"))
        );
        let jobs = api.rows().jobs_of(task).await;
        assert_eq!((jobs.len(), jobs[0].kind), (1, JobKind::JudgeTask));
        // It has graded nothing yet.
        let one = api.get(&format!("/api/v1/tasks/{task}/judgings/2")).await;
        assert_eq!(one.json()["answers"], json!(null), "{}", one.text());
        // Until it is done there is no second one, and the old figures are shown.
        let again = api.post(&path, &json!({})).await;
        assert_eq!(again.status, 409);
        assert!(again.text().contains("judged again already"));
        let listed = api
            .get(&format!("/api/v1/tasks/{task}/judgings"))
            .await
            .json();
        assert_eq!(listed.as_array().map(Vec::len), Some(1));
        assert_eq!(listed[0]["shown"], false);
        assert_eq!(
            api.get(&format!("/api/v1/tasks/{task}")).await.json()["judging"],
            1
        );
    })
    .await;
}

#[tokio::test]
async fn every_judging_shows_the_figures_that_it_found() {
    with_api(async |api| {
        let task = TaskId::new();
        let rows = api.rows();
        rows.task(task, TaskStatus::Done, &["claude"]).await;
        // Its own scores are those of judging 1.
        let run = rows.run(task, RunRow::default()).await.id;
        rows.judging(task, 1).await;
        rows.judging(task, 2).await;
        rows.recall(run, 1, 3).await;
        rows.scores(run, 2, 0.75).await;
        rows.recall(run, 2, 8).await;
        for (number, post, recall) in [(1, 0.5, 0.3), (2, 0.75, 0.8)] {
            let path = format!("/api/v1/tasks/{task}/judgings/{number}");
            let answer = api.get(&path).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let judged = answer.json();
            assert_eq!(
                (&judged["number"], &judged["shown"]),
                (&json!(number), &json!(number == 1))
            );
            assert_eq!(judged["judges"][0]["name"], "deterministic/1");
            let run = &judged["runs"][0];
            assert_eq!(run["breaks"][0]["break"], 1);
            assert_eq!(run["breaks"][0]["dimensions"]["AR"]["post"], post);
            assert_eq!(run["recall"][0]["recall"], recall);
            assert_eq!(run["recall"][0]["jurors"], 2);
            let answers = match number {
                1 => "answers.jsonl",
                _ => "judging-2-answers.jsonl",
            };
            assert_eq!(judged["answers"], answers);
        }
        for number in ["3", "0", "first"] {
            let path = format!("/api/v1/tasks/{task}/judgings/{number}");
            assert_eq!(api.get(&path).await.status, 404, "{number}");
        }
        let theirs = TaskId::new();
        rows.task_of("elsewhere", theirs, TaskStatus::Done, &["claude"])
            .await;
        rows.judging(theirs, 1).await;
        let path = format!("/api/v1/tasks/{theirs}/judgings/1");
        assert_eq!(api.get(&path).await.status, 404);
    })
    .await;
}

#[tokio::test]
async fn unfinished_and_foreign_tasks_are_not_judged() {
    with_api(async |api| {
        let running = TaskId::new();
        api.rows()
            .task(running, TaskStatus::Running, &["claude"])
            .await;
        let path = |task: TaskId| format!("/api/v1/tasks/{task}/judge");
        assert_eq!(api.post(&path(running), &json!({})).await.status, 409);
        let theirs = TaskId::new();
        let rows = api.rows();
        rows.task_of("elsewhere", theirs, TaskStatus::Done, &["claude"])
            .await;
        assert_eq!(api.post(&path(theirs), &json!({})).await.status, 404);
        assert_eq!(api.post(&path(TaskId::new()), &json!({})).await.status, 404);
    })
    .await;
}

#[tokio::test]
async fn questions_are_kept_back_until_the_task_has_ended() {
    with_api(async |api| {
        let task = api.task(TaskStatus::Running).await;
        let path = format!("/api/v1/tasks/{task}/question-bank");
        assert_eq!(api.get(&path).await.status, 409);
        let ended = TaskId::new();
        api.rows().task(ended, TaskStatus::Error, &["claude"]).await;
        let path = format!("/api/v1/tasks/{ended}/question-bank");
        assert_eq!(api.get(&path).await.status, 409);
    })
    .await;
}

#[tokio::test]
async fn a_bank_that_is_none_is_refused_with_its_line() {
    with_api(async |api| {
        for (bank, problem) in [
            ("", "it is empty"),
            ("{\"question_bank\": 9}", "line 1"),
            ("nonsense", "line 1 of the question bank"),
        ] {
            let body = json!({
                "pr_url": "https://github.com/acme/widgets/pull/1",
                "agents": ["claude"], "question_bank": bank,
            });
            let answer = api.post("/api/v1/tasks", &body).await;
            assert_eq!(answer.status, 422, "{bank:?}: {}", answer.text());
            assert!(
                answer.text().contains(problem),
                "{bank:?}: {}",
                answer.text()
            );
        }
        for (field, value) in [
            ("breaks", json!(11)),
            ("max_cost_usd", json!(-1)),
            ("probes_per_prompt", json!(0)),
            ("probes_per_prompt", json!(21)),
            ("open_questions", json!("perhaps")),
        ] {
            let mut body = json!({"pr_url": "https://github.com/acme/widgets/pull/1",
                                  "agents": ["claude"]});
            body[field] = value;
            assert_eq!(
                api.post("/api/v1/tasks", &body).await.status,
                422,
                "{field}"
            );
        }
        let mut body = json!({"pr_url": "https://github.com/acme/widgets/pull/1",
                              "agents": ["claude"]});
        let plain = api.post("/api/v1/tasks", &body).await.json();
        assert_eq!(plain["probes_per_prompt"], 1);
        assert_eq!(plain["open_questions"], true);
        body["probes_per_prompt"] = json!(20);
        body["open_questions"] = json!(false);
        let other = api.post("/api/v1/tasks", &body).await.json();
        assert_eq!(other["probes_per_prompt"], 20);
        assert_eq!(other["open_questions"], false);
    })
    .await;
}
