//! Replacement for Landlock on systems other than Linux.

use std::os::fd::OwnedFd;

use super::bounds::AllowedPaths;

const NONE: &str = "only Linux has Landlock";

pub(super) fn detect() -> Result<i32, String> {
    Err(NONE.to_owned())
}

pub(super) fn restricts_ports(_: i32) -> bool {
    false
}

pub(super) fn restricts_signals(_: i32) -> bool {
    false
}

pub(super) fn describe(_: i32, _: Option<&[u16]>) -> String {
    NONE.to_owned()
}

pub(super) fn rules(
    _: i32,
    _: &AllowedPaths,
    _: Option<&[u16]>,
    _: Option<u16>,
) -> Result<OwnedFd, String> {
    Err(NONE.to_owned())
}

pub(crate) fn enforce(_: &OwnedFd) -> std::io::Result<()> {
    Err(std::io::Error::other(NONE))
}
