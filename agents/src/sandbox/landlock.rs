//! Landlock: rules are written in the worker and take effect in the child before its program runs.
//!
//! What the kernel's Landlock does not ask about, whatever its version: whether a file exists and
//! how large it is, its owner, mode and times; UDP. Before ABI 9 it does not ask when a socket in
//! the file system is connected to.
//!
//! A worker that is root would hand on more than files: a child keeps none of its capabilities but
//! that of ignoring the modes of files, which are the rules' business here.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    Scope,
};

use super::{DEVICES, Reach};

/// The last version whose rights are used here.
const NEWEST: i32 = 9;

/// `capset(2)`'s current version of its structures.
const CAPABILITIES_VERSION: u32 = 0x2008_0522;
/// Reading, writing and searching whatever the modes of files and folders say.
const DAC_OVERRIDE: u32 = 1 << 1;

/// The version of the kernel's Landlock, tried out on a thread of its own.
///
/// # Errors
///
/// Why there is none.
pub(super) fn detect() -> Result<i32, String> {
    std::thread::spawn(try_out)
        .join()
        .unwrap_or_else(|_| Err("Landlock could not be tried out".to_owned()))
}

fn try_out() -> Result<i32, String> {
    let failed = |error: RulesetError| format!("Landlock does not work: {error}");
    let nothing = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    match nothing.restrict_self().map_err(failed)?.landlock {
        LandlockStatus::NotImplemented => {
            Err("this kernel has no Landlock (Linux 5.13 or newer has)".to_owned())
        }
        LandlockStatus::NotEnabled => {
            Err("Landlock is switched off in this kernel (see its option lsm=)".to_owned())
        }
        LandlockStatus::Available { .. } if std::fs::read_dir("/").is_ok() => {
            Err("Landlock is there, but keeps nothing out".to_owned())
        }
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => Ok(kernel_abi.unwrap_or(effective_abi as i32)),
    }
}

pub(super) fn knows_ports(abi: i32) -> bool {
    abi >= 4
}

pub(super) fn knows_signals(abi: i32) -> bool {
    abi >= 6
}

/// What is in force, for people.
pub(super) fn words(abi: i32, connect: Option<&[u16]>) -> String {
    let (mut held, mut open) = (vec!["files".to_owned()], Vec::new());
    if abi < 3 {
        open.push("emptying files");
    }
    if knows_ports(abi) {
        let reached = connect.map_or("any port".to_owned(), |ports| {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            format!("port {}", ports.join(", "))
        });
        held.push(format!("TCP ports (no listening, connecting to {reached})"));
    } else {
        open.push("TCP ports");
    }
    if knows_signals(abi) {
        held.push("signals".to_owned());
    } else {
        open.push("signals");
    }
    let mut words = format!("landlock (ABI {abi}): {}", held.join(", "));
    if !open.is_empty() {
        words.push_str("; not: ");
        words.push_str(&open.join(", "));
    }
    words
}

/// The rules for a program.
///
/// # Errors
///
/// The kernel refuses them, or a folder is gone.
pub(super) fn rules(
    abi: i32,
    reach: &Reach,
    connect: Option<&[u16]>,
    listen: Option<u16>,
) -> Result<OwnedFd, String> {
    let known = ABI::from(abi.min(NEWEST));
    let created = begin(abi, known, connect.is_some())
        .map_err(|error| format!("the sandbox's rules cannot be made: {error}"))?;
    let mut rules = Rules {
        created,
        abi: known,
    };

    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    for place in &reach.programs {
        rules.allow(&place.real, read | AccessFs::Execute)?;
    }
    for place in &reach.readable {
        rules.allow(&place.real, read)?;
    }
    rules.allow(Path::new("/proc"), read)?;
    for device in DEVICES.map(Path::new) {
        if device.exists() {
            rules.allow(device, AccessFs::ReadFile | AccessFs::WriteFile)?;
        }
    }
    if let Some(workspace) = &reach.workspace {
        // Repositories have scripts that agents run.
        rules.allow(&workspace.real, read | AccessFs::Execute)?;
    }
    // A device made in a HOME would be the way around all of this.
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    rules.allow(&reach.home.real, AccessFs::from_all(known) & !devices)?;
    if knows_ports(abi) {
        for port in connect.unwrap_or_default() {
            rules.port(*port, AccessNet::ConnectTcp)?;
        }
        if let Some(port) = listen {
            rules.port(port, AccessNet::BindTcp)?;
        }
    }
    Option::<OwnedFd>::from(rules.created)
        .ok_or_else(|| "the kernel has lost its Landlock".to_owned())
}

/// All that is asked about, and nothing allowed yet.
fn begin(abi: i32, known: ABI, ports: bool) -> Result<RulesetCreated, RulesetError> {
    // What was detected is there: anything less than it would be a silent loss.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(known))?;
    if knows_ports(abi) {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
        if ports {
            ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
        }
    }
    if knows_signals(abi) {
        ruleset = ruleset.scope(Scope::from_all(known))?;
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
            format!("the sandbox cannot let {} through: {error}", path.display())
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
            .map_err(|error| format!("the sandbox cannot let port {port} through: {error}"))
    }
}

/// Puts rules into force for the calling thread and all that it starts, for good. Made for a child
/// between fork and exec: three system calls, no allocation, no lock.
///
/// # Errors
///
/// Those of the system calls.
pub(crate) fn enforce(rules: &OwnedFd) -> std::io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    give_up_capabilities()?;
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

/// `capset(2)`'s header.
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

/// Since no new privileges can be gained, what is given up here does not come back by exec.
#[expect(unsafe_code, reason = "there is no safe door to these system calls")]
fn give_up_capabilities() -> std::io::Result<()> {
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

    use super::super::Bounds;
    use super::*;

    #[test]
    fn an_older_kernel_gets_rules_that_it_knows() {
        let home = tempfile::tempdir().expect("a folder");
        let bounds = Bounds {
            program: Path::new("sh"),
            args: &[],
            folder: home.path(),
            home: home.path(),
            workspace: None,
            needs: &[],
            certificates: Vec::new(),
            search_path: OsStr::new("/usr/bin"),
        };
        let reach = Reach::of(&bounds).expect("good bounds");
        let here = detect();
        for abi in 1..=NEWEST {
            // A kernel without Landlock, or with an older one, must refuse and not do less.
            let known = here.as_ref().is_ok_and(|here| abi <= *here);
            let ports = knows_ports(abi).then_some([443]);
            let made = rules(
                abi,
                &reach,
                ports.as_ref().map(<[u16; 1]>::as_slice),
                Some(80),
            );
            // The versions 7 and 8 brought nothing that is asked for here.
            let same = here
                .as_ref()
                .is_ok_and(|here| (6..=8).contains(here) && abi <= 8);
            assert_eq!(made.is_ok(), known || same, "ABI {abi}: {made:?}");
        }
    }

    #[test]
    fn what_a_kernel_cannot_withhold_is_said() {
        assert_eq!(
            words(7, Some(&[443, 8080])),
            "landlock (ABI 7): files, TCP ports (no listening, connecting to port 443, 8080), \
             signals"
        );
        assert_eq!(
            words(2, None),
            "landlock (ABI 2): files; not: emptying files, TCP ports, signals"
        );
    }
}
