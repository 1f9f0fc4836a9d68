//! Health checks and metrics.

pub(crate) mod request_counters;
pub(crate) mod snapshot;
pub(crate) mod metrics;
pub(crate) mod routes;
