//! HTTP mechanics: connections, errors, validation and cursors.

pub(crate) mod error;
pub(crate) mod validation;
pub(crate) mod cursor;
pub(crate) mod server;
