//! What time it is, said by the database.
//!
//! Leases are compared between hosts, whose clocks differ; the clock of the PostgreSQL server is
//! the same for all of them, so no lease ends early because of a wrong clock. An SQLite database
//! belongs to one host, whose own clock serves as well.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ConnectionTrait, DbBackend};

/// Now, in an expression.
pub fn now(connection: &impl ConnectionTrait) -> Expr {
    if is_shared(connection) {
        // Not `now()`, which is when the transaction began.
        Expr::cust("clock_timestamp()")
    } else {
        Expr::val(of_this_host())
    }
}

/// Now and so much later, in an expression.
pub fn after(connection: &impl ConnectionTrait, delay: Duration) -> Expr {
    if is_shared(connection) {
        let sql = "clock_timestamp() + $1 * interval '1 second'";
        Expr::cust_with_values(sql, [delay.as_secs_f64()])
    } else {
        Expr::val(of_this_host() + delay)
    }
}

/// Now and so much earlier, in an expression.
pub fn before(connection: &impl ConnectionTrait, delay: Duration) -> Expr {
    if is_shared(connection) {
        let sql = "clock_timestamp() - $1 * interval '1 second'";
        Expr::cust_with_values(sql, [delay.as_secs_f64()])
    } else {
        Expr::val(of_this_host() - delay)
    }
}

/// Now, by this host's clock, as exact as every engine can keep it (microseconds).
pub fn of_this_host() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

fn is_shared(connection: &impl ConnectionTrait) -> bool {
    connection.get_database_backend() == DbBackend::Postgres
}
