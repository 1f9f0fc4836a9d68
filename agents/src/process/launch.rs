//! Description of a program to start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// A program to start for one turn or one session.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// Working folder.
    pub folder: PathBuf,
    /// Folders that the program must be able to read and execute, besides those of the system: the
    /// folders of [`crate::program::InstalledProgram`].
    pub readable: Vec<PathBuf>,
    /// HOME of the program. Its temporary files are stored there as well.
    pub home: PathBuf,
    /// Variables, besides the few that every program gets.
    pub environment: BTreeMap<String, String>,
    /// Content of its standard input.
    pub input: Vec<u8>,
}
