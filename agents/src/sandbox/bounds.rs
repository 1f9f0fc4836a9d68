//! Paths that a confined program may reach.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Folders of programs and libraries.
pub(super) const SYSTEM: [&str; 5] = ["/usr", "/lib", "/lib64", "/bin", "/sbin"];

/// Readable configuration of the system: names, addresses, time, certificates. None of these
/// folders contains private keys.
const CONFIGURATION: [&str; 20] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/os-release",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
];

pub(super) const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

/// A program to start, and the files that it may reach besides those of the system.
pub(crate) struct Bounds<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [OsString],
    /// Working folder, in its HOME or in the workspace.
    pub(crate) folder: &'a Path,
    pub(crate) home: &'a Path,
    /// `None` if the program must not see a workspace.
    pub(crate) workspace: Option<&'a Path>,
    /// Folders that it may read and execute.
    pub(crate) readable: &'a [PathBuf],
    /// Files with certificates.
    pub(crate) certificates: Vec<PathBuf>,
    /// `PATH` of the program.
    pub(crate) search_path: &'a OsStr,
}

/// Command that starts a confined program.
#[derive(Debug)]
pub(crate) struct ConfinedCommand {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Rules for [`enforce`](super::enforce) between fork and exec.
    pub(crate) rules: Option<OwnedFd>,
}

/// A path as it was given, and without links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvedPath {
    pub(super) given: PathBuf,
    pub(super) real: PathBuf,
}

impl ResolvedPath {
    fn resolve(path: &Path) -> Result<Self, String> {
        let real = std::fs::canonicalize(path)
            .map_err(|error| format!("could not find {}: {error}", path.display()))?;
        Ok(Self {
            given: path.to_owned(),
            real,
        })
    }
}

/// Paths that a program may reach. Contradictory bounds are refused.
#[derive(Debug)]
pub(super) struct AllowedPaths {
    pub(super) home: ResolvedPath,
    pub(super) workspace: Option<ResolvedPath>,
    /// Files that may be read and executed.
    pub(super) programs: Vec<ResolvedPath>,
    /// Files that may only be read.
    pub(super) readable: Vec<ResolvedPath>,
}

impl AllowedPaths {
    pub(super) fn resolve(bounds: &Bounds<'_>) -> Result<Self, String> {
        let home = ResolvedPath::resolve(bounds.home)?;
        let workspace = bounds.workspace.map(ResolvedPath::resolve).transpose()?;
        if let Some(workspace) = &workspace
            && (workspace.real.starts_with(&home.real) || home.real.starts_with(&workspace.real))
        {
            return Err("the workspace and the HOME must not contain each other".to_owned());
        }
        let folder = ResolvedPath::resolve(bounds.folder)?.real;
        let mut own = std::iter::once(&home).chain(&workspace);
        if !own.any(|path| folder.starts_with(&path.real)) {
            return Err(format!(
                "the working folder {} is neither in the HOME nor in the workspace",
                folder.display()
            ));
        }
        let existing = |paths: &mut dyn Iterator<Item = &Path>| -> Vec<ResolvedPath> {
            paths
                .filter_map(|path| ResolvedPath::resolve(path).ok())
                .collect()
        };
        let readable = bounds.readable.iter().map(PathBuf::as_path);
        let programs = existing(&mut SYSTEM.iter().map(Path::new).chain(readable));
        // Every agent could read the files in there: those of other runs, and the workspace of this
        // one.
        if let Some(program) = programs
            .iter()
            .find(|program| home.real.starts_with(&program.real))
        {
            return Err(format!(
                "the HOME {} is in {}, which agents may read. Choose another WORK_DIR, or \
                 another folder for the agent's program",
                home.given.display(),
                program.given.display()
            ));
        }
        // A folder instead of a file would allow all of its content.
        let certificates = bounds.certificates.iter();
        let certificates = certificates.filter(|path| path.is_absolute() && path.is_file());
        let configuration = CONFIGURATION.iter().map(Path::new);
        let certificates = certificates.map(PathBuf::as_path);
        let readable = existing(&mut configuration.chain(certificates));
        Ok(Self {
            home,
            workspace,
            programs,
            readable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(
        home: &Path,
        workspace: Option<&Path>,
        readable: &[PathBuf],
        folder: &Path,
    ) -> String {
        let bounds = Bounds {
            program: Path::new("sh"),
            args: &[],
            folder,
            home,
            workspace,
            readable,
            certificates: Vec::new(),
            search_path: OsStr::new("/usr/bin"),
        };
        AllowedPaths::resolve(&bounds).expect_err("bounds that do not hold")
    }

    #[test]
    fn bounds_that_would_not_hold_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let [home, workspace] = ["home", "workspace"].map(|name| folder.path().join(name));
        for path in [&home, &workspace] {
            std::fs::create_dir(path).expect("a folder");
        }
        let readable = [folder.path().to_owned()];
        assert!(refusal(&home, None, &readable, &home).contains("may read"));
        assert!(refusal(&home, Some(folder.path()), &[], &home).contains("contain each other"));
        assert!(refusal(&home, None, &[], &workspace).contains("neither in the HOME"));
        let usr = Path::new("/usr/lib");
        assert!(refusal(usr, None, &[], usr).contains("WORK_DIR"));
    }
}
