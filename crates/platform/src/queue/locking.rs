//! Conditions and row locks of statements on the table `job`.

use domain::vocabulary::JobState;
use entity::job;
use sea_orm::sea_query::{
    Condition, Expr, ExprTrait as _, LockBehavior, LockType, Order, Query, SelectStatement,
};
use sea_orm::{ConnectionTrait, DbBackend};

use crate::database::clock;

/// Returns the condition that a job is leased and its lease has expired.
pub(super) fn expired(connection: &impl ConnectionTrait) -> Condition {
    Condition::all()
        .add(Expr::col(job::Column::State).eq(JobState::Leased))
        .add(Expr::col(job::Column::LeaseUntil).lt(clock::now(connection)))
}

/// Returns the condition that a job has attempts left.
pub(super) fn has_attempts_left() -> Expr {
    Expr::col(job::Column::Attempt).lt(Expr::col(job::Column::MaxAttempts))
}

/// Selects the ids of the jobs that match `condition`.
///
/// On PostgreSQL it locks the rows in the order of their ids, so that two statements that write
/// several jobs cannot deadlock.
pub(super) fn lock_in_order(
    connection: &impl ConnectionTrait,
    condition: Condition,
) -> SelectStatement {
    let mut select = Query::select();
    select
        .column(job::Column::Id)
        .from(job::Entity)
        .cond_where(condition);
    if connection.get_database_backend() == DbBackend::Postgres {
        select
            .order_by(job::Column::Id, Order::Asc)
            .lock(LockType::Update);
    }
    select
}

/// Makes a SELECT skip rows that another transaction has locked. PostgreSQL only.
pub(super) fn skip_locked(
    connection: &impl ConnectionTrait,
    mut select: SelectStatement,
) -> SelectStatement {
    if connection.get_database_backend() == DbBackend::Postgres {
        select.lock_with_tables_behavior(LockType::Update, [job::Entity], LockBehavior::SkipLocked);
    }
    select
}
