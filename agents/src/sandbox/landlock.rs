//! Landlock: the worker prepares rules, and they take effect in the child before its program runs.
//!
//! No version of Landlock restricts UDP, or the reading of a file's existence, size, owner, mode
//! and times. Before ABI 9 it does not restrict connections to sockets in the file system.
//!
//! A child of a worker that runs as root keeps only one capability: to ignore the modes of files.
//! The rules replace these modes.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    Scope,
};

use super::bounds::{AllowedPaths, DEVICES};

/// Newest version whose rights are used.
const NEWEST: i32 = 9;

/// Current version of the structures of `capset(2)`.
const CAPABILITIES_VERSION: u32 = 0x2008_0522;
/// Capability to read, write and search whatever the modes of files and folders.
const DAC_OVERRIDE: u32 = 1 << 1;

/// Returns the version of the kernel's Landlock, after a trial on a thread of its own.
///
/// # Errors
///
/// Describes why Landlock is not available.
pub(super) fn detect() -> Result<i32, String> {
    std::thread::spawn(run_trial)
        .join()
        .unwrap_or_else(|_| Err("the trial of Landlock failed".to_owned()))
}

fn run_trial() -> Result<i32, String> {
    let failed = |error: RulesetError| format!("Landlock does not work: {error}");
    let empty = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    match empty.restrict_self().map_err(failed)?.landlock {
        LandlockStatus::NotImplemented => {
            Err("this kernel has no Landlock. It needs Linux 5.13 or newer".to_owned())
        }
        LandlockStatus::NotEnabled => {
            Err("Landlock is disabled in this kernel. See its option lsm=".to_owned())
        }
        LandlockStatus::Available { .. } if std::fs::read_dir("/").is_ok() => {
            Err("Landlock is enabled but has no effect".to_owned())
        }
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => Ok(kernel_abi.unwrap_or(effective_abi as i32)),
    }
}

pub(super) fn restricts_ports(abi: i32) -> bool {
    abi >= 4
}

pub(super) fn restricts_signals(abi: i32) -> bool {
    abi >= 6
}

/// Describes the protection, for people.
pub(super) fn describe(abi: i32, connect: Option<&[u16]>) -> String {
    let (mut protected, mut open) = (vec!["files".to_owned()], Vec::new());
    if abi < 3 {
        open.push("emptying files");
    }
    if restricts_ports(abi) {
        let reachable = connect.map_or("any port".to_owned(), |ports| {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            format!("port {}", ports.join(", "))
        });
        protected.push(format!(
            "TCP ports (no listening, connecting to {reachable})"
        ));
    } else {
        open.push("TCP ports");
    }
    if restricts_signals(abi) {
        protected.push("signals".to_owned());
    } else {
        open.push("signals");
    }
    let mut description = format!("landlock (ABI {abi}): {}", protected.join(", "));
    if !open.is_empty() {
        description.push_str("; not: ");
        description.push_str(&open.join(", "));
    }
    description
}

/// Creates the rules for a program.
///
/// # Errors
///
/// Fails if the kernel refuses them, or if a folder does not exist.
pub(super) fn rules(
    abi: i32,
    allowed: &AllowedPaths,
    connect: Option<&[u16]>,
    listen: Option<u16>,
) -> Result<OwnedFd, String> {
    let supported = ABI::from(abi.min(NEWEST));
    let created = create_ruleset(abi, supported, connect.is_some())
        .map_err(|error| format!("could not create the rules of the sandbox: {error}"))?;
    let mut rules = Rules {
        created,
        abi: supported,
    };

    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    for program in &allowed.programs {
        rules.allow(&program.real, read | AccessFs::Execute)?;
    }
    for path in &allowed.readable {
        rules.allow(&path.real, read)?;
    }
    rules.allow(Path::new("/proc"), read)?;
    for device in DEVICES.map(Path::new) {
        if device.exists() {
            rules.allow(device, AccessFs::ReadFile | AccessFs::WriteFile)?;
        }
    }
    if let Some(workspace) = &allowed.workspace {
        // Agents run scripts of repositories.
        rules.allow(&workspace.real, read | AccessFs::Execute)?;
    }
    // A device created in a HOME would bypass all rules.
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    rules.allow(&allowed.home.real, AccessFs::from_all(supported) & !devices)?;
    if restricts_ports(abi) {
        for port in connect.unwrap_or_default() {
            rules.port(*port, AccessNet::ConnectTcp)?;
        }
        if let Some(port) = listen {
            rules.port(port, AccessNet::BindTcp)?;
        }
    }
    Option::<OwnedFd>::from(rules.created).ok_or_else(|| "the kernel returned no rules".to_owned())
}

