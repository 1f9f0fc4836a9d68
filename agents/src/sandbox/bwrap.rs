//! bubblewrap: a file system and a process table of the program's own.
//!
//! Paths are the same inside as outside, because the programs find their sessions by the folder
//! they work in, and a session is gone on with from outside. The environment is inherited and not
//! set by arguments: those of a process can be read by everybody.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Bounds, Reach, SYSTEM};

/// What holds for every program.
const ALWAYS: [&str; 4] = [
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--die-with-parent",
];

/// Where bubblewrap is, tried out.
///
/// # Errors
///
/// Why it cannot be used.
pub(super) fn detect() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|folder| folder.join("bwrap"))
        .find(|program| program.is_absolute() && program.is_file())
        .ok_or("bubblewrap is not installed (program bwrap)")?;
    let tried = Command::new(&program)
        .args(system())
        .args(["--", "true"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    if !tried.status.success() {
        let said = String::from_utf8_lossy(&tried.stderr);
        return Err(format!(
            "bubblewrap does not work here: {}",
            said.trim().lines().next_back().unwrap_or("no reason given")
        ));
    }
    Ok(program)
}

/// The arguments that start a program within its bounds.
pub(super) fn args(bounds: &Bounds<'_>, reach: &Reach) -> Vec<OsString> {
    let mut args = system();
    let mut bind = |how: &str, from: &Path, to: &Path| {
        args.extend([how.into(), from.into(), to.into()]);
    };
    for place in &reach.readable {
        bind("--ro-bind", &place.real, &place.told);
    }
    let needs = reach
        .programs
        .iter()
        .filter(|place| !is_of_system(&place.real));
    for place in needs.clone() {
        bind("--ro-bind", &place.real, &place.real);
        if place.told != place.real {
            bind("--ro-bind", &place.real, &place.told);
        }
    }
    // A folder of the search path may be reached through a link, which is not there inside.
    for folder in std::env::split_paths(bounds.search_path) {
        let Ok(real) = std::fs::canonicalize(&folder) else {
            continue;
        };
        if real != folder && needs.clone().any(|place| real.starts_with(&place.real)) {
            bind("--ro-bind", &real, &folder);
        }
    }
    bind("--bind", &reach.home.real, &reach.home.told);
    if let Some(workspace) = &reach.workspace {
        bind("--ro-bind", &workspace.real, &workspace.told);
    }
    args.extend(["--remount-ro".into(), "/".into()]);
    args.extend(["--chdir".into(), bounds.folder.into(), "--".into()]);
    // A link to the program may lie in a folder that is not there inside.
    args.push(match std::fs::canonicalize(bounds.program) {
        Ok(real) => real.into(),
        Err(_) => bounds.program.into(),
    });
    args.extend(bounds.args.iter().cloned());
    args
}

/// The system's programs, and what a process cannot do without.
fn system() -> Vec<OsString> {
    let mut args: Vec<OsString> = ALWAYS.map(OsString::from).to_vec();
    if nix::unistd::geteuid().is_root() {
        // As for Landlock: the modes of files are the bounds' business.
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

fn is_of_system(path: &Path) -> bool {
    SYSTEM.iter().any(|folder| path.starts_with(folder))
}
