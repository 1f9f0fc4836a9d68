//! What the tests of several crates need: a fresh database, rows, private services.

pub mod database;
pub mod builders;
pub mod services;
pub mod repository;
pub mod pull_requests;
pub mod forge;
pub mod model_stub;
pub mod judge_stub;
pub mod conformance;
pub mod iflow_peer;
