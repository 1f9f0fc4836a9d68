//! The connection to the database that owns every fact.
//!
//! Every transaction of this project that writes begins with a write. On SQLite a transaction
//! that has read first cannot wait for another writer, it fails at once; one that writes first
//! waits its turn. Rows are locked in the order job, run, task, so that PostgreSQL never has to
//! break a deadlock.

pub mod clock;
pub mod together;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use migration::Direction;
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr};

use crate::settings::{Reader, without_credentials};

/// How long a writer waits for another one on SQLite.
const BUSY: Duration = Duration::from_secs(10);
/// How long a query may wait for a free connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(15);
/// A connection that was used lately is taken to live.
const IDLE: Duration = Duration::from_secs(5);
/// How long one statement may take on PostgreSQL.
const STATEMENT: Duration = Duration::from_secs(60);
/// SQLite has one writer at a time; more connections only help readers.
const SQLITE_CONNECTIONS: u32 = 8;

/// Where the database is.
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
    /// Reads `DATABASE_URL` and `DATABASE_MAX_CONNECTIONS`; without an address the database is the
    /// file `membreak.db` in `folder`.
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
        let max_connections = reader.parsed("DATABASE_MAX_CONNECTIONS", 16);
        if max_connections == 0 {
            reader.refuse("DATABASE_MAX_CONNECTIONS", "must be at least 1");
        }
        Self {
            url,
            max_connections,
        }
    }

    /// The address without credentials, for people.
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

/// Connects, without touching the schema. SQLite: write-ahead log, foreign keys, busy timeout; the
/// folder of the file is made.
pub async fn connect(settings: &DatabaseSettings) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(settings.url.as_str());
    options
        .sqlx_logging(false)
        // Asking every time whether a connection still lives would double what a short query costs.
        .test_before_acquire_if_idle_for(IDLE)
        .acquire_timeout(ACQUIRE)
        .connect_timeout(ACQUIRE)
        .max_connections(settings.max_connections);
    if is_postgres(&settings.url) {
        options.statement_timeout(STATEMENT);
        return Database::connect(options).await;
    }
    if let Some(folder) = sqlite_folder(&settings.url) {
        tokio::fs::create_dir_all(&folder).await.map_err(|error| {
            DbErr::Conn(RuntimeErr::Internal(format!(
                "the folder {} of the database cannot be made: {error}",
                folder.display()
            )))
        })?;
    }
    let in_memory = sqlite_path(&settings.url).is_none();
    options
        // Every connection to memory would be a database of its own.
        .max_connections(if in_memory {
            1
        } else {
            settings.max_connections.min(SQLITE_CONNECTIONS)
        })
        .map_sqlx_sqlite_opts(|options| {
            options
                .busy_timeout(BUSY)
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
    // The change to the write-ahead log cannot wait by itself for another process that starts.
    let deadline = Instant::now() + BUSY;
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => return outcome,
        }
    }
}

/// The file of an SQLite address; none for a database in memory.
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

/// SQLite's answer to one writer too many.
fn is_busy(error: &DbErr) -> bool {
    let text = error.to_string();
    text.contains("database is locked") || text.contains("database table is locked")
}

/// Brings the schema up to date. Safe to run from several processes at once.
pub async fn migrate(database: &DatabaseConnection) -> Result<(), DbErr> {
    migration::migrate(database, Direction::Up).await
}
