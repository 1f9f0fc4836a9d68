//! Agents, as live workers report them.

use axum::http::StatusCode;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{TestApi, with_api};

const AGENTS: &str = "/api/v1/agents";

/// A worker's report about Claude Code, with additional fields.
fn claude(version: &str) -> Value {
    json!({
        "name": "claude", "display_name": "Claude Code", "control": false,
        "available": true, "version": version, "program": "/opt/agents/bin/claude",
        "problem": null, "fix": null, "install_hint": "scripts/install-agents.sh",
        "environment": ["ANTHROPIC_API_KEY"], "default_model": "claude-sonnet-4-5",
        "capabilities": {"fork": true, "manual_compaction": true, "auto_compaction": true,
            "forced_compaction": true, "resume": true, "usage": true, "tools_off": true, "of_tomorrow": "yes"},
    })
}

fn missing(name: &str) -> Value {
    json!({"name": name, "available": false, "problem": "it is not installed",
        "fix": "scripts/install-agents.sh", "capabilities": {"fork": true}})
}

async fn listed(api: &TestApi) -> Vec<Value> {
    let answer = api.get(AGENTS).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["agents"].as_array().expect("a list").clone()
}

fn named<'a>(agents: &'a [Value], name: &str) -> &'a Value {
    agents
        .iter()
        .find(|agent| agent["name"] == name)
        .expect("it is listed")
}

#[tokio::test]
async fn before_a_worker_reports_it_no_agent_is_installed() {
    with_api(async |api| {
        let agents = listed(&api).await;
        let names: Vec<&Value> = agents.iter().map(|agent| &agent["name"]).collect();
        assert_eq!(
            names,
            [
                "iflow",
                "claude",
                "gemini",
                "control-perfect",
                "control-lossy"
            ]
        );
        for agent in &agents {
            assert_eq!(agent["installed"], false);
            assert_eq!(agent["workers"], json!([]));
            assert_eq!(agent["capabilities"], Value::Null);
            assert!(agent["problem"].is_string() && agent["fix"].is_string());
        }
        assert_eq!(named(&agents, "control-lossy")["control"], true);
        assert_eq!(named(&agents, "control-lossy")["takes_model"], false);
        assert_eq!(named(&agents, "claude")["takes_model"], true);
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_shown_as_its_workers_report_it() {
    with_api(async |api| {
        let rows = api.rows();
        rows.worker(
            "a",
            Utc::now(),
            json!([missing("claude"), missing("gemini")]),
        )
        .await;
        rows.worker("b", Utc::now(), json!([claude("2.1.197")]))
            .await;
        rows.worker("c", Utc::now(), json!([claude("2.2.0")])).await;
        let agents = listed(&api).await;
        assert_eq!(
            *named(&agents, "claude"),
            json!({
                "name": "claude", "display_name": "Claude Code", "control": false,
                "takes_model": true, "installed": true, "version": "2.1.197",
                "capabilities": {"fork": true, "manual_compaction": true,
                    "auto_compaction": true, "forced_compaction": true, "resume": true,
                    "usage": true, "tools_off": true},
                "problem": null, "fix": null,
                "workers": [{"name": "b", "version": "2.1.197"}, {"name": "c", "version": "2.2.0"}],
            })
        );
        let gemini = named(&agents, "gemini");
        assert_eq!(gemini["installed"], false);
        assert_eq!(gemini["problem"], "it is not installed");
        assert_eq!(gemini["fix"], "scripts/install-agents.sh");
        assert_eq!(gemini["capabilities"]["fork"], true);
        assert_eq!(gemini["capabilities"]["resume"], false);
        assert_eq!(gemini["workers"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_only_a_worker_knows_is_listed_and_can_be_asked_for() {
    with_api(async |api| {
        let own = json!([{"name": "in-house", "display_name": "Our own", "available": true,
            "version": "3", "default_model": "m"}]);
        api.rows().worker("one", Utc::now(), own).await;
        let agents = listed(&api).await;
        let last = agents.last().unwrap();
        assert_eq!(last["name"], "in-house");
        assert_eq!(last["display_name"], "Our own");
        assert_eq!(last["takes_model"], true);
        assert_eq!(last["installed"], true);
        api.created(&json!({"pr_url": "https://github.com/acme/widgets/pull/1",
            "agents": ["in-house:m"]}))
            .await;
    })
    .await;
}

#[tokio::test]
async fn reports_of_dead_or_unreadable_workers_do_not_count() {
    with_api(async |api| {
        let rows = api.rows();
        let long_ago = Utc::now() - TimeDelta::minutes(5);
        rows.worker("dead", long_ago, json!([claude("2.1.197")]))
            .await;
        rows.worker("odd", Utc::now(), json!({"claude": true}))
            .await;
        let odd = json!([7, {"name": 7}, {"name": "gemini", "available": true}]);
        rows.worker("odder", Utc::now(), odd).await;
        let agents = listed(&api).await;
        assert_eq!(named(&agents, "claude")["installed"], false);
        assert_eq!(named(&agents, "gemini")["installed"], true);
        assert_eq!(named(&agents, "gemini")["version"], Value::Null);
        assert_eq!(agents.len(), 5);
    })
    .await;
}
