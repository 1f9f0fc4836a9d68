//! What an agent's program can reach: the system's programs, what it needs itself, its HOME, and
//! the workspace while it may see one. Nothing else of the machine's files, whatever it is told.
//!
//! Two ways, and both hold for everything that the program starts:
//! * Landlock: the kernel asks at every opening of a file. Needs no rights, works in containers,
//!   and knows TCP ports (ABI 4) and signals (ABI 6).
//! * bubblewrap: file system and process table of its own; what is not to be reached is not there.
//!   Needs user namespaces or root. The network is shared.
//!
//! A HOME is executable: a program that may write a script there and read it could give it to an
//! interpreter all the same, and some of these programs unpack tools of theirs.
//!
//! `/proc` is readable, because the runtimes of these programs look into it. What the kernel shows
//! there only to whom it would let trace a process (environment, memory, open files, root) it hides
//! from confined programs; the command lines of others can be seen under Landlock, so that secrets
//! never belong into arguments.

mod bwrap;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(not(target_os = "linux"))]
#[path = "sandbox/no_landlock.rs"]
mod landlock;

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use landlock::enforce;

/// Programs, libraries and what belongs to them.
const SYSTEM: [&str; 5] = ["/usr", "/lib", "/lib64", "/bin", "/sbin"];

/// What is read of the system's configuration: names, addresses, time, certificates. No folder in
/// which private keys are kept.
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

const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

/// Which sandbox is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Landlock where the kernel has it, else bubblewrap where it works, else none.
    #[default]
    Auto,
    Landlock,
    Bwrap,
    None,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "landlock" => Ok(Self::Landlock),
            "bwrap" => Ok(Self::Bwrap),
            "none" => Ok(Self::None),
            _ => Err("it must be auto, landlock, bwrap or none".to_owned()),
        }
    }
}

/// The sandbox that programs are started in; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    kind: Kind,
    /// The TCP ports that may be connected to; none: any.
    connect: Option<Arc<[u16]>>,
    /// The TCP port that may be listened on.
    listen: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    None { why: Option<Arc<str>> },
    Landlock { abi: i32 },
    Bwrap { program: Arc<Path> },
}

impl Default for Kind {
    fn default() -> Self {
        Self::None { why: None }
    }
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// `landlock`, `bwrap` or `none`.
    pub kind: String,
    /// The version of the kernel's Landlock.
    pub abi: Option<i32>,
    /// Files are out of reach.
    pub filesystem: bool,
    /// TCP ports can be withheld.
    pub network: bool,
    /// Processes outside cannot be signalled.
    pub processes: bool,
    /// All of it, for people.
    pub words: String,
}

impl Sandbox {
    /// No sandbox.
    pub fn none() -> Self {
        Self::default()
    }

    /// Tries what the machine can do. Starts a thread or a process for a moment.
    ///
    /// # Errors
    ///
    /// Why what was asked for is not to be had. [`Mode::Auto`] and [`Mode::None`] never fail; why
    /// there is none then stands in the report.
    pub fn detect(mode: Mode) -> Result<Self, String> {
        let kind = match mode {
            Mode::None => Kind::default(),
            Mode::Landlock => Kind::landlock()?,
            Mode::Bwrap => Kind::bwrap()?,
            Mode::Auto => Kind::landlock()
                .or_else(|no_landlock| {
                    Kind::bwrap().map_err(|no_bwrap| format!("{no_landlock}; {no_bwrap}"))
                })
                .unwrap_or_else(|why| Kind::None {
                    why: Some(why.into()),
                }),
        };
        Ok(Self {
            kind,
            ..Self::default()
        })
    }

    /// The same, with TCP connections to these ports only. Hosts cannot be told apart.
    ///
    /// # Errors
    ///
    /// This sandbox knows no ports.
    pub fn connecting_only_to(self, ports: &[u16]) -> Result<Self, String> {
        if !self.report().network {
            return Err(format!(
                "TCP ports can be withheld by Landlock from ABI 4 (Linux 6.7) on, not by: {}",
                self.report().words
            ));
        }
        Ok(Self {
            connect: Some(ports.into()),
            ..self
        })
    }

    /// The same for a program that is spoken to over a port, which it may listen on.
    #[must_use]
    pub fn listening_on(&self, port: u16) -> Self {
        Self {
            listen: Some(port),
            ..self.clone()
        }
    }

    /// What is in force.
    pub fn report(&self) -> Report {
        match &self.kind {
            Kind::None { why } => Report {
                kind: "none".to_owned(),
                abi: None,
                filesystem: false,
                network: false,
                processes: false,
                words: why
                    .as_ref()
                    .map_or_else(|| "none".to_owned(), |why| format!("none ({why})")),
            },
            Kind::Landlock { abi } => Report {
                kind: "landlock".to_owned(),
                abi: Some(*abi),
                filesystem: true,
                network: landlock::knows_ports(*abi),
                processes: landlock::knows_signals(*abi),
                words: landlock::words(*abi, self.connect.as_deref()),
            },
            Kind::Bwrap { .. } => Report {
                kind: "bwrap".to_owned(),
                abi: None,
                filesystem: true,
                network: false,
                processes: true,
                words: "bwrap: files, processes; not: network".to_owned(),
            },
        }
    }

