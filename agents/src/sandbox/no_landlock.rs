//! Landlock where there is none: on systems other than Linux.

use std::os::fd::OwnedFd;

use super::Reach;

const NONE: &str = "only Linux has Landlock";

pub(super) fn detect() -> Result<i32, String> {
    Err(NONE.to_owned())
}

pub(super) fn knows_ports(_: i32) -> bool {
    false
}

pub(super) fn knows_signals(_: i32) -> bool {
    false
}

pub(super) fn words(_: i32, _: Option<&[u16]>) -> String {
    NONE.to_owned()
}

pub(super) fn rules(
    _: i32,
    _: &Reach,
    _: Option<&[u16]>,
    _: Option<u16>,
) -> Result<OwnedFd, String> {
    Err(NONE.to_owned())
}

pub(crate) fn enforce(_: &OwnedFd) -> std::io::Result<()> {
    Err(std::io::Error::other(NONE))
}
