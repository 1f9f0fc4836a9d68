//! A private PostgreSQL, configured for speed instead of durability.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User, chown};
use sea_orm::{ConnectOptions, Database};
use tempfile::TempDir;

use super::process::{START_TIMEOUT, Server, find_program, free_port};

/// User of the server if the tests run as root. The server refuses to run as root.
const SERVICE_USER: &str = "postgres";

/// A running PostgreSQL with one empty database.
#[derive(Debug)]
pub struct Postgres {
    // Dropped before its folder is removed.
    _server: Server,
    port: u16,
    _folder: TempDir,
}

impl Postgres {
    /// Creates and starts a server, and waits until it answers.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("creating a folder for PostgreSQL")?;
        if Uid::effective().is_root() {
            let user = User::from_name(SERVICE_USER)
                .context("looking up the user of PostgreSQL")?
                .context("the user of PostgreSQL does not exist")?;
            chown(folder.path(), Some(user.uid), Some(user.gid))
                .context("changing the owner of the folder of PostgreSQL")?;
            std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700))
                .context("changing the owner of the folder of PostgreSQL")?;
        }
        let data = folder.path().join("data");
        let initdb = as_service_user("initdb")?
            .args(["--auth=trust", "--username=postgres", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .context("running initdb")?;
        ensure!(
            initdb.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&initdb.stderr)
        );
        for _ in 0..5 {
            let port = free_port()?;
            if let Some(server) = start_server(&folder, data.as_os_str(), port).await? {
                return Ok(Self {
                    _server: server,
                    port,
                    _folder: folder,
                });
            }
        }
        bail!("could not start PostgreSQL: every port was taken")
    }

    /// Returns the value of `DATABASE_URL` or `TEST_DATABASE_URL`.
    pub fn url(&self) -> String {
        url(self.port)
    }
}

fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// Starts the process. Returns `None` if it exited before it answered.
async fn start_server(folder: &TempDir, data: &OsStr, port: u16) -> anyhow::Result<Option<Server>> {
    let mut command = as_service_user("postgres")?;
    command.arg("-D").arg(data).current_dir(folder.path());
    for setting in [
        &format!("port={port}"),
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
    ] {
        command.args(["-c", setting]);
    }
    let mut server = Server::spawn(&mut command, Signal::SIGQUIT)?;
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if server.has_exited() {
            return Ok(None);
        }
        let mut options = ConnectOptions::new(url(port));
        options.sqlx_logging(false).max_connections(1);
        if let Ok(connection) = Database::connect(options).await {
            connection.close().await.context("closing a connection")?;
            return Ok(Some(server));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("PostgreSQL did not answer within {START_TIMEOUT:?}")
}

/// Returns a command of PostgreSQL. As root it runs as the user of PostgreSQL.
fn as_service_user(program: &str) -> anyhow::Result<Command> {
    let program = find_program(program, &installed())?;
    if !Uid::effective().is_root() {
        return Ok(Command::new(program));
    }
    // `setpriv` replaces itself by the program, so its process id is the server's.
    let mut command = Command::new(find_program("setpriv", &[PathBuf::from("/usr/bin")])?);
    command
        .args(["--reuid", SERVICE_USER, "--regid", SERVICE_USER])
        .args(["--init-groups", "--"])
        .arg(program);
    Ok(command)
}

/// Returns the folders in which distributions install PostgreSQL, newest version first.
fn installed() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, path)| path).collect()
}
