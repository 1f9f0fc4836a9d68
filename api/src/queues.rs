//! Queues, workers and dead jobs.

pub(crate) mod depths;
pub(crate) mod dead_jobs;
pub(crate) mod routes;
