//! bubblewrap: a separate file system and process table.
//!
//! Paths are the same inside and outside, because the programs find their sessions by their working
//! folder, and a session is continued from outside. The environment is inherited instead of passed
//! as arguments, because every process can read the arguments of others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::bounds::{AllowedPaths, Bounds, SYSTEM};

/// Arguments for every program.
const ALWAYS: [&str; 4] = [
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--die-with-parent",
];

/// Returns the path of bubblewrap, after a trial run.
///
/// # Errors
///
/// Describes why it cannot be used.
pub(super) fn detect() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|folder| folder.join("bwrap"))
        .find(|program| program.is_absolute() && program.is_file())
        .ok_or("bubblewrap is not installed (program bwrap)")?;
    let trial = Command::new(&program)
        .args(system())
        .args(["--", "true"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("could not start {}: {error}", program.display()))?;
    if !trial.status.success() {
        let stderr = String::from_utf8_lossy(&trial.stderr);
        return Err(format!(
            "bubblewrap does not work on this machine: {}",
            stderr
                .trim()
                .lines()
                .next_back()
                .unwrap_or("no reason given")
        ));
    }
    Ok(program)
}

/// Returns the arguments that start a program within its bounds.
pub(super) fn args(bounds: &Bounds<'_>, allowed: &AllowedPaths) -> Vec<OsString> {
    let mut args = system();
    let mut bind = |how: &str, from: &Path, to: &Path| {
        args.extend([how.into(), from.into(), to.into()]);
    };
    for path in &allowed.readable {
        bind("--ro-bind", &path.real, &path.given);
    }
    let programs = allowed
        .programs
        .iter()
        .filter(|path| !is_system_path(&path.real));
    for path in programs.clone() {
        bind("--ro-bind", &path.real, &path.real);
        if path.given != path.real {
            bind("--ro-bind", &path.real, &path.given);
        }
    }
    // A folder of the search path may be a link, which does not exist inside.
    for folder in std::env::split_paths(bounds.search_path) {
        let Ok(real) = std::fs::canonicalize(&folder) else {
            continue;
        };
        if real != folder && programs.clone().any(|path| real.starts_with(&path.real)) {
            bind("--ro-bind", &real, &folder);
        }
    }
    bind("--bind", &allowed.home.real, &allowed.home.given);
    if let Some(workspace) = &allowed.workspace {
        bind("--ro-bind", &workspace.real, &workspace.given);
    }
    args.extend(["--remount-ro".into(), "/".into()]);
    args.extend(["--chdir".into(), bounds.folder.into(), "--".into()]);
    // A link to the program may be in a folder that does not exist inside.
    args.push(match std::fs::canonicalize(bounds.program) {
        Ok(real) => real.into(),
        Err(_) => bounds.program.into(),
    });
    args.extend(bounds.args.iter().cloned());
    args
}

/// Returns the arguments for the system's programs and for the basic needs of a process.
fn system() -> Vec<OsString> {
    let mut args: Vec<OsString> = ALWAYS.map(OsString::from).to_vec();
    if nix::unistd::geteuid().is_root() {
        // As for Landlock: the bounds replace the modes of files.
        args.extend(["--cap-drop", "ALL", "--cap-add", "CAP_DAC_OVERRIDE"].map(OsString::from));
    }
    for folder in SYSTEM {
        match std::fs::read_link(folder) {
            Ok(target) => args.extend(["--symlink".into(), target.into(), folder.into()]),
            Err(_) => args.extend(["--ro-bind-try".into(), folder.into(), folder.into()]),
        }
    }
    args.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"].map(OsString::from));
    args
}

fn is_system_path(path: &Path) -> bool {
    SYSTEM.iter().any(|folder| path.starts_with(folder))
}
