//! What a task is prepared to: the pull request and the probes that all of its runs share.

use entity::status::Dimension as StoredDimension;
use evaluation::probe::{Dimension, ProbeSet};
use evaluation::pull_request::PullRequest;
use serde::{Deserialize, Serialize};

/// The private artifact that runs read.
pub(crate) const MATERIAL: &str = ".material.json";

/// The break that is judged; there is one per run.
pub(crate) const BREAK: i32 = 1;

/// What the runs of a task need of its pull request, unredacted: the evidence of the probes must
/// stand in the workspace word for word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Material {
    /// Without the texts that no run needs.
    pub(crate) pull_request: PullRequest,
    pub(crate) probe_set: ProbeSet,
}

/// The instrument's word for a stored one.
pub(crate) fn dimension(stored: StoredDimension) -> Dimension {
    match stored {
        StoredDimension::Ar => Dimension::Ar,
        StoredDimension::Ttl => Dimension::Ttl,
        StoredDimension::Lru => Dimension::Lru,
        StoredDimension::Sf => Dimension::Sf,
    }
}

/// The stored word for one of the instrument.
pub(crate) fn stored_dimension(dimension: Dimension) -> StoredDimension {
    match dimension {
        Dimension::Ar => StoredDimension::Ar,
        Dimension::Ttl => StoredDimension::Ttl,
        Dimension::Lru => StoredDimension::Lru,
        Dimension::Sf => StoredDimension::Sf,
    }
}

/// The diff as agents read it.
pub(crate) fn diff(pull_request: &PullRequest) -> String {
    let mut diff = String::new();
    for file in &pull_request.files {
        diff.push_str(&file.patch);
        if !diff.ends_with('\n') {
            diff.push('\n');
        }
    }
    diff
}
