//! Agents that a task can name.

pub(crate) mod registry;
pub(crate) mod routes;
