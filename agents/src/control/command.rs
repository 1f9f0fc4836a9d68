//! How the program of the control agents is started.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// First argument that turns a program of this project into a control agent.
pub const SUBCOMMAND: &str = "control-agent";

/// Command that starts the program of the control agents.
///
/// It is an executable of its own (`membreak-control`). Every program of this project can also act
/// as it, with the first argument [`SUBCOMMAND`], because `cargo run` builds only one executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlProgram {
    pub path: PathBuf,
    pub args: Vec<OsString>,
    /// Runs the same code in this process instead of one process per turn. Measurements of the
    /// instrument over thousands of runs use it, where processes do not matter. It has no sandbox
    /// and no limits, which our own controls do not need.
    pub in_process: bool,
}

impl ControlProgram {
    /// Returns the running executable.
    ///
    /// # Errors
    ///
    /// Fails if the system does not know the path of the executable.
    pub fn this_executable() -> std::io::Result<Self> {
        Ok(Self {
            path: std::env::current_exe()?,
            args: vec![SUBCOMMAND.into()],
            in_process: false,
        })
    }

    /// Returns the program at `path`, or the running executable if there is no path.
    ///
    /// # Errors
    ///
    /// Fails if the system does not know the path of the executable.
    pub fn at_path_or_this_executable(path: Option<&Path>) -> std::io::Result<Self> {
        path.map_or_else(Self::this_executable, |path| Ok(Self::at_path(path)))
    }

    /// Returns an executable that is only the control agents.
    pub fn at_path(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            in_process: false,
        }
    }

    /// Returns the command that starts no process: see [`Self::in_process`].
    pub fn in_this_process() -> Self {
        Self {
            path: PathBuf::new(),
            args: Vec::new(),
            in_process: true,
        }
    }
}
