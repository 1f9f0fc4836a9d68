//! Several INSERTs in one round trip, where the engine can: between two hosts the trips cost more
//! than the rows.

use sea_orm::sea_query::{CommonTableExpression, InsertStatement, WithClause};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};

/// PostgreSQL binds at most 65,535 values per statement. This many INSERTs of 100 rows with 25 columns
/// each stay below.
const AT_ONCE: usize = 20;

/// Whether [`insert`] writes so many INSERTs in one statement: then they happen together or not at all
/// without a transaction.
pub fn is_one_statement(connection: &impl ConnectionTrait, inserts: usize) -> bool {
    connection.get_database_backend() == DbBackend::Postgres && inserts <= AT_ONCE
}

/// Executes INSERTs without ON CONFLICT and RETURNING, at most 100 rows each.
///
/// Rows may refer to rows of the others: on PostgreSQL references are looked at when the statement ends,
/// elsewhere the INSERTs are executed in their order. In a transaction, where [`is_one_statement`] does not
/// say otherwise.
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
    let mut left = inserts.into_iter();
    loop {
        let mut part: Vec<InsertStatement> = left.by_ref().take(AT_ONCE).collect();
        let Some(last) = part.pop() else {
            return Ok(());
        };
        if part.is_empty() {
            connection.execute(&last).await?;
            continue;
        }
        let mut before = WithClause::new();
        for (number, insert) in part.into_iter().enumerate() {
            let mut table = CommonTableExpression::new();
            table.table_name(format!("insert_{number}")).query(insert);
            before.cte(table);
        }
        connection.execute(&last.with(before)).await?;
    }
}
