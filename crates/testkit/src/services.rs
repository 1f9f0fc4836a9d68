//! Real services for tests: a private Redis and a private PostgreSQL, each on a free port of the
//! loopback interface and with its own folder. They end when the value is dropped, also in a panic.

mod process;
mod postgres;
mod redis;

pub use postgres::Postgres;
pub use redis::Redis;
