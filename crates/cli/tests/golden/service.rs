//! The program on a loaded database: its service and its commands.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sea_orm::ConnectionTrait as _;
use tempfile::TempDir;
use testkit::database::TestDatabase;
use tokio::process::Command;

use super::fixture::Fixture;

/// The organisation of callers without single sign-on, and of most recorded tasks.
pub(crate) const ORGANISATION: &str = "local";
const SECRET: &str = "a secret of the golden documents";
const PATIENCE: Duration = Duration::from_secs(60);

/// A loaded database, a folder with the stored files, and the program's settings.
pub(crate) struct Installation {
    folder: TempDir,
    database_url: String,
    has_sign_on: bool,
    client: reqwest::Client,
}

/// An answer of the service.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) text: String,
}

/// The end of a command.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running service. Ends when dropped.
pub(crate) struct Service {
    process: Child,
    address: String,
    client: reqwest::Client,
    has_sign_on: bool,
}

impl Installation {
    /// Loads the recorded database. Callers name their organisation.
    pub(crate) async fn new(fixture: &Fixture, database: &TestDatabase) -> anyhow::Result<Self> {
        fixture.load(database).await?;
        Self::around(fixture, database, true)
    }

    /// Loads the recorded database, with all tasks in the organisation of the local user.
    pub(crate) async fn of_one_organisation(
        fixture: &Fixture,
        database: &TestDatabase,
    ) -> anyhow::Result<Self> {
        fixture.load(database).await?;
        let sql = format!("UPDATE task SET org_id = '{ORGANISATION}', team_id = NULL");
        database.connection().execute_unprepared(&sql).await?;
        Self::around(fixture, database, false)
    }

    /// An installation without a database of its own, for commands that need none.
    pub(crate) fn without_database() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let path = folder.path().join("membreak.db");
        let database_url = format!("sqlite://{}?mode=rwc", path.display());
        Self::with(folder, database_url, false)
    }

    fn around(
        fixture: &Fixture,
        database: &TestDatabase,
        has_sign_on: bool,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        fixture.write_files(&folder.path().join("storage"))?;
        Self::with(folder, database.url().to_owned(), has_sign_on)
    }

    fn with(folder: TempDir, database_url: String, has_sign_on: bool) -> anyhow::Result<Self> {
        Ok(Self {
            folder,
            database_url,
            has_sign_on,
            client: platform::http_client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()?,
        })
    }

    /// A path of the temporary folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_membreak"));
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("DATABASE_URL", &self.database_url)
            .env("STORAGE_DIR", self.path("storage"))
            .env("WORK_DIR", self.path("work"))
            .env("AGENTS_DIR", self.path("agents"))
            .env("RATE_LIMIT_PER_MINUTE", "0")
            .env("LOG_LEVEL", "error")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // The answers do not depend on the programs of this machine.
        for name in [
            "CLAUDE_BIN",
            "GEMINI_BIN",
            "IFLOW_BIN",
            "QWEN_BIN",
            "CODEX_BIN",
        ] {
            command.env(name, "/nonexistent/agent");
        }
        if self.has_sign_on {
            command
                .env("SSO_ENABLED", "true")
                .env("GATEWAY_SECRET", SECRET);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> anyhow::Result<Ended> {
        let output = self.command(args).output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .with_context(|| format!("membreak {args:?} does not end"))??;
        Ok(Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Starts the service on a free port.
    pub(crate) async fn serve(&self) -> anyhow::Result<Service> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = std::fs::File::create(self.path("serve.log"))?;
        let mut command = self.command(&["serve", "--port", &port.to_string()]);
        command.stderr(log).stdout(Stdio::null());
        let process = command.as_std_mut().spawn().context("starting membreak")?;
        let mut service = Service {
            process,
            address: format!("http://127.0.0.1:{port}"),
            client: self.client.clone(),
            has_sign_on: self.has_sign_on,
        };
        let begun = Instant::now();
        loop {
            // The worker of the service reports its agents soon after it has started.
            let asked = service.get("/api/v1/agents", ORGANISATION).await;
            if asked.is_ok_and(|answer| answer.text.contains("\"workers\":[{")) {
                return Ok(service);
            }
            if service.process.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.path("serve.log")).unwrap_or_default();
                bail!("the service does not answer: {log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Service {
    /// Asks for a path, as an administrator of an organisation.
    pub(crate) async fn get(&self, path: &str, organisation: &str) -> anyhow::Result<Answer> {
        let mut request = self.client.get(format!("{}{path}", self.address));
        if self.has_sign_on {
            request = request
                .header("X-Gateway-Secret", SECRET)
                .header("X-User-ID", "golden")
                .header("X-Org-ID", organisation)
                .header("X-User-Role", "admin");
        }
        let answer = request
            .send()
            .await
            .with_context(|| format!("GET {path}"))?;
        let media_type = answer.headers().get("content-type");
        let media_type = media_type.and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: answer.status().as_u16(),
            media_type: media_type.unwrap_or_default().to_owned(),
            text: answer
                .text()
                .await
                .with_context(|| format!("reading GET {path}"))?,
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It holds nothing that has to be finished.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
