//! The phases of a run, one file each, and what they share.

pub(crate) mod folder;
pub(crate) mod canary;
pub(crate) mod streams;
pub(crate) mod checkpoint;
pub(crate) mod running;
mod sealing;
mod sessions;
pub(crate) mod reading;
pub(crate) mod study;
mod plan;
pub(crate) mod manifest;
pub(crate) mod breaking;
pub(crate) mod deep_dive;
pub(crate) mod recall;
pub(crate) mod open;
pub(crate) mod arms;
mod split;
mod spending;
