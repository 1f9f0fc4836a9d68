//! Scoring of a run: grades of closed probes, judged recalls, and the judging of a task.

pub(crate) mod probes;
pub(crate) mod recall;
pub(crate) mod judges;
