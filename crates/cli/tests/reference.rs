//! The command line reference matches the help of the program.

use std::path::Path;
use std::process::Command;

/// Commands in the order of the reference. The first is the program itself.
const COMMANDS: [&str; 11] = [
    "",
    "demo",
    "eval",
    "report",
    "plan",
    "judge",
    "serve",
    "doctor",
    "conformance",
    "model-stub",
    "forge",
];

/// Returns the help of a command, as an 98-column terminal shows it.
fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_membreak"))
        .args([command, "--help"].iter().filter(|word| !word.is_empty()))
        .env("COLUMNS", "98")
        .output()
        .expect("membreak starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_command_line_reference_matches_the_help() {
    let mut text = String::from(
        "# Command line\n\n\
         `membreak` is one program with a command for each purpose. This page is generated from its\n\
         `--help`. Words: [glossary](../glossary.md). Settings: [reference](settings.md).\n",
    );
    for command in COMMANDS {
        let title = ["membreak", command].join(" ");
        let help = help(command);
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        text.push_str(&format!(
            "\n## `{}`\n\n```text\n{}\n```\n",
            title.trim_end(),
            lines.join("\n").trim_end()
        ));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &text).expect("a writable file");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/reference/cli.md is out of date; run UPDATE_GENERATED=1 cargo test -p cli --test reference"
    );
}
