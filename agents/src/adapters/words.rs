//! A prompt as Gemini CLI and its descendants take it for words and nothing else.
//!
//! Such a program has its own ideas about some of them, in the middle of a text as well: `@name` reads
//! a file or a folder into the prompt (also that of `bob@name`), `/name` at the beginning runs a
//! command, and of a message that begins with `/`, `?` or a tag of its own it keeps no trace when
//! the session is resumed.

use std::path::Path;

/// What a message may not begin with, white space aside.
const FORGOTTEN: [&str; 4] = ["/", "?", "<session_context>", "<hook_context>"];

/// Put before such a message.
const OPENING: &str = "Message:\n";

/// The prompt, with as little changed as will do: a backslash, which is the program's own way of
/// escaping, before each `@` that stands before the name of something in `folder`.
pub(super) fn plain(prompt: &str, folder: &Path) -> String {
    let mut plain = String::with_capacity(prompt.len());
    let begins = prompt.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if FORGOTTEN.iter().any(|sign| begins.starts_with(sign)) {
        plain.push_str(OPENING);
    }
    for (at, character) in prompt.char_indices() {
        let escaped = prompt[..at].ends_with('\\');
        if character == '@' && !escaped && names_a_file(name(&prompt[at + 1..]), folder) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}

/// What the program takes for a path at the beginning of `rest`.
fn name(rest: &str) -> &str {
    let mut end = 0;
    while let Some(character) = rest[end..].chars().next() {
        let after = &rest[end + character.len_utf8()..];
        let taken = match character {
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
        end += taken;
    }
    &rest[..end]
}

/// Whether the program might read something for `@name`. With doubt, it might.
fn names_a_file(name: &str, folder: &Path) -> bool {
    let usual = |c: char| c.is_alphanumeric() || "._-/+@".contains(c);
    if name.is_empty() {
        return false;
    }
    if name.chars().all(usual) && !name.contains("..") {
        return folder.join(name).symlink_metadata().is_ok();
    }
    // The program unquotes such names, and takes out of them what looks like a path.
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
    fn only_what_would_be_read_is_escaped() {
        let folder = folder();
        for (said, meant) in [
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
            assert_eq!(plain(said, folder.path()), meant);
        }
    }

    #[test]
    fn a_message_does_not_begin_with_what_would_be_forgotten() {
        let folder = folder();
        for begins in ["/help me", "  ? what", "<session_context>", "\u{feff}/x"] {
            let meant = plain(begins, folder.path());
            assert_eq!(meant, format!("Message:\n{begins}"));
        }
        assert_eq!(plain("a / b", folder.path()), "a / b");
    }

    proptest! {
        #[test]
        fn no_words_are_lost(said in "[@\\\\\"a-z./ é?\n]{0,40}") {
            let folder = folder();
            let meant = plain(&said, folder.path());
            let words = |text: &str| text.replace(['\\'], "");
            prop_assert!(words(&meant).ends_with(&words(&said)));
        }
    }
}
