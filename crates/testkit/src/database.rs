//! A fresh, migrated database for every test, on each engine.
//!
//! SQLite is always available. PostgreSQL is used if `TEST_DATABASE_URL` names a server: every test
//! gets its own schema in that database. [`TestDatabase::url`] names the schema, so that other
//! processes with this address use the same tables.

use std::time::Duration;

use anyhow::Context as _;
use migration::Direction;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};
use tempfile::TempDir;

/// Variable that names a PostgreSQL server for tests.
pub const TEST_DATABASE_URL: &str = "TEST_DATABASE_URL";

/// Database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A migrated database for one test. Dropping the value removes it.
#[derive(Debug)]
pub struct TestDatabase {
    engine: Engine,
    url: String,
    connection: DatabaseConnection,
    _storage: Storage,
}

/// Storage that is removed at the end.
#[derive(Debug)]
enum Storage {
    Folder { _folder: TempDir },
    Schema { _schema: Schema },
}

impl TestDatabase {
    /// Creates a database in a temporary file.
    pub async fn sqlite() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("creating a folder for a test database")?;
        let path = folder.path().join("test.db");
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let storage = Storage::Folder { _folder: folder };
        Self::migrated(Engine::Sqlite, url, storage).await
    }

    /// Creates a schema on the server of `TEST_DATABASE_URL`. Returns `None` if it is not set.
    pub async fn postgres() -> anyhow::Result<Option<Self>> {
        let Some(server) = std::env::var(TEST_DATABASE_URL)
            .ok()
            .filter(|url| !url.is_empty())
        else {
            return Ok(None);
        };
        Self::on_server(&server).await.map(Some)
    }

    /// Creates a schema on a PostgreSQL server.
    pub async fn on_server(server: &str) -> anyhow::Result<Self> {
        let schema = Schema {
            server: server.to_owned(),
            name: format!("test_{}", uuid::Uuid::new_v4().simple()),
        };
        schema
            .run(&format!("CREATE SCHEMA {}", schema.name))
            .await?;
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!(
            "{server}{separator}options=-c%20search_path%3D{name}&application_name={name}",
            name = schema.name
        );
        Self::migrated(Engine::Postgres, url, Storage::Schema { _schema: schema }).await
    }

    async fn migrated(engine: Engine, url: String, storage: Storage) -> anyhow::Result<Self> {
        let connection = open(&url).await?;
        migration::migrate(&connection, Direction::Up)
            .await
            .context("migrating a test database")?;
        Ok(Self {
            engine,
            url,
            connection,
            _storage: storage,
        })
    }

    /// Returns the engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Returns the value of `DATABASE_URL` for a process that uses this database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the connection pool.
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }
}

/// Runs the body on a fresh database of each available engine: always SQLite, and PostgreSQL if
/// `TEST_DATABASE_URL` is set.
///
/// Panics if a database cannot be created.
pub async fn on_both_engines(body: impl AsyncFn(&TestDatabase)) {
    let sqlite = TestDatabase::sqlite()
        .await
        .expect("an SQLite database in a temporary folder");
    body(&sqlite).await;
    let postgres = TestDatabase::postgres()
        .await
        .expect("a PostgreSQL server at TEST_DATABASE_URL");
    if let Some(postgres) = postgres {
        body(&postgres).await;
    }
}

async fn open(url: &str) -> anyhow::Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(30))
        .map_sqlx_sqlite_opts(|options| {
            options
                .busy_timeout(Duration::from_secs(30))
                .foreign_keys(true)
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", "OFF")
        });
    Database::connect(options)
        .await
        .context("connecting to a test database")
}

/// A schema on a PostgreSQL server.
#[derive(Debug)]
struct Schema {
    server: String,
    name: String,
}

impl Schema {
    async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let mut options = ConnectOptions::new(self.server.as_str());
        options.sqlx_logging(false).max_connections(1);
        let connection = Database::connect(options)
            .await
            .context("connecting to the server of TEST_DATABASE_URL")?;
        connection
            .execute_unprepared(sql)
            .await
            .with_context(|| format!("running {sql:?} for a test"))?;
        connection.close().await.context("closing a connection")
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // A thread with its own runtime: the test's runtime cannot be blocked from inside.
        let removed = std::thread::scope(|scope| {
            scope
                .spawn(|| -> anyhow::Result<()> {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?
                        .block_on(async {
                            // Open transactions of a test hold locks.
                            let sql = format!(
                                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                                 WHERE application_name = '{name}'; \
                                 DROP SCHEMA IF EXISTS {name} CASCADE",
                                name = self.name
                            );
                            tokio::time::timeout(Duration::from_secs(10), self.run(&sql)).await?
                        })
                })
                .join()
        });
        // A leftover schema on a test server does no harm, but a panic in `drop` would.
        drop(removed);
    }
}
