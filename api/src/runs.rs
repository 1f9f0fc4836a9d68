//! Runs of a task and their comparison.

pub(crate) mod dimension_view;
pub(crate) mod lookup;
pub(crate) mod routes;
pub(crate) mod comparison;
