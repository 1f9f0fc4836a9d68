//! One run: its context, its resources and its phases.

pub(crate) mod break_plan;
pub(crate) mod canary;
pub(crate) mod checkpoint;
pub(crate) mod context;
mod cost_limit;
pub(crate) mod event_recorder;
pub(crate) mod manifest;
pub(crate) mod phases;
pub(crate) mod raw_stream;
pub(crate) mod reading_plan;
mod seal;
mod sessions;
pub(crate) mod transcript;
pub(crate) mod workdir;
