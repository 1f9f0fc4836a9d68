//! Locations and versions of agents' programs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapter::Presence;

/// Time limit for a program to print its version. Some programs load for seconds on a slow machine.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Places where programs are looked for.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// Folder that `scripts/install-agents.sh` created. The programs are in its `bin`.
    pub installed: Option<PathBuf>,
    /// Configured paths of programs, by the agent's name.
    pub paths: BTreeMap<String, PathBuf>,
}

/// A program that exists on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledProgram {
    pub path: PathBuf,
    /// Folders that the program must be able to read and execute, besides those of the system.
    pub folders: Vec<PathBuf>,
    /// `PATH` to run it with. If it was installed with its own Node, that goes before the
    /// machine's.
    pub search_path: OsString,
}

impl Programs {
    /// Finds a program: at its configured path, else among the installed programs, else in `PATH`.
    ///
    /// # Errors
    ///
    /// Describes for people why there is none.
    pub fn find(&self, agent: &str, program: &str) -> Result<InstalledProgram, String> {
        if let Some(path) = self.paths.get(agent) {
            return if path.is_file() {
                Ok(self.installed_program(path.clone()))
            } else {
                Err(format!("there is no program {}", path.display()))
            };
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        self.installed
            .iter()
            .map(|folder| folder.join("bin"))
            .chain(std::env::split_paths(&path))
            .map(|folder| folder.join(program))
            .find(|candidate| candidate.is_file())
            .map(|path| self.installed_program(path))
            .ok_or_else(|| format!("{program} is not installed"))
    }

    fn installed_program(&self, path: PathBuf) -> InstalledProgram {
        let mut folders = self
            .installed
            .iter()
            .filter_map(|folder| real_path(folder))
            .collect();
        if let Some(real) = real_path(&path) {
            add_folder(&mut folders, package_folder(&real));
        }
        let own = self.installed.iter().map(|folder| folder.join("bin"));
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let all: Vec<PathBuf> = own.chain(std::env::split_paths(&inherited)).collect();
        // Many of these programs are scripts for Node.
        let node = all.iter().map(|folder| folder.join("node"));
        if let Some(node) = node.into_iter().find_map(|node| real_path(&node)) {
            for folder in node_folders(&node) {
                add_folder(&mut folders, folder);
            }
        }
        InstalledProgram {
            path,
            folders,
            search_path: std::env::join_paths(all).unwrap_or(inherited),
        }
    }
}

fn add_folder(folders: &mut Vec<PathBuf>, folder: PathBuf) {
    if !folders.iter().any(|known| folder.starts_with(known)) {
        folders.push(folder);
    }
}

fn real_path(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

/// Returns the outermost `node_modules` that contains a program, or its folder.
fn package_folder(program: &Path) -> PathBuf {
    program
        .ancestors()
        .filter(|folder| folder.ends_with("node_modules"))
        .last()
        .or_else(|| program.parent())
        .unwrap_or(program)
        .to_owned()
}

/// Returns `/prefix/bin` and `/prefix/lib` of `/prefix/bin/program`. The prefix itself may be a
/// user's own folder.
fn node_folders(program: &Path) -> Vec<PathBuf> {
    let folder = program.parent().unwrap_or(program);
    let libraries = folder.parent().map(|prefix| prefix.join("lib"));
    match libraries {
        Some(libraries) if folder.ends_with("bin") => vec![folder.to_owned(), libraries],
        Some(_) | None => vec![folder.to_owned()],
    }
}

/// Asks a program for its version, without the worker's environment and with an empty HOME.
pub async fn presence(program: Result<InstalledProgram, String>, fix: &str) -> Presence {
    let missing = |why: String| Presence::Missing {
        why,
        fix: fix.to_owned(),
    };
    let installed = match program {
        Ok(installed) => installed,
        Err(why) => return missing(why),
    };
    let home = match tempfile::tempdir() {
        Ok(home) => home,
        Err(error) => return missing(format!("could not create a temporary folder: {error}")),
    };
    let program = installed.path.display();
    let version_command = tokio::process::Command::new(&installed.path)
        .arg("--version")
        .env_clear()
        .env("PATH", &installed.search_path)
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .current_dir(home.path())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(VERSION_TIMEOUT, version_command).await {
        Ok(Ok(output)) if output.status.success() => {
            match parse_version(&String::from_utf8_lossy(&output.stdout)) {
                Some(version) => Presence::Installed {
                    version,
                    program: program.to_string(),
                },
                None => missing(format!("{program} printed no version")),
            }
        }
        Ok(Ok(output)) => missing(format!("{program} exited with {}", output.status)),
        Ok(Err(error)) => missing(format!("could not start {program}: {error}")),
        Err(_) => missing(format!("{program} printed no version in time")),
    }
}

/// Returns the first word with a digit in the last line that has one. Programs also print greetings
/// and their names.
fn parse_version(text: &str) -> Option<String> {
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
    fn versions_are_parsed_from_the_output_of_programs() {
        for (output, expected) in [
            ("2.1.197 (Claude Code)\n", "2.1.197"),
            ("0.61.0\n", "0.61.0"),
            ("codex-cli 0.169.0\n", "0.169.0"),
            ("Data collection is disabled.\n0.5.19\n", "0.5.19"),
        ] {
            assert_eq!(
                parse_version(output).as_deref(),
                Some(expected),
                "{output:?}"
            );
        }
        assert_eq!(parse_version("no version here\n"), None);
    }

    #[test]
    fn a_script_of_node_needs_all_of_its_packages() {
        let script = Path::new("/opt/a/node_modules/x/node_modules/y/bin/y.js");
        assert_eq!(package_folder(script), Path::new("/opt/a/node_modules"));
        assert_eq!(
            package_folder(Path::new("/opt/a/bin/y")),
            Path::new("/opt/a/bin")
        );
    }

    #[test]
    fn a_node_in_a_users_own_folder_does_not_open_all_of_it() {
        let folders = node_folders(Path::new("/home/u/bin/node"));
        assert_eq!(folders, ["/home/u/bin", "/home/u/lib"].map(PathBuf::from));
        let folders = node_folders(Path::new("/opt/node"));
        assert_eq!(folders, ["/opt"].map(PathBuf::from));
    }
}
