//! Settings of a worker.

pub(crate) mod agents;
mod forge;
pub mod judges;
mod paths;

use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::settings::Reader;
use source::{ForgeSettings, SourceSettings};

pub use agents::AgentSettings;
pub use judges::JudgeSettings;

/// Settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Name of this start of the process: host, process id and a random part.
    pub name: String,
    /// `WORKER_QUEUES`: queues to serve, comma-separated. Default: all that the worker can serve.
    pub queues: Vec<String>,
    /// `WORKER_SLOTS`: number of jobs at once.
    pub slots: usize,
    /// `WORK_DIR`: folder for mirrors, checkouts and HOMEs.
    pub work_dir: PathBuf,
    /// `DRAIN_SECONDS`: time that a stopping worker gives its jobs to finish.
    pub drain: Duration,
    /// `TASK_TIMEOUT_SECONDS`: time limit of one run.
    pub run_timeout: Duration,
    /// `AGENT_SESSION_TIMEOUT`: time limit of one turn, in seconds.
    pub turn_timeout: Duration,
    /// `PROVIDER_WAIT_SECONDS`: delay before the second attempt after a provider outage. It is four
    /// times as long after a rate limit, and doubles with each further attempt.
    pub provider_wait: Duration,
    /// `MAX_CONTEXT_TOKENS`: largest context that a run may be planned for.
    pub max_context_tokens: u64,
    /// `MAX_TURNS`: maximum number of turns of one deep dive.
    pub max_turns: u32,
    pub agents: AgentSettings,
    pub judges: JudgeSettings,
    pub forge: ForgeSettings,
    pub webhooks: WebhookSettings,
}

/// Settings of webhook deliveries.
#[derive(Clone, Copy, Debug)]
pub struct WebhookSettings {
    /// `WEBHOOK_PRIVATE_ADDRESSES`: whether webhooks may have private addresses and no TLS.
    pub private_addresses: bool,
    /// `WEBHOOK_WAIT_SECONDS`: delay before the second attempt, four times as long after each
    /// further one. Default: 10.
    pub wait: Duration,
}

impl WebhookSettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            private_addresses: reader.flag("WEBHOOK_PRIVATE_ADDRESSES", false),
            wait: reader.seconds("WEBHOOK_WAIT_SECONDS", Duration::from_secs(10)),
        }
    }
}

impl WorkerSettings {
    /// Reads the settings of a worker and records problems in `reader`.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let slots = reader.parsed("WORKER_SLOTS", cores.max(2));
        if !(1..=1_000).contains(&slots) {
            reader.refuse("WORKER_SLOTS", "must be from 1 to 1000");
        }
        let max_context_tokens = reader.parsed("MAX_CONTEXT_TOKENS", 200_000);
        if max_context_tokens < 8_000 {
            reader.refuse(
                "MAX_CONTEXT_TOKENS",
                "must be at least 8000: a smaller context holds no study",
            );
        }
        let max_turns = reader.parsed("MAX_TURNS", 60);
        if max_turns < 8 {
            reader.refuse(
                "MAX_TURNS",
                "must be at least 8: the teaching takes up to four turns",
            );
        }
        Self {
            name: new_name(),
            queues: reader.list("WORKER_QUEUES").unwrap_or_default(),
            slots: slots.max(1),
            work_dir: work_dir(reader),
            drain: reader.seconds("DRAIN_SECONDS", Duration::from_secs(30)),
            run_timeout: reader.seconds("TASK_TIMEOUT_SECONDS", Duration::from_secs(3_600)),
            turn_timeout: reader.seconds("AGENT_SESSION_TIMEOUT", Duration::from_secs(1_800)),
            provider_wait: reader.seconds("PROVIDER_WAIT_SECONDS", Duration::from_secs(15)),
            max_context_tokens,
            max_turns,
            agents: AgentSettings::read(reader),
            judges: JudgeSettings::read(reader),
            forge: forge::forge_settings(reader),
            webhooks: WebhookSettings::read(reader),
        }
    }

    /// Returns the settings of everything that reads repositories and forges.
    pub fn source(&self) -> SourceSettings {
        SourceSettings {
            work_dir: self.work_dir.clone(),
            forge: self.forge.clone(),
        }
    }
}

/// Returns the folder for mirrors, checkouts and HOMEs: below the storage folder, unless the
/// storage is a bucket.
fn work_dir(reader: &mut Reader<'_>) -> PathBuf {
    if let Some(folder) = reader.text("WORK_DIR") {
        return paths::absolute(PathBuf::from(folder));
    }
    let storage = reader.text("STORAGE_DIR");
    let storage = storage.as_deref().unwrap_or("storage");
    let above = if storage.contains("://") { "" } else { storage };
    paths::absolute(Path::new(above).join("work"))
}

/// Returns a name that no other start of a worker has.
fn new_name() -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!(
        "{}-{}-{}",
        crate::host::host_name(),
        std::process::id(),
        &unique[..8]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_setting_is_named_at_once() {
        let source = [
            ("WORKER_SLOTS", "none"),
            ("MAX_CONTEXT_TOKENS", "10"),
            ("FORGE_URLS", "https://user:word@github.com"),
            ("LOCAL_REPOSITORIES", "here"),
            ("SANDBOX", "chroot"),
            ("SANDBOX_CONNECT_PORTS", "443,https"),
        ];
        let mut reader = Reader::new(&source);
        let settings = WorkerSettings::read(&mut reader);
        let errors = reader.finish(settings).expect_err("six bad settings");
        let names: Vec<_> = errors.0.iter().map(|error| error.name).collect();
        assert_eq!(names.len(), 6, "{names:?}");
    }

    #[test]
    fn the_work_folder_is_below_the_storage_also_where_neither_is_set() {
        let of = |source: &dyn platform::settings::Source| work_dir(&mut Reader::new(source));
        let here = |path: &str| std::path::absolute(path).expect("a folder");
        assert_eq!(of(&[] as &[(&str, &str); 0]), here("storage/work"));
        assert_eq!(of(&[("STORAGE_DIR", "/kept")]), Path::new("/kept/work"));
        assert_eq!(of(&[("STORAGE_DIR", "s3://kept/here")]), here("work"));
        assert_eq!(
            of(&[("STORAGE_DIR", "/kept"), ("WORK_DIR", "/fast")]),
            Path::new("/fast")
        );
    }

    #[test]
    fn githubs_api_is_not_asked_about_another_forge() {
        let source = [("FORGE_URLS", "http://127.0.0.1:9000/")];
        let mut reader = Reader::new(&source);
        let settings = WorkerSettings::read(&mut reader);
        let settings = reader.finish(settings).expect("good settings");
        assert_eq!(settings.forge.base_urls, ["http://127.0.0.1:9000"]);
        assert_eq!(settings.forge.api_url, None);
    }
}
