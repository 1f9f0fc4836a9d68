//! Escaping of prompts, so that Gemini CLI and its descendants treat them as text only.
//!
//! These programs interpret parts of a prompt. `@name` reads a file or a folder into the prompt,
//! also in `bob@name`. `/name` at the beginning runs a command. When they resume a session, they
//! drop messages that begin with `/`, `?` or one of their own tags.

use std::path::Path;

/// Beginnings, after white space, of messages that are dropped.
const DROPPED: [&str; 4] = ["/", "?", "<session_context>", "<hook_context>"];

/// Text that is put before a message that would be dropped or run as a command.
pub(super) const OPENING: &str = "Message:\n";

/// Escapes a prompt with as few changes as possible: a backslash, the program's own escape
/// character, before each `@` that precedes the name of a file or folder in `folder`.
pub(super) fn escape(prompt: &str, folder: &Path) -> String {
    let mut escaped_prompt = String::with_capacity(prompt.len());
    let begins = prompt.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if DROPPED.iter().any(|sign| begins.starts_with(sign)) {
        escaped_prompt.push_str(OPENING);
    }
    for (at, character) in prompt.char_indices() {
        let is_escaped = prompt[..at].ends_with('\\');
        if character == '@' && !is_escaped && names_a_file(name(&prompt[at + 1..]), folder) {
            escaped_prompt.push('\\');
        }
        escaped_prompt.push(character);
    }
    escaped_prompt
}

/// Returns the part of `rest` that the program takes for a path.
fn name(rest: &str) -> &str {
    let mut end = 0;
    while let Some(character) = rest[end..].chars().next() {
        let after = &rest[end + character.len_utf8()..];
        let length = match character {
            '"' => after.find('"').map_or(1, |closing| closing + 2),
            '\\' => match after.chars().next() {
                Some('\n') | None => 1,
                Some(next) => 1 + next.len_utf8(),
            },
            '.' if after.is_empty() || after.starts_with([' ', '\t', '\n', '\r']) => break,
            ' ' | '\t' | '\n' | '\r' | ',' | ';' | '!' | '?' | '(' | ')' | '[' | ']' | '{'
            | '}' => break,
            other => other.len_utf8(),
        };
        end += length;
    }
    &rest[..end]
}

/// Returns whether the program might read something for `@name`. In doubt, it might.
fn names_a_file(name: &str, folder: &Path) -> bool {
    let is_usual = |c: char| c.is_alphanumeric() || "._-/+@".contains(c);
    if name.is_empty() {
        return false;
    }
    if name.chars().all(is_usual) && !name.contains("..") {
        return folder.join(name).symlink_metadata().is_ok();
    }
    // The program unquotes such names, and extracts the parts that look like a path.
    let Ok(entries) = folder.read_dir() else {
        return true;
    };
    name.starts_with(['"', '\'', '\\', '~', '/', '.'])
        || name.contains("..")
        || entries.filter_map(Result::ok).any(|entry| {
            let entry = entry.file_name();
            name.strip_prefix(&*entry.to_string_lossy())
                .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("types")).expect("a folder in it");
        std::fs::write(folder.path().join("file.txt"), "words").expect("a file in it");
        folder
    }

    #[test]
    fn only_names_of_files_are_escaped() {
        let folder = folder();
        for (prompt, expected) in [
            ("see @types and @app.route", "see \\@types and @app.route"),
            (
                "bob@file.txt, and bob@example.com",
                "bob\\@file.txt, and bob@example.com",
            ),
            ("already \\@types", "already \\@types"),
            ("@./types/. @. end", "\\@./types/. @. end"),
            ("@\"types\" @types:12", "\\@\"types\" \\@types:12"),
            ("@other/../types", "\\@other/../types"),
            ("@ @", "@ @"),
        ] {
            assert_eq!(escape(prompt, folder.path()), expected);
        }
    }

    #[test]
    fn a_message_that_would_be_dropped_gets_an_opening() {
        let folder = folder();
        for begins in ["/help me", "  ? what", "<session_context>", "\u{feff}/x"] {
            let escaped = escape(begins, folder.path());
            assert_eq!(escaped, format!("Message:\n{begins}"));
        }
        assert_eq!(escape("a / b", folder.path()), "a / b");
    }

    proptest! {
        #[test]
        fn no_text_is_lost(prompt in "[@\\\\\"a-z./ é?\n]{0,40}") {
            let folder = folder();
            let escaped = escape(&prompt, folder.path());
            let unescaped = |text: &str| text.replace(['\\'], "");
            prop_assert!(unescaped(&escaped).ends_with(&unescaped(&prompt)));
        }
    }
}
