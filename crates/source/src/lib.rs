//! Pull requests and git: mirrors, checkouts, diffs and forges.
//!
//! Repositories and forges are not trusted. A path, a ref or a message from them never becomes an
//! option of git, a path outside a checkout, or a running program.

mod error;
mod settings;
mod forge;
mod git;
mod pull_request;

pub use error::SourceError;
pub use git::{Mirror, checkout, mirror_with};
pub use pull_request::{DiffLimits, Resolved, resolve};
pub use settings::{ForgeSettings, SourceSettings, is_base_url};
