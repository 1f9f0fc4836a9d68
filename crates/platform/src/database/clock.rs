//! Current time, by the database's clock.
//!
//! Leases are compared between hosts whose clocks differ. All hosts share the clock of the PostgreSQL
//! server, so no lease expires early because of a wrong clock. An SQLite database belongs to one host
//! and uses that host's clock.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ConnectionTrait, DbBackend};

/// Returns the current time as an SQL expression.
pub fn now(connection: &impl ConnectionTrait) -> Expr {
    if is_shared(connection) {
        // Not `now()`, which is the start of the transaction.
        Expr::cust("clock_timestamp()")
    } else {
        Expr::val(host_now())
    }
}

/// Returns the current time plus `delay` as an SQL expression.
pub fn after(connection: &impl ConnectionTrait, delay: Duration) -> Expr {
    if is_shared(connection) {
        let sql = "clock_timestamp() + $1 * interval '1 second'";
        Expr::cust_with_values(sql, [delay.as_secs_f64()])
    } else {
        Expr::val(host_now() + delay)
    }
}

/// Returns the current time minus `delay` as an SQL expression.
pub fn before(connection: &impl ConnectionTrait, delay: Duration) -> Expr {
    if is_shared(connection) {
        let sql = "clock_timestamp() - $1 * interval '1 second'";
        Expr::cust_with_values(sql, [delay.as_secs_f64()])
    } else {
        Expr::val(host_now() - delay)
    }
}

/// Returns the current time of this host, in microseconds: the precision that every engine stores.
pub fn host_now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

fn is_shared(connection: &impl ConnectionTrait) -> bool {
    connection.get_database_backend() == DbBackend::Postgres
}