/// Creates rules that restrict everything and allow nothing yet.
fn create_ruleset(abi: i32, supported: ABI, ports: bool) -> Result<RulesetCreated, RulesetError> {
    // Detected features must work: anything less would weaken the sandbox silently.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(supported))?;
    if restricts_ports(abi) {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
        if ports {
            ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
        }
    }
    if restricts_signals(abi) {
        ruleset = ruleset.scope(Scope::from_all(supported))?;
    }
    ruleset.create()
}

struct Rules {
    created: RulesetCreated,
    abi: ABI,
}

impl Rules {
    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("could not allow {} in the sandbox: {error}", path.display())
        };
        let opened = PathFd::new(path).map_err(|error| failed(&error))?;
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(self.abi)
        };
        (&mut self.created)
            .add_rule(PathBeneath::new(opened, access))
            .map(|_| ())
            .map_err(|error| failed(&error))
    }

    fn port(&mut self, port: u16, access: AccessNet) -> Result<(), String> {
        (&mut self.created)
            .add_rule(NetPort::new(port, access))
            .map(|_| ())
            .map_err(|error| format!("could not allow port {port} in the sandbox: {error}"))
    }
}

/// Applies rules permanently to the calling thread and all processes that it starts. Safe between
/// fork and exec: three system calls, no allocation, no lock.
///
/// # Errors
///
/// Fails as the system calls do.
pub(crate) fn enforce(rules: &OwnedFd) -> std::io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    drop_capabilities()?;
    restrict(rules)
}

#[expect(
    unsafe_code,
    reason = "the crate's own call consumes and drops its rules"
)]
fn restrict(rules: &OwnedFd) -> std::io::Result<()> {
    let no_flags: libc::c_uint = 0;
    // SAFETY: the call reads its two numbers and no memory.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_restrict_self,
            rules.as_raw_fd(),
            no_flags,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Header of `capset(2)`.
#[repr(C)]
struct Head {
    version: u32,
    thread: i32,
}

/// Half of a thread's capabilities.
#[repr(C)]
#[derive(Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops all capabilities but one. No new privileges can be gained, so exec does not restore them.
#[expect(unsafe_code, reason = "these system calls have no safe interface")]
fn drop_capabilities() -> std::io::Result<()> {
    let mut head = Head {
        version: CAPABILITIES_VERSION,
        thread: 0,
    };
    let mut halves = [Half {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: both structures have the shape of this version, in which there are two halves.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw mut head, halves.as_mut_ptr()) };
    if read != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let kept = halves[0].permitted & DAC_OVERRIDE;
    let halves = [
        Half {
            effective: kept,
            permitted: kept,
            inheritable: 0,
        },
        Half {
            effective: 0,
            permitted: 0,
            inheritable: 0,
        },
    ];
    // SAFETY: as above; the call only reads them.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw mut head, halves.as_ptr()) };
    if set == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::super::bounds::Bounds;
    use super::*;

    #[test]
    fn an_older_kernel_gets_rules_that_it_supports() {
        let home = tempfile::tempdir().expect("a folder");
        let bounds = Bounds {
            program: Path::new("sh"),
            args: &[],
            folder: home.path(),
            home: home.path(),
            workspace: None,
            readable: &[],
            certificates: Vec::new(),
            search_path: OsStr::new("/usr/bin"),
        };
        let allowed = AllowedPaths::resolve(&bounds).expect("good bounds");
        let here = detect();
        for abi in 1..=NEWEST {
            // A kernel without Landlock, or with an older one, must refuse instead of protecting
            // less.
            let is_supported = here.as_ref().is_ok_and(|here| abi <= *here);
            let ports = restricts_ports(abi).then_some([443]);
            let made = rules(
                abi,
                &allowed,
                ports.as_ref().map(<[u16; 1]>::as_slice),
                Some(80),
            );
            // Versions 7 and 8 added nothing that is used here.
            let same = here
                .as_ref()
                .is_ok_and(|here| (6..=8).contains(here) && abi <= 8);
            assert_eq!(made.is_ok(), is_supported || same, "ABI {abi}: {made:?}");
        }
    }

    #[test]
    fn unprotected_resources_are_listed() {
        assert_eq!(
            describe(7, Some(&[443, 8080])),
            "landlock (ABI 7): files, TCP ports (no listening, connecting to port 443, 8080), \
             signals"
        );
        assert_eq!(
            describe(2, None),
            "landlock (ABI 2): files; not: emptying files, TCP ports, signals"
        );
    }
}
