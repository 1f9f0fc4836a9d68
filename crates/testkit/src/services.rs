//! Real services for tests: a private Redis, a private PostgreSQL, each on a free port of the
//! loopback interface and with a folder of its own. They end with the value, also in a panic.

mod process;
mod postgres;
mod redis;

pub use postgres::Postgres;
pub use redis::Redis;
