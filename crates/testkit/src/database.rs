//! A fresh, migrated database for every test, on each engine.
//!
//! SQLite is always there. PostgreSQL is used where `TEST_DATABASE_URL` names a server: every test
//! gets a schema of its own in that database, named in [`TestDatabase::url`], so that other
//! processes given the address see the same tables.

use std::time::Duration;

use anyhow::Context as _;
use migration::Direction;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};
use tempfile::TempDir;

/// The variable that names a PostgreSQL server for tests.
pub const TEST_DATABASE_URL: &str = "TEST_DATABASE_URL";

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A migrated database that nobody else uses. Gone when dropped.
#[derive(Debug)]
pub struct TestDatabase {
    engine: Engine,
    url: String,
    connection: DatabaseConnection,
    _home: Home,
}

/// What is removed at the end.
#[derive(Debug)]
enum Home {
    Folder { _folder: TempDir },
    Schema { _schema: Schema },
}

impl TestDatabase {
    /// A database in a temporary file.
    pub async fn sqlite() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for a test database")?;
        let path = folder.path().join("test.db");
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let home = Home::Folder { _folder: folder };
        Self::migrated(Engine::Sqlite, url, home).await
    }

    /// A schema on the server of `TEST_DATABASE_URL`; none where it is not set.
    pub async fn postgres() -> anyhow::Result<Option<Self>> {
        let Some(server) = std::env::var(TEST_DATABASE_URL)
            .ok()
            .filter(|url| !url.is_empty())
        else {
            return Ok(None);
        };
        Self::on_server(&server).await.map(Some)
    }

    /// A schema on this PostgreSQL server.
    pub async fn on_server(server: &str) -> anyhow::Result<Self> {
        let schema = Schema {
            server: server.to_owned(),
            name: format!("test_{}", uuid::Uuid::new_v4().simple()),
        };
        schema
            .run(&format!("CREATE SCHEMA {}", schema.name))
            .await?;
        let joint = if server.contains('?') { '&' } else { '?' };
        let url = format!(
            "{server}{joint}options=-c%20search_path%3D{name}&application_name={name}",
            name = schema.name
        );
        Self::migrated(Engine::Postgres, url, Home::Schema { _schema: schema }).await
    }

    async fn migrated(engine: Engine, url: String, home: Home) -> anyhow::Result<Self> {
        let connection = open(&url).await?;
        migration::migrate(&connection, Direction::Up)
            .await
            .context("migrating a test database")?;
        Ok(Self {
            engine,
            url,
            connection,
            _home: home,
        })
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// What `DATABASE_URL` is to be for a process that shall use it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection pool.
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }
}

/// Runs the body on a fresh database of each engine that is there: always SQLite, and PostgreSQL
/// where `TEST_DATABASE_URL` is set.
///
/// Panics, as a test does, when a database cannot be made.
pub async fn on_both_engines(body: impl AsyncFn(&TestDatabase)) {
    let sqlite = TestDatabase::sqlite()
        .await
        .expect("SQLite needs a temporary folder only");
    body(&sqlite).await;
    let postgres = TestDatabase::postgres()
        .await
        .expect("TEST_DATABASE_URL names a server that can be used");
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
        // A thread with a runtime of its own: the test's cannot be blocked on from inside.
        let done = std::thread::scope(|scope| {
            scope
                .spawn(|| -> anyhow::Result<()> {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?
                        .block_on(async {
                            // Connections that a test left in the middle of something hold locks.
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
        // A schema that stays behind on a test server harms nobody, a panic in `drop` would.
        drop(done);
    }
}
