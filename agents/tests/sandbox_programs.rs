//! The real programs start in each sandbox of this machine. The programs are in
//! `MEMBREAK_AGENTS_DIR`. A missing program fails the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agents::adapter::{Access, Limits, RawSink, SessionSpec, Stream};
use agents::process::{self, Launch};
use agents::program::Programs;
use agents::sandbox::{Mode, Sandbox};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

struct DiscardedLines;

impl RawSink for DiscardedLines {
    fn line(&self, _: Stream, _: &[u8]) {}
}

fn installed() -> PathBuf {
    std::env::var_os("MEMBREAK_AGENTS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/agents"),
        PathBuf::from,
    )
}

async fn version(name: &str, sandbox: &Sandbox) -> String {
    let programs = Programs {
        installed: Some(installed()),
        ..Programs::default()
    };
    let found = programs.find(name, name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spec = SessionSpec {
        home: folder.path().to_owned(),
        workspace: None,
        access: Access::Sealed,
        context_tokens: None,
        may_compact: false,
        seed: 1,
        environment: BTreeMap::new(),
        limits: Limits {
            turn: Duration::from_secs(60),
            ..Limits::default()
        },
        sandbox: sandbox.clone(),
        raw: Arc::new(DiscardedLines),
        events: mpsc::channel(1).0,
        cancel: CancellationToken::new(),
    };
    let path = found.search_path.into_string().unwrap();
    let launch = Launch {
        program: found.path,
        args: vec!["--version".into()],
        folder: folder.path().to_owned(),
        readable: found.folders,
        home: folder.path().to_owned(),
        environment: BTreeMap::from([("PATH".to_owned(), path)]),
        input: Vec::new(),
    };
    let mut said = String::new();
    let ended = process::run(&launch, &spec, |line| {
        said.push_str(&String::from_utf8_lossy(&line.bytes));
        Ok(Vec::new())
    })
    .await
    .unwrap();
    let words = sandbox.report().words;
    assert!(ended.status.success(), "{words}: {name}: {ended:?}");
    said
}

#[tokio::test]
async fn the_real_programs_start_in_every_sandbox() {
    for name in ["claude", "gemini", "qwen", "codex"] {
        let open = version(name, &Sandbox::none()).await;
        assert!(open.contains('.'), "{name}: {open:?}");
        for mode in [Mode::Landlock, Mode::Bwrap] {
            match Sandbox::detect(mode) {
                Ok(sandbox) => assert_eq!(version(name, &sandbox).await, open, "{name}"),
                Err(why) => assert!(!why.is_empty()),
            }
        }
    }
}
