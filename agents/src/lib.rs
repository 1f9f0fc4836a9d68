//! Coding agents as processes that turn prompts into events.
//!
//! A new agent is one file under `adapters/`, one line in [`adapters`], and the conformance suite
//! passing. What is hard is done once, in [`process`]; an adapter file knows its program's flags
//! and event shapes and nothing else. Nothing here knows tasks, databases or grades.

pub mod sandbox;
pub mod adapter;
pub mod event;
pub mod failure;
pub mod gathering;
pub mod process;
pub mod program;
pub mod prices;
pub mod control;
pub mod adapters;
