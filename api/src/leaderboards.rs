//! Leaderboards of one task and of all tasks.

pub(crate) mod view;
pub(crate) mod task;
pub(crate) mod all_tasks;
