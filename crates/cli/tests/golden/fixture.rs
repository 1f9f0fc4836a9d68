//! The stored database: rows of every table as JSON, and the stored files by their key.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use testkit::database::{Engine, TestDatabase};

/// The rows of one table.
#[derive(Deserialize)]
pub(crate) struct Table {
    table: String,
    rows: Vec<Map<String, Value>>,
}

/// The recorded database.
pub(crate) struct Fixture {
    tables: Vec<Table>,
    files: BTreeMap<String, String>,
}

impl Fixture {
    pub(crate) fn read() -> anyhow::Result<Self> {
        Ok(Self {
            tables: decompressed("database.json.gz")?,
            files: decompressed("files.json.gz")?,
        })
    }

    /// Returns the rows of a table.
    pub(crate) fn rows(&self, table: &str) -> &[Map<String, Value>] {
        let found = self.tables.iter().find(|found| found.table == table);
        found.map_or(&[], |found| &found.rows)
    }

    /// The tasks whose files are recorded, so that they can be judged again.
    pub(crate) fn tasks_with_files(&self) -> BTreeSet<String> {
        let taught = self.rows("artifact").iter().filter(|row| {
            let key = row["key"].as_str();
            row["name"] == "fact_sheet.json" && key.is_some_and(|key| self.files.contains_key(key))
        });
        taught
            .filter_map(|row| row["task_id"].as_str().map(str::to_owned))
            .collect()
    }

    /// Inserts all rows. Columns that the recording does not name get their defaults.
    pub(crate) async fn load(&self, database: &TestDatabase) -> anyhow::Result<()> {
        let connection = database.connection();
        let mut sql = String::from("BEGIN;\n");
        for table in self.tables.iter().filter(|table| !table.rows.is_empty()) {
            match database.engine() {
                Engine::Postgres => sql.push_str(&postgres_insert(table)?),
                Engine::Sqlite => {
                    let types = sqlite_types(connection, &table.table).await?;
                    sqlite_insert(&mut sql, table, &types)?;
                }
            }
        }
        if database.engine() == Engine::Postgres {
            // Later events get numbers after the recorded ones.
            sql.push_str(
                "SELECT setval(pg_get_serial_sequence('task_event', 'id'), max(id)) FROM task_event;\n",
            );
        }
        sql.push_str("COMMIT;\n");
        connection
            .execute_unprepared(&sql)
            .await
            .context("inserting the recorded rows")?;
        Ok(())
    }

    /// Writes the stored files into an artifact folder.
    pub(crate) fn write_files(&self, storage: &Path) -> anyhow::Result<()> {
        for (key, text) in &self.files {
            let path = storage.join(key);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, text)?;
        }
        Ok(())
    }
}

/// Reads a compressed JSON file of the folder beside this one.
pub(crate) fn decompressed<T: DeserializeOwned>(name: &str) -> anyhow::Result<T> {
    let path = super::folder().join(name);
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .with_context(|| format!("decompressing {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading JSON of {}", path.display()))
}

fn columns(table: &Table) -> Vec<String> {
    let first = table.rows.first();
    first
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn listed(columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

/// PostgreSQL knows the types of its columns.
fn postgres_insert(table: &Table) -> anyhow::Result<String> {
    let names = listed(&columns(table));
    let rows = quoted(&serde_json::to_string(&table.rows)?);
    let name = &table.table;
    Ok(format!(
        "INSERT INTO \"{name}\" ({names}) SELECT {names} FROM json_populate_recordset(NULL::\"{name}\", {rows});\n"
    ))
}

/// The declared type of every column, in lower case.
async fn sqlite_types(
    connection: &DatabaseConnection,
    table: &str,
) -> anyhow::Result<BTreeMap<String, String>> {
    let sql = format!("PRAGMA table_info(\"{table}\")");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let mut types = BTreeMap::new();
    for row in connection.query_all_raw(statement).await? {
        let kind: String = row.try_get("", "type")?;
        types.insert(row.try_get("", "name")?, kind.to_lowercase());
    }
    Ok(types)
}

fn sqlite_insert(
    sql: &mut String,
    table: &Table,
    types: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    /// Rows of one statement; SQLite has a limit for its length.
    const ROWS: usize = 200;
    let columns = columns(table);
    for rows in table.rows.chunks(ROWS) {
        sql.push_str(&format!(
            "INSERT INTO \"{}\" ({}) VALUES",
            table.table,
            listed(&columns)
        ));
        for (number, row) in rows.iter().enumerate() {
            let values = columns.iter().map(|name| {
                let kind = types
                    .get(name)
                    .with_context(|| format!("{} has no column {name}", table.table))?;
                sqlite_value(row.get(name).unwrap_or(&Value::Null), kind)
            });
            let values = values.collect::<anyhow::Result<Vec<_>>>()?;
            let comma = if number == 0 { "" } else { "," };
            sql.push_str(&format!("{comma}\n({})", values.join(",")));
        }
        sql.push_str(";\n");
    }
    Ok(())
}

/// A value as the database layer stores it: ids as bytes, times as RFC 3339, documents as text.
fn sqlite_value(value: &Value, kind: &str) -> anyhow::Result<String> {
    let text = match value {
        Value::Null => return Ok("NULL".to_owned()),
        Value::Bool(value) if kind.starts_with("bool") => {
            return Ok(u8::from(*value).to_string());
        }
        Value::Number(value) if !kind.starts_with("json") => return Ok(value.to_string()),
        value if kind.starts_with("json") => return Ok(quoted(&value.to_string())),
        Value::String(text) => text,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            anyhow::bail!("{value} does not fit into a column of type {kind}")
        }
    };
    if kind.starts_with("uuid") {
        let id: uuid::Uuid = text.parse().context("reading an id")?;
        return Ok(format!("X'{}'", id.simple()));
    }
    if kind.starts_with("timestamp") {
        let time: DateTime<Utc> = text.parse().context("reading a time")?;
        return Ok(quoted(&time.to_rfc3339_opts(SecondsFormat::AutoSi, false)));
    }
    Ok(quoted(text))
}
