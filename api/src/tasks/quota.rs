//! How many tasks of an organisation may be open at once (`MAX_ACTIVE_TASKS`), also where many are
//! opened at the same time.

use domain::vocabulary::TaskStatus;
use entity::task;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, QueryFilter, QuerySelect, Statement,
};
use sha2::{Digest, Sha256};

/// Whether there is room for the task that a transaction has just opened: at most `most` are open with
/// it; 0 is any number. To be asked after its first write, and rolled back where there is none.
///
/// On SQLite there is one writer at a time, so that what is counted holds until the commit. On
/// PostgreSQL two that open tasks at once would not see each other's: here they wait for each other,
/// within one organisation and only where there is a limit. Nobody who holds this lock waits for a row
/// that another one who waits for it could hold, because no two open the same task.
pub(crate) async fn is_room(
    transaction: &impl ConnectionTrait,
    org: &str,
    most: u64,
) -> Result<bool, DbErr> {
    if most == 0 {
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
    // No further than it matters.
    let found: Vec<i32> = task::Entity::visible_to(org)
        .select_only()
        .expr_as(Expr::value(1), "one")
        .filter(task::Column::Status.is_in(open))
        .limit(most.saturating_add(1))
        .into_tuple()
        .all(transaction)
        .await?;
    Ok(u64::try_from(found.len()).is_ok_and(|open| open <= most))
}

/// The number of an organisation's lock. Two that happen to have the same only wait for each other.
fn lock_of(org: &str) -> i64 {
    let digest = Sha256::digest(format!("membreak:open tasks:{org}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}
