//! The source of a pull request's commits.

use serde::{Deserialize, Serialize};

/// Source of a pull request's commits, as stored with its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PullRequestSource {
    /// A pull request on a forge.
    Forge {
        /// Base URL of the forge, such as `https://github.com`.
        base_url: String,
        /// Owner of the repository.
        owner: String,
        /// Name of the repository.
        name: String,
        /// Number of the pull request.
        number: u64,
    },
    /// A change in a repository on the worker's own disk.
    Local {
        /// Absolute path of the repository.
        path: String,
        /// Base revision, in any form that git resolves.
        base: String,
        /// Head revision, in any form that git resolves.
        head: String,
    },
}
