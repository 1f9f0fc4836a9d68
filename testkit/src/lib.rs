//! What the tests of several crates need: a fresh database, private services.

pub mod database;
pub mod services;
