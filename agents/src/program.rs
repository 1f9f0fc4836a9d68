//! Where agents' programs are, and which versions they are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapter::Presence;

/// How long a program may take to tell its version: some load for seconds on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where programs are looked for.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// What `scripts/install-agents.sh` made; programs are in its `bin`.
    pub installed: Option<PathBuf>,
    /// Programs by the agent's name, each told by a setting of its own.
    pub told: BTreeMap<String, PathBuf>,
}

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// The folders that it must be able to read and execute besides those of the system.
    pub folders: Vec<PathBuf>,
    /// The `PATH` to run it with: a Node of its own, where it was installed with one, goes before
    /// the machine's.
    pub search_path: OsString,
}

impl Programs {
    /// Finds a program: where a setting says, else among the installed ones, else in `PATH`.
    ///
    /// # Errors
    ///
    /// Why there is none, for people.
    pub fn find(&self, agent: &str, program: &str) -> Result<Found, String> {
        if let Some(told) = self.told.get(agent) {
            return if told.is_file() {
                Ok(self.found(told.clone()))
            } else {
                Err(format!("there is no program {}", told.display()))
            };
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        self.installed
            .iter()
            .map(|folder| folder.join("bin"))
            .chain(std::env::split_paths(&path))
            .map(|folder| folder.join(program))
            .find(|candidate| candidate.is_file())
            .map(|path| self.found(path))
            .ok_or_else(|| format!("{program} is not installed"))
    }

    fn found(&self, path: PathBuf) -> Found {
        let mut folders = self.installed.iter().filter_map(|f| real(f)).collect();
        if let Some(real) = real(&path) {
            add(&mut folders, home_of(&real));
        }
        let before = self.installed.iter().map(|folder| folder.join("bin"));
        let others = std::env::var_os("PATH").unwrap_or_default();
        let all: Vec<PathBuf> = before.chain(std::env::split_paths(&others)).collect();
        // Many of these programs are scripts of Node, wherever that is.
        let node = all.iter().map(|folder| folder.join("node"));
        if let Some(node) = node.into_iter().find_map(|node| real(&node)) {
            for folder in folders_of_node(&node) {
                add(&mut folders, folder);
            }
        }
        Found {
            path,
            folders,
            search_path: std::env::join_paths(all).unwrap_or(others),
        }
    }
}

fn add(folders: &mut Vec<PathBuf>, folder: PathBuf) {
    if !folders.iter().any(|known| folder.starts_with(known)) {
        folders.push(folder);
    }
}

fn real(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

/// The outermost `node_modules` that a program is in, or its folder.
fn home_of(program: &Path) -> PathBuf {
    program
        .ancestors()
        .filter(|folder| folder.ends_with("node_modules"))
        .last()
        .or_else(|| program.parent())
        .unwrap_or(program)
        .to_owned()
}

/// `/prefix/bin` and `/prefix/lib` of `/prefix/bin/program`, but not all of the prefix, which may
/// be a user's own folder.
fn folders_of_node(program: &Path) -> Vec<PathBuf> {
    let folder = program.parent().unwrap_or(program);
    let libraries = folder.parent().map(|prefix| prefix.join("lib"));
    match libraries {
        Some(libraries) if folder.ends_with("bin") => vec![folder.to_owned(), libraries],
        Some(_) | None => vec![folder.to_owned()],
    }
}

/// Asks a program for its version, with nothing of the worker's environment and an empty HOME.
pub async fn presence(found: Result<Found, String>, fix: &str) -> Presence {
    let missing = |why: String| Presence::Missing {
        why,
        fix: fix.to_owned(),
    };
    let found = match found {
        Ok(found) => found,
        Err(why) => return missing(why),
    };
    let home = match tempfile::tempdir() {
        Ok(home) => home,
        Err(error) => return missing(format!("a temporary folder cannot be made: {error}")),
    };
    let program = found.path.display();
    let asked = tokio::process::Command::new(&found.path)
        .arg("--version")
        .env_clear()
        .env("PATH", &found.search_path)
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .current_dir(home.path())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(output)) if output.status.success() => {
            match version(&String::from_utf8_lossy(&output.stdout)) {
                Some(version) => Presence::Installed {
                    version,
                    program: program.to_string(),
                },
                None => missing(format!("{program} tells no version")),
            }
        }
        Ok(Ok(output)) => missing(format!("{program} ended with {}", output.status)),
        Ok(Err(error)) => missing(format!("{program} cannot be started: {error}")),
        Err(_) => missing(format!("{program} does not answer")),
    }
}

/// The first word with a digit in the last line that has one: programs also greet, and name
/// themselves.
fn version(text: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        line.split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            .map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        for (said, told) in [
            ("2.1.197 (Claude Code)\n", "2.1.197"),
            ("0.61.0\n", "0.61.0"),
            ("codex-cli 0.169.0\n", "0.169.0"),
            ("Data collection is disabled.\n0.5.19\n", "0.5.19"),
        ] {
            assert_eq!(version(said).as_deref(), Some(told), "{said:?}");
        }
        assert_eq!(version("no version here\n"), None);
    }

    #[test]
    fn a_script_of_node_needs_all_of_its_packages() {
        let script = Path::new("/opt/a/node_modules/x/node_modules/y/bin/y.js");
        assert_eq!(home_of(script), Path::new("/opt/a/node_modules"));
        assert_eq!(home_of(Path::new("/opt/a/bin/y")), Path::new("/opt/a/bin"));
    }

    #[test]
    fn a_node_in_a_users_own_folder_does_not_open_all_of_it() {
        let folders = folders_of_node(Path::new("/home/u/bin/node"));
        assert_eq!(folders, ["/home/u/bin", "/home/u/lib"].map(PathBuf::from));
        let folders = folders_of_node(Path::new("/opt/node"));
        assert_eq!(folders, ["/opt"].map(PathBuf::from));
    }
}
