//! Quota of open tasks per organisation (`MAX_ACTIVE_TASKS`). It also holds for concurrent requests.

use domain::vocabulary::TaskStatus;
use entity::task;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, QueryFilter, QuerySelect, Statement,
};
use sha2::{Digest, Sha256};

/// Returns whether the organisation may have the task that this transaction has just inserted: at most
/// `max_active` open tasks, including that one. 0 means no limit.
///
/// Call it after the first write of the transaction, and roll back if it returns `false`.
///
/// SQLite has one writer at a time, so the count holds until the commit. On PostgreSQL two
/// transactions do not see each other's inserts. There an advisory lock per organisation makes them
/// wait for each other. The holder of the lock never waits for a row of a waiting transaction,
/// because no two transactions insert the same task, so there is no deadlock.
pub(crate) async fn has_capacity(
    transaction: &impl ConnectionTrait,
    org: &str,
    max_active: u64,
) -> Result<bool, DbErr> {
    if max_active == 0 {
        return Ok(true);
    }
    if transaction.get_database_backend() == DbBackend::Postgres {
        let lock = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_advisory_xact_lock($1)",
            [lock_of(org).into()],
        );
        transaction.execute_raw(lock).await?;
    }
    let open = [TaskStatus::Queued, TaskStatus::Running, TaskStatus::Judging];
    // Count no further than the limit.
    let open_tasks: Vec<i32> = task::Entity::visible_to(org)
        .select_only()
        .expr_as(Expr::value(1), "one")
        .filter(task::Column::Status.is_in(open))
        .limit(max_active.saturating_add(1))
        .into_tuple()
        .all(transaction)
        .await?;
    Ok(u64::try_from(open_tasks.len()).is_ok_and(|open| open <= max_active))
}

/// Returns the number of an organisation's lock. Organisations with the same number only wait for
/// each other.
fn lock_of(org: &str) -> i64 {
    let digest = Sha256::digest(format!("membreak:open tasks:{org}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}
