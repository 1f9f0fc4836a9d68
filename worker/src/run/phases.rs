//! The phases of a run, one file each.

pub(crate) mod study;
pub(crate) mod deep_dive;
pub(crate) mod split_baseline;
pub(crate) mod break_;
pub(crate) mod ask;
pub(crate) mod cold_reuse;
pub(crate) mod arms;
pub(crate) mod free_recall;
pub(crate) mod open_questions;
