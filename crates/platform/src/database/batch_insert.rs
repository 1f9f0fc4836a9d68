//! Several INSERTs in one round trip, if the engine supports it: between two hosts round trips cost
//! more than rows.

use sea_orm::sea_query::{CommonTableExpression, InsertStatement, WithClause};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};

/// PostgreSQL binds at most 65,535 values per statement. This many INSERTs of 100 rows with 25 columns
/// each stay below that.
const MAX_INSERTS: usize = 20;

/// Returns whether [`insert`] executes this many INSERTs as one statement. They are atomic then, even
/// without a transaction.
pub fn is_one_statement(connection: &impl ConnectionTrait, inserts: usize) -> bool {
    connection.get_database_backend() == DbBackend::Postgres && inserts <= MAX_INSERTS
}

/// Executes INSERTs without ON CONFLICT and RETURNING, at most 100 rows each.
///
/// Rows may refer to rows of the other INSERTs: PostgreSQL checks references at the end of the
/// statement, and on SQLite the INSERTs are executed in order. Needs a transaction unless
/// [`is_one_statement`] returns `true`.
pub async fn insert(
    connection: &impl ConnectionTrait,
    inserts: Vec<InsertStatement>,
) -> Result<(), DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        for insert in &inserts {
            connection.execute(insert).await?;
        }
        return Ok(());
    }
    let mut remaining = inserts.into_iter();
    loop {
        let mut batch: Vec<InsertStatement> = remaining.by_ref().take(MAX_INSERTS).collect();
        let Some(last) = batch.pop() else {
            return Ok(());
        };
        if batch.is_empty() {
            connection.execute(&last).await?;
            continue;
        }
        let mut with = WithClause::new();
        for (number, insert) in batch.into_iter().enumerate() {
            let mut table = CommonTableExpression::new();
            table.table_name(format!("insert_{number}")).query(insert);
            with.cte(table);
        }
        connection.execute(&last.with(with)).await?;
    }
}
