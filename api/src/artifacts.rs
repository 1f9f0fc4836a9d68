//! Files of a task: reports, transcripts and bundles.

pub(crate) mod bundle;
pub(crate) mod routes;
