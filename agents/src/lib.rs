//! Coding agents as processes that turn prompts into events.
//!
//! A new agent needs one module in `adapters/`, one line in [`adapters`], and a passing conformance
//! suite. The common parts are written once, in [`process`] and in `adapters/cli_adapter`. An
//! adapter contains only the flags and event formats of its program. This crate knows no tasks,
//! databases or grades.

pub mod sandbox;
pub mod adapter;
pub mod event;
pub mod failure;
pub mod turn_builder;
pub mod process;
pub mod program;
pub mod prices;
pub mod control;
pub mod adapters;
