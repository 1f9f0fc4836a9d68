//! The parts of a session that are the same for every command-line tool.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::files;
use crate::adapter::{Access, SessionSpec};
use crate::failure::Failure;
use crate::process::{self, Launch};
use crate::program::InstalledProgram;
use crate::turn_builder::TurnBuilder;

/// Folder of the forks, in the HOME of the session that they are copied from.
pub(in crate::adapters) const FORKS: &str = "forks";

/// A program with its model, and the session that it runs for.
pub(in crate::adapters) struct CliSession {
    pub(in crate::adapters) program: InstalledProgram,
    /// Empty if the program chooses the model itself.
    pub(in crate::adapters) model: String,
    pub(in crate::adapters) spec: SessionSpec,
    is_fork: bool,
    fork_count: AtomicU64,
}

impl CliSession {
    pub(in crate::adapters) fn new(
        program: InstalledProgram,
        model: String,
        spec: SessionSpec,
    ) -> Self {
        Self {
            program,
            model,
            spec,
            is_fork: false,
            fork_count: AtomicU64::new(0),
        }
    }

    /// Returns a fork with a HOME of its own below this session's HOME. The HOME is not yet
    /// created.
    pub(in crate::adapters) fn fork(&self, access: Access) -> Self {
        let number = self.fork_count.fetch_add(1, Ordering::Relaxed);
        Self {
            program: self.program.clone(),
            model: self.model.clone(),
            spec: SessionSpec {
                home: self.spec.home.join(FORKS).join(number.to_string()),
                workspace: match access {
                    Access::Workspace => self.spec.workspace.clone(),
                    Access::Sealed => None,
                },
                access,
                ..self.spec.clone()
            },
            is_fork: true,
            fork_count: AtomicU64::new(0),
        }
    }

    pub(in crate::adapters) fn is_fork(&self) -> bool {
        self.is_fork
    }

    pub(in crate::adapters) fn is_sealed(&self) -> bool {
        self.spec.access == Access::Sealed
    }

    /// Returns the folder that the program works in. A sealed program works in an empty folder and
    /// does not learn where the workspace is.
    pub(in crate::adapters) async fn working_folder(&self) -> Result<PathBuf, Failure> {
        match (&self.spec.workspace, self.spec.access) {
            (Some(workspace), Access::Workspace) => Ok(workspace.clone()),
            (_, Access::Sealed) | (None, Access::Workspace) => {
                files::create_folder(self.spec.home.join("empty")).await
            }
        }
    }

    /// Returns the variables of the session, with a `PATH` on which the program finds its Node.
    pub(in crate::adapters) fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = self.spec.environment.clone();
        let path = self.program.search_path.to_string_lossy().into_owned();
        environment.insert("PATH".to_owned(), path);
        environment
    }

    /// Returns how to start the program for one turn.
    pub(in crate::adapters) fn launch(
        &self,
        args: Vec<OsString>,
        folder: PathBuf,
        environment: BTreeMap<String, String>,
        input: Vec<u8>,
    ) -> Launch {
        Launch {
            program: self.program.path.clone(),
            args,
            folder,
            readable: self.program.folders.clone(),
            home: self.spec.home.clone(),
            environment,
            input,
        }
    }

    /// Sends the events that became known at the end of a turn.
    pub(in crate::adapters) async fn send_events(
        &self,
        turn: &mut TurnBuilder,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + self.spec.limits.turn;
        process::send_events(
            &self.spec.events,
            &self.spec.cancel,
            turn.drain_events(),
            deadline,
        )
        .await
    }

    /// Removes the HOME of a fork. The HOME of any other session belongs to the run.
    pub(in crate::adapters) async fn remove_fork(&self) {
        if self.is_fork {
            // Files that cannot be removed now are removed with the run's folder.
            let _ = tokio::fs::remove_dir_all(&self.spec.home).await;
        }
    }
}
