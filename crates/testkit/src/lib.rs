//! Support code that the tests of several crates share: databases, rows, services and fixtures.

pub mod database;
pub mod builders;
pub mod services;
pub mod pull_requests;
pub mod judge_stub;
