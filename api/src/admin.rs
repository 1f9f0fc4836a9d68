//! Administration of an organisation: tokens, webhooks and the audit log.

pub mod audit_log;
pub(crate) mod audit;
pub(crate) mod tokens;
pub(crate) mod webhooks;