    /// How to start a program within its bounds.
    ///
    /// # Errors
    ///
    /// The bounds would not hold, or cannot be drawn.
    pub(crate) fn confine(&self, bounds: &Bounds<'_>) -> Result<Confined, String> {
        let as_it_is = Confined {
            program: bounds.program.to_owned(),
            args: bounds.args.to_vec(),
            rules: None,
        };
        Ok(match &self.kind {
            Kind::None { .. } => as_it_is,
            Kind::Landlock { abi } => Confined {
                rules: Some(landlock::rules(
                    *abi,
                    &Reach::of(bounds)?,
                    self.connect.as_deref(),
                    self.listen,
                )?),
                ..as_it_is
            },
            Kind::Bwrap { program } => Confined {
                program: program.to_path_buf(),
                args: bwrap::args(bounds, &Reach::of(bounds)?),
                rules: None,
            },
        })
    }
}

impl Kind {
    fn landlock() -> Result<Self, String> {
        landlock::detect().map(|abi| Self::Landlock { abi })
    }

    fn bwrap() -> Result<Self, String> {
        bwrap::detect().map(|program| Self::Bwrap {
            program: program.into(),
        })
    }
}

/// What is to be started, and what it may reach besides the system.
pub(crate) struct Bounds<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [OsString],
    /// The folder it works in: in its HOME or in the workspace.
    pub(crate) folder: &'a Path,
    pub(crate) home: &'a Path,
    /// None: it sees none.
    pub(crate) workspace: Option<&'a Path>,
    /// Read and executed.
    pub(crate) needs: &'a [PathBuf],
    /// Files with certificates, where such are named.
    pub(crate) certificates: Vec<PathBuf>,
    /// The `PATH` that it gets.
    pub(crate) search_path: &'a OsStr,
}

/// How to start a confined program.
#[derive(Debug)]
pub(crate) struct Confined {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// To be given to [`enforce`] between fork and exec.
    pub(crate) rules: Option<OwnedFd>,
}

/// A path as it was told, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    told: PathBuf,
    real: PathBuf,
}

impl Place {
    fn of(path: &Path) -> Result<Self, String> {
        let real = std::fs::canonicalize(path)
            .map_err(|error| format!("{} cannot be found: {error}", path.display()))?;
        Ok(Self {
            told: path.to_owned(),
            real,
        })
    }
}

/// Bounds as the machine's paths, checked: what contradicts itself is refused.
#[derive(Debug)]
struct Reach {
    home: Place,
    workspace: Option<Place>,
    /// Read and executed.
    programs: Vec<Place>,
    /// Only read.
    readable: Vec<Place>,
}

impl Reach {
    fn of(bounds: &Bounds<'_>) -> Result<Self, String> {
        let home = Place::of(bounds.home)?;
        let workspace = bounds.workspace.map(Place::of).transpose()?;
        if let Some(workspace) = &workspace
            && (workspace.real.starts_with(&home.real) || home.real.starts_with(&workspace.real))
        {
            return Err("one of workspace and HOME lies in the other".to_owned());
        }
        let folder = Place::of(bounds.folder)?.real;
        let mut own = std::iter::once(&home).chain(&workspace);
        if !own.any(|place| folder.starts_with(&place.real)) {
            return Err(format!(
                "{} is neither in the HOME nor in the workspace",
                folder.display()
            ));
        }
        let known = |paths: &mut dyn Iterator<Item = &Path>| -> Vec<Place> {
            paths.filter_map(|path| Place::of(path).ok()).collect()
        };
        let needs = bounds.needs.iter().map(PathBuf::as_path);
        let programs = known(&mut SYSTEM.iter().map(Path::new).chain(needs));
        // What lies there could be read by every agent: other runs, and this one's workspace.
        if let Some(place) = programs
            .iter()
            .find(|place| home.real.starts_with(&place.real))
        {
            return Err(format!(
                "the HOME {} lies in {}, which agents may read: choose another WORK_DIR, or \
                 another folder for the agent's program",
                home.told.display(),
                place.told.display()
            ));
        }
        // A folder instead of a file would open all that is in it.
        let certificates = bounds.certificates.iter();
        let certificates = certificates.filter(|path| path.is_absolute() && path.is_file());
        let configuration = CONFIGURATION.iter().map(Path::new);
        let certificates = certificates.map(PathBuf::as_path);
        let readable = known(&mut configuration.chain(certificates));
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

    fn refused(home: &Path, workspace: Option<&Path>, needs: &[PathBuf], folder: &Path) -> String {
        let bounds = Bounds {
            program: Path::new("sh"),
            args: &[],
            folder,
            home,
            workspace,
            needs,
            certificates: Vec::new(),
            search_path: OsStr::new("/usr/bin"),
        };
        Reach::of(&bounds).expect_err("bounds that do not hold")
    }

    #[test]
    fn bounds_that_would_not_hold_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let [home, workspace] = ["home", "workspace"].map(|name| folder.path().join(name));
        for path in [&home, &workspace] {
            std::fs::create_dir(path).expect("a folder");
        }
        let needs = [folder.path().to_owned()];
        assert!(refused(&home, None, &needs, &home).contains("may read"));
        assert!(refused(&home, Some(folder.path()), &[], &home).contains("lies in the other"));
        assert!(refused(&home, None, &[], &workspace).contains("neither in the HOME"));
        let usr = Path::new("/usr/lib");
        assert!(refused(usr, None, &[], usr).contains("WORK_DIR"));
    }

    #[test]
    fn nobody_gets_less_than_was_asked_for() {
        let error = Sandbox::none().connecting_only_to(&[443]);
        assert!(error.expect_err("no ports").contains("none"));
        assert!("chroot".parse::<Mode>().is_err());
    }
}
