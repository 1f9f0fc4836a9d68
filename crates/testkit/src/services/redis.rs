//! A private Redis without persistence: a restart loses all data.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::{START_TIMEOUT, Server, find_program, free_port};

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    server: Option<Server>,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts a server and waits until it answers.
    pub async fn start() -> anyhow::Result<Self> {
        let mut redis = Self {
            server: None,
            port: 0,
            folder: tempfile::tempdir().context("creating a folder for Redis")?,
        };
        for _ in 0..5 {
            redis.port = free_port()?;
            if redis.start_server().await? {
                return Ok(redis);
            }
        }
        bail!("could not start Redis: every port was taken")
    }

    /// Returns the value of `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Ends the server. Its data is lost.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts the server again, empty, on the same port. Ends it first if it runs.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop();
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if self.start_server().await? {
                return Ok(());
            }
        }
        bail!("could not restart Redis: port {} is taken", self.port)
    }

    /// Stops all answers while connections stay open.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.running()?.signal(Signal::SIGSTOP)
    }

    /// Ends a pause.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.running()?.signal(Signal::SIGCONT)
    }

    fn running(&self) -> anyhow::Result<&Server> {
        self.server.as_ref().context("Redis is not running")
    }

    /// Starts the process. Returns `false` if it exited before it answered.
    async fn start_server(&mut self) -> anyhow::Result<bool> {
        let program = find_program("redis-server", &[PathBuf::from("/usr/bin")])?;
        let port = self.port.to_string();
        let mut command = Command::new(program);
        command
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", ""])
            .args(["--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(self.folder.path());
        let mut server = Server::spawn(&mut command, Signal::SIGTERM)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if server.has_exited() {
                return Ok(false);
            }
            if answers(&self.url()).await {
                self.server = Some(server);
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("Redis did not answer within {START_TIMEOUT:?}")
    }
}

async fn answers(url: &str) -> bool {
    let Ok(client) = redis::Client::open(url) else {
        return false;
    };
    let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
        return false;
    };
    redis::cmd("PING")
        .query_async::<String>(&mut connection)
        .await
        .is_ok()
}
