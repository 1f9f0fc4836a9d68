//! Runs the skeleton against a shell script in the place of its program.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::SKELETON;
use crate::adapter::{Access, AgentAdapter as _, Limits, Presence, RawSink, SessionSpec, Stream};
use crate::adapters::cli_adapter::adapter::CliAdapter;
use crate::adapters::setup::Setup;
use crate::control::ControlProgram;
use crate::event::CompactionTrigger;
use crate::sandbox::Sandbox;

/// Keeps every prompt in HOME, and answers with the number of prompts. `/compact` keeps nothing.
const PROGRAM: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "1.0.0"; exit 0; fi
file=$HOME/conversation.jsonl
prompt=$(cat)
if [ "$prompt" = /compact ]; then
    : >"$file"
    echo '{"type":"compacted","before":100,"after":10,"summary":""}'
elif [ "$prompt" = "crash" ]; then
    exit 1
else
    echo "$prompt" >>"$file"
    echo "{\"type\":\"text\",\"text\":\"$(wc -l <"$file" | tr -d ' ')\"}"
fi
echo '{"type":"news"}'
echo '{"type":"done"}'
"#;

struct DiscardedLines;

impl RawSink for DiscardedLines {
    fn line(&self, _: Stream, _: &[u8]) {}
}

fn adapter(folder: &Path) -> CliAdapter {
    let program = folder.join("skeleton-agent");
    std::fs::write(&program, PROGRAM).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut setup = Setup::with_control(ControlProgram {
        path: "/bin/true".into(),
        args: Vec::new(),
        in_process: false,
    });
    setup
        .programs
        .paths
        .insert("skeleton-agent".to_owned(), program);
    CliAdapter::new(&SKELETON, &setup)
}

fn spec(home: &Path) -> SessionSpec {
    let (events, mut received) = mpsc::channel(100);
    tokio::spawn(async move { while received.recv().await.is_some() {} });
    SessionSpec {
        home: home.to_owned(),
        workspace: None,
        access: Access::Sealed,
        context_tokens: None,
        may_compact: true,
        seed: 0,
        environment: std::collections::BTreeMap::new(),
        limits: Limits::default(),
        sandbox: Sandbox::none(),
        raw: Arc::new(DiscardedLines),
        events,
        cancel: CancellationToken::new(),
    }
}

#[tokio::test]
async fn the_skeleton_has_a_conversation_forks_it_and_compacts() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let adapter = adapter(folder.path());
    assert!(matches!(adapter.probe().await, Presence::Installed { .. }));

    let mut session = adapter.open(spec(&home)).await.unwrap();
    assert_eq!(session.prompt("one").await.unwrap().text, "1");
    let mut fork = session.fork(Access::Sealed).await.unwrap();
    assert_eq!(session.prompt("two").await.unwrap().text, "2");
    assert_eq!(fork.prompt("other").await.unwrap().text, "2");
    fork.close().await;

    let checkpoint = session.checkpoint().await.unwrap();
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let mut resumed = adapter.resume(spec(&other), &checkpoint).await.unwrap();
    assert_eq!(resumed.prompt("three").await.unwrap().text, "3");

    let turn = session.compact(CompactionTrigger::Manual).await.unwrap();
    assert_eq!(turn.compactions.len(), 1);
    assert_eq!(session.prompt("again").await.unwrap().text, "1");
}

#[tokio::test]
async fn a_turn_without_an_end_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = adapter(folder.path());
    let mut session = adapter.open(spec(folder.path())).await.unwrap();
    assert!(session.prompt("crash").await.is_err());
}
