//! Judgings of a task.

pub mod create;
pub(crate) mod routes;
