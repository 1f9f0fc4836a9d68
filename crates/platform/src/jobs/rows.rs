//! Which rows of the ledger a statement is about.

use domain::vocabulary::JobState;
use entity::job;
use sea_orm::sea_query::{
    Condition, Expr, ExprTrait as _, LockBehavior, LockType, Order, Query, SelectStatement,
};
use sea_orm::{ConnectionTrait, DbBackend};

use crate::database::clock;

/// Leased, but the lease has run out.
pub(super) fn expired(connection: &impl ConnectionTrait) -> Condition {
    Condition::all()
        .add(Expr::col(job::Column::State).eq(JobState::Leased))
        .add(Expr::col(job::Column::LeaseUntil).lt(clock::now(connection)))
}

/// Whether the job may be tried once more.
pub(super) fn has_attempts_left() -> Expr {
    Expr::col(job::Column::Attempt).lt(Expr::col(job::Column::MaxAttempts))
}

/// The ids of some jobs. On PostgreSQL it locks them in the order of their ids, so that two
/// statements that write several jobs cannot wait for each other.
pub(super) fn in_order(connection: &impl ConnectionTrait, which: Condition) -> SelectStatement {
    let mut select = Query::select();
    select
        .column(job::Column::Id)
        .from(job::Entity)
        .cond_where(which);
    if connection.get_database_backend() == DbBackend::Postgres {
        select
            .order_by(job::Column::Id, Order::Asc)
            .lock(LockType::Update);
    }
    select
}

/// Rows that somebody else is about to write are left to the next sweep.
pub(super) fn skip_locked(
    connection: &impl ConnectionTrait,
    mut select: SelectStatement,
) -> SelectStatement {
    if connection.get_database_backend() == DbBackend::Postgres {
        select.lock_with_tables_behavior(LockType::Update, [job::Entity], LockBehavior::SkipLocked);
    }
    select
}
