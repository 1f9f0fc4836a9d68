//! Tasks: creation, listing, cancellation and retries.

pub(crate) mod quota;
pub mod create;
pub(crate) mod cancel;
pub(crate) mod retry;
pub(crate) mod view;
pub(crate) mod total_count;
pub(crate) mod request;
pub(crate) mod question_bank;
pub(crate) mod retry_routes;
pub(crate) mod routes;
