//! Checkpoints of a run, from which a later attempt can continue.

use agents::adapter::Checkpoint;
use agents::event::Compaction;
use serde::{Deserialize, Serialize};

use results::run_stats::{FIRST_BREAK, RunStats};

/// Progress of a saved run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SavedStage {
    /// Studied and taught; the break is still to come.
    Taught,
    /// After the break; only probes are left.
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

/// A checkpoint of a run. It is a private artifact, because sessions are unredacted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SavedRun {
    pub(crate) stage: SavedStage,
    /// Number of the break before which or after which it was saved, from 1.
    #[serde(default = "first")]
    pub(crate) break_index: i32,
    pub(crate) main: Checkpoint,
    /// Session just before the break.
    pub(crate) snapshot: Option<Checkpoint>,
    pub(crate) compaction: Option<Compaction>,
    pub(crate) transcript: String,
    #[serde(rename = "figures")]
    pub(crate) stats: RunStats,
    /// Number of reached milestones.
    pub(crate) milestones: usize,
}
