//! Connection to the database, which owns every fact.
//!
//! Every writing transaction begins with a write. On SQLite a transaction that reads first fails at
//! once if another one is writing; a transaction that writes first waits. Rows are locked in the
//! order job, run, task, so that PostgreSQL never has to break a deadlock.

pub mod clock;
pub mod batch_insert;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use migration::Direction;
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr};

use crate::features::without;
use crate::settings::{Reader, without_credentials};

/// Time that an SQLite writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a free connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection that was idle for longer is tested before use.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(5);
/// Timeout of one statement on PostgreSQL.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// SQLite has one writer at a time; more connections only help readers.
const SQLITE_CONNECTIONS: u32 = 8;

/// Address and pool size of the database.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`: `sqlite://path?mode=rwc` or `postgres://…`.
    pub url: String,
    /// `DATABASE_MAX_CONNECTIONS`.
    pub max_connections: u32,
}

impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSettings")
            .field("url", &self.address())
            .field("max_connections", &self.max_connections)
            .finish()
    }
}

impl DatabaseSettings {
    /// Reads `DATABASE_URL` and `DATABASE_MAX_CONNECTIONS`. Without a URL the database is the file
    /// `membreak.db` in `folder`.
    pub fn read(reader: &mut Reader<'_>, folder: &Path) -> Self {
        let url = reader.text("DATABASE_URL").unwrap_or_else(|| {
            format!("sqlite://{}?mode=rwc", folder.join("membreak.db").display())
        });
        if !(is_sqlite(&url) || is_postgres(&url)) {
            reader.refuse(
                "DATABASE_URL",
                "begins with neither sqlite:// nor postgres://",
            );
        }
        if is_postgres(&url) && !cfg!(feature = "postgres") {
            reader.refuse("DATABASE_URL", without("PostgreSQL"));
        }
        let max_connections = reader.parsed("DATABASE_MAX_CONNECTIONS", 16);
        if max_connections == 0 {
            reader.refuse("DATABASE_MAX_CONNECTIONS", "must be at least 1");
        }
        Self {
            url,
            max_connections,
        }
    }

    /// Returns the URL without credentials, for display.
    pub fn address(&self) -> String {
        without_credentials(&self.url)
    }
}

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Connects without migrating the schema.
///
/// On SQLite it enables the write-ahead log, foreign keys and the busy timeout, and creates the
/// folder of the file.
pub async fn connect(settings: &DatabaseSettings) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(settings.url.as_str());
    options
        .sqlx_logging(false)
        // Testing a connection before every query would double the cost of a short query.
        .test_before_acquire_if_idle_for(TEST_AFTER_IDLE)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        .max_connections(settings.max_connections);
    if is_postgres(&settings.url) {
        options.statement_timeout(STATEMENT_TIMEOUT);
        return Database::connect(options).await;
    }
    if let Some(folder) = sqlite_folder(&settings.url) {
        tokio::fs::create_dir_all(&folder).await.map_err(|error| {
            DbErr::Conn(RuntimeErr::Internal(format!(
                "could not create the database folder {}: {error}. Check DATABASE_URL.",
                folder.display()
            )))
        })?;
    }
    let in_memory = sqlite_path(&settings.url).is_none();
    options
        // Each connection to memory is a database of its own.
        .max_connections(if in_memory {
            1
        } else {
            settings.max_connections.min(SQLITE_CONNECTIONS)
        })
        .map_sqlx_sqlite_opts(|options| {
            options
                .busy_timeout(BUSY_TIMEOUT)
                .foreign_keys(true)
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", "NORMAL")
        });
    if in_memory {
        options
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None);
    }
    // Switching to the write-ahead log does not wait for another process that is starting.
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Returns the file of an SQLite URL, or `None` for a database in memory.
fn sqlite_path(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let in_memory = path.is_empty() || path == ":memory:" || query.contains("mode=memory");
    (!in_memory).then(|| PathBuf::from(path))
}

fn sqlite_folder(url: &str) -> Option<PathBuf> {
    let folder = sqlite_path(url)?.parent()?.to_owned();
    (!folder.as_os_str().is_empty()).then_some(folder)
}

/// Returns whether SQLite refused because another connection is writing.
fn is_busy(error: &DbErr) -> bool {
    let text = error.to_string();
    text.contains("database is locked") || text.contains("database table is locked")
}

/// Migrates the schema to the newest version. Safe to run from several processes at once.
pub async fn migrate(database: &DatabaseConnection) -> Result<(), DbErr> {
    migration::migrate(database, Direction::Up).await
}
