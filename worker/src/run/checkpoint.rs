//! What a later attempt of a run can go on from.

use agents::adapter::Checkpoint;
use agents::event::Compaction;
use serde::{Deserialize, Serialize};

use results::run_stats::{FIRST_BREAK, RunStats};

/// How far a saved run had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SavedStage {
    /// Studied and taught; the break is still to come.
    Taught,
    /// The break is over; only questions are left.
    Broken,
}

impl SavedStage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Taught => "taught",
            Self::Broken => "broken",
        }
    }
}

fn first() -> i32 {
    FIRST_BREAK
}

/// A checkpoint of a run; stored as a private artifact, because sessions are unredacted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SavedRun {
    pub(crate) stage: SavedStage,
    /// The break that it was made after, or comes to, from 1.
    #[serde(default = "first")]
    pub(crate) break_index: i32,
    pub(crate) main: Checkpoint,
    /// The session just before the break.
    pub(crate) snapshot: Option<Checkpoint>,
    pub(crate) compaction: Option<Compaction>,
    pub(crate) transcript: String,
    #[serde(rename = "figures")]
    pub(crate) stats: RunStats,
    /// How many milestones were reached.
    pub(crate) milestones: usize,
}
