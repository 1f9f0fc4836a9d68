//! Decides whether a text contains the lines that prove an answer.
//!
//! Lines are compared without spaces and the signs of a diff, and are also found behind line
//! numbers. A file that the program read again comes without the lines of the diff. It is
//! identified by a line that names it, such as `file: src/store.py`, or by a heading of the
//! summary. All text up to the next such line belongs to that file.

use super::words::{has_word, is_path, plain};
use crate::probe::Part;

const OPENING: &str = "diff --git ";

/// A text as lines.
pub(super) struct TextLines {
    lines: Vec<Line>,
}

struct Line {
    text: String,
    /// The file that the last such line before it names.
    file: Option<String>,
}

impl TextLines {
    pub(super) fn new(text: &str) -> Self {
        let mut file = None;
        let lines = text
            .lines()
            .map(|line| {
                if let Some(named) = named_file(line) {
                    file = Some(named);
                }
                Line {
                    text: plain(line),
                    file: file.clone(),
                }
            })
            .collect();
        Self { lines }
    }

    /// Returns whether the text contains all evidence of a part.
    pub(super) fn part(&self, part: &Part) -> bool {
        if part.evidence.is_empty() {
            return false;
        }
        let all = |line: &String| contains_line(self.lines.iter(), line);
        part.evidence.iter().all(all) || self.under_its_name(part)
    }

    /// Returns whether the text contains the code of a part below the name of its file.
    fn under_its_name(&self, part: &Part) -> bool {
        let (openings, code): (Vec<&String>, Vec<&String>) = part
            .evidence
            .iter()
            .partition(|line| line.starts_with(OPENING));
        let [opening] = openings.as_slice() else {
            return false;
        };
        let Some(path) = path_of(opening).filter(|_| !code.is_empty()) else {
            return false;
        };
        let within = || {
            self.lines
                .iter()
                .filter(|line| line.file.as_deref().is_some_and(|file| is_at(file, path)))
        };
        code.iter().all(|line| contains_line(within(), line))
    }
}

fn contains_line<'a>(mut lines: impl Iterator<Item = &'a Line>, evidence: &str) -> bool {
    let evidence = plain(evidence);
    let bare = evidence
        .strip_prefix(['+', '-'])
        .filter(|rest| rest.starts_with(|first: char| !first.is_whitespace()))
        .unwrap_or(&evidence);
    lines.any(|line| has_word(&line.text, &evidence) || has_word(&line.text, bare))
}

/// Returns the path after the change in a line `diff --git a/… b/…`.
fn path_of(opening: &str) -> Option<&str> {
    let (_, path) = opening.rsplit_once(" b/")?;
    (!path.is_empty()).then_some(path)
}

/// Returns whether a name, which may be an absolute path, refers to a file of the repository.
fn is_at(name: &str, path: &str) -> bool {
    let name = name.strip_prefix("./").unwrap_or(name);
    let inside = name.strip_suffix(path);
    name == path || inside.is_some_and(|root| root.starts_with('/') && root.ends_with('/'))
}

/// Returns the file that a line names, if that is the purpose of the line: `file: PATH` with any
/// further text, or a heading or emphasis of a path alone.
fn named_file(line: &str) -> Option<String> {
    let is_frame = |letter: char| "#*`>\"'".contains(letter) || letter.is_whitespace();
    let inner = line.trim_start_matches(is_frame);
    let is_said = inner
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("file:"));
    let (name, rest) = if is_said {
        let rest = inner[5..].trim_start_matches(is_frame);
        let end = rest.find(|letter: char| letter.is_whitespace() || "`\"'*".contains(letter));
        rest.split_at(end.unwrap_or(rest.len()))
    } else if line.trim_start().starts_with(['#', '*', '`']) {
        (inner, "")
    } else {
        return None;
    };
    let name = name.trim_end_matches(|letter| is_frame(letter) || letter == ':');
    // Any name after `file:` is a file, also without a folder or extension, such as `Makefile`.
    let is_name = if is_said {
        !name.is_empty()
    } else {
        rest.is_empty() && is_path(name)
    };
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::named_file;

    #[test]
    fn a_heading_with_a_file_is_distinguished_from_a_mention() {
        for (line, file) in [
            ("file: src/store.py", "src/store.py"),
            ("File: `src/store.py` (lines 1 to 9)", "src/store.py"),
            ("file: Makefile", "Makefile"),
            ("### `src/store.py`", "src/store.py"),
            ("**src/store.py**:", "src/store.py"),
        ] {
            assert_eq!(named_file(line).as_deref(), Some(file), "{line:?}");
        }
        for line in [
            "# Read src/store.py",
            "src/store.py",
            "files: 3",
            "profile: a.py",
        ] {
            assert_eq!(named_file(line), None, "{line:?}");
        }
    }
}
