//! The control agents as an executable of their own.

use std::process::ExitCode;

fn main() -> ExitCode {
    agents::control::program::main(std::env::args_os().skip(1))
}
