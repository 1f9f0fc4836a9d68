//! Confines an agent's program to the system's programs, its own files, its HOME, and the workspace
//! while it has access. It reaches no other files of the machine.
//!
//! Two mechanisms are supported. Both apply to all processes that the program starts:
//! * Landlock: the kernel checks every opening of a file. Needs no rights, works in containers, and
//!   restricts TCP ports (ABI 4) and signals (ABI 6).
//! * bubblewrap: a file system and a process table of its own, without the files that must not be
//!   reached. Needs user namespaces or root. The network is shared.
//!
//! A HOME is executable. A program could pass a script in it to an interpreter anyway, and some of
//! these programs unpack their own tools.
//!
//! `/proc` is readable, because the runtimes of these programs read it. The kernel hides from
//! confined programs all that it shows only to processes that may trace another process:
//! environment, memory, open files, root. Under Landlock the command lines of other processes are
//! visible, so secrets must not be passed as arguments.

mod bounds;
mod bwrap;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(not(target_os = "linux"))]
#[path = "sandbox/no_landlock.rs"]
mod landlock;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use bounds::AllowedPaths;
pub(crate) use bounds::{Bounds, ConfinedCommand};
pub(crate) use landlock::enforce;

/// Requested sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Landlock if the kernel has it, else bubblewrap if it works, else none.
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
            _ => Err("invalid sandbox: it must be auto, landlock, bwrap or none".to_owned()),
        }
    }
}

/// Sandbox in which programs are started. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    kind: Kind,
    /// TCP ports that programs may connect to. `None` allows any port.
    connect: Option<Arc<[u16]>>,
    /// TCP port that programs may listen on.
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

/// Protection that a sandbox provides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// `landlock`, `bwrap` or `none`.
    pub kind: String,
    /// Version of the kernel's Landlock.
    pub abi: Option<i32>,
    /// Whether other files are protected.
    pub filesystem: bool,
    /// Whether TCP ports can be restricted.
    pub network: bool,
    /// Whether other processes are protected from signals.
    pub processes: bool,
    /// Description of the protection, for people.
    pub words: String,
}

impl Sandbox {
    /// Returns no sandbox.
    pub fn none() -> Self {
        Self::default()
    }

    /// Detects the sandbox that the machine supports. Starts a thread or a process for a moment.
    ///
    /// # Errors
    ///
    /// Describes why the requested sandbox is not available. [`Mode::Auto`] and [`Mode::None`]
    /// never fail. Their report states why there is none.
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

    /// Restricts TCP connections to these ports. Hosts cannot be restricted.
    ///
    /// # Errors
    ///
    /// Fails if this sandbox cannot restrict ports.
    pub fn connecting_only_to(self, ports: &[u16]) -> Result<Self, String> {
        if !self.report().network {
            return Err(format!(
                "could not restrict TCP ports: this needs Landlock with ABI 4 or newer (Linux 6.7). The \
                 sandbox is: {}",
                self.report().words
            ));
        }
        Ok(Self {
            connect: Some(ports.into()),
            ..self
        })
    }

    /// Allows a program to listen on a port through which the worker connects to it.
    #[must_use]
    pub fn listening_on(&self, port: u16) -> Self {
        Self {
            listen: Some(port),
            ..self.clone()
        }
    }

    /// Returns the protection that the sandbox provides.
    pub fn report(&self) -> SandboxReport {
        match &self.kind {
            Kind::None { why } => SandboxReport {
                kind: "none".to_owned(),
                abi: None,
                filesystem: false,
                network: false,
                processes: false,
                words: why
                    .as_ref()
                    .map_or_else(|| "none".to_owned(), |why| format!("none ({why})")),
            },
            Kind::Landlock { abi } => SandboxReport {
                kind: "landlock".to_owned(),
                abi: Some(*abi),
                filesystem: true,
                network: landlock::restricts_ports(*abi),
                processes: landlock::restricts_signals(*abi),
                words: landlock::describe(*abi, self.connect.as_deref()),
            },
            Kind::Bwrap { .. } => SandboxReport {
                kind: "bwrap".to_owned(),
                abi: None,
                filesystem: true,
                network: false,
                processes: true,
                words: "bwrap: files, processes; not: network".to_owned(),
            },
        }
    }

    /// Returns how to start a program within its bounds.
    ///
    /// # Errors
    ///
    /// Describes bounds that would not hold or cannot be applied.
    pub(crate) fn confine(&self, bounds: &Bounds<'_>) -> Result<ConfinedCommand, String> {
        let unconfined = ConfinedCommand {
            program: bounds.program.to_owned(),
            args: bounds.args.to_vec(),
            rules: None,
        };
        Ok(match &self.kind {
            Kind::None { .. } => unconfined,
            Kind::Landlock { abi } => ConfinedCommand {
                rules: Some(landlock::rules(
                    *abi,
                    &AllowedPaths::resolve(bounds)?,
                    self.connect.as_deref(),
                    self.listen,
                )?),
                ..unconfined
            },
            Kind::Bwrap { program } => ConfinedCommand {
                program: program.to_path_buf(),
                args: bwrap::args(bounds, &AllowedPaths::resolve(bounds)?),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unavailable_restriction_is_refused() {
        let error = Sandbox::none().connecting_only_to(&[443]);
        assert!(error.expect_err("no ports").contains("none"));
        assert!("chroot".parse::<Mode>().is_err());
    }
}
