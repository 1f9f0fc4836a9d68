//! Tasks: creation, listing, cancellation and retries.

pub mod options;
pub(crate) mod quota;
pub mod create;
mod cancel;
pub(crate) mod retry;
pub(crate) mod view;
pub(crate) mod total_count;
mod request;
pub(crate) mod question_bank;
pub(crate) mod retry_routes;
pub(crate) mod routes;
