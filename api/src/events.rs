//! Events of a task as a live stream, and its log.

pub(crate) mod frame;
pub(crate) mod live;
pub(crate) mod stream_quota;
pub(crate) mod sse;
pub(crate) mod routes;
