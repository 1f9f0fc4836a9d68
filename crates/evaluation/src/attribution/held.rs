//! Whether a text holds the lines that prove an answer.
//!
//! Lines are compared apart from spaces and the signs of a diff, and found behind line numbers. A
//! file that the program read again comes without the diff's lines: it is told by a line that names
//! it, `file: src/store.py`, or by a heading of the summary. What stands from there to the next such
//! line is of that file.

use super::words::{has_word, is_path, plain};
use crate::probe::Part;

const OPENING: &str = "diff --git ";

/// A text, by lines.
pub(super) struct Held {
    lines: Vec<Line>,
}

struct Line {
    text: String,
    /// What the last line before it that names a file names.
    file: Option<String>,
}

impl Held {
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

    /// Whether the text holds all evidence of a part.
    pub(super) fn part(&self, part: &Part) -> bool {
        if part.evidence.is_empty() {
            return false;
        }
        let all = |line: &String| stands(self.lines.iter(), line);
        part.evidence.iter().all(all) || self.under_its_name(part)
    }

    /// Whether the text holds the code of a part below the name of its file.
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
        code.iter().all(|line| stands(within(), line))
    }
}

fn stands<'a>(mut lines: impl Iterator<Item = &'a Line>, evidence: &str) -> bool {
    let evidence = plain(evidence);
    let bare = evidence
        .strip_prefix(['+', '-'])
        .filter(|rest| rest.starts_with(|first: char| !first.is_whitespace()))
        .unwrap_or(&evidence);
    lines.any(|line| has_word(&line.text, &evidence) || has_word(&line.text, bare))
}

/// The path after the change in a line `diff --git a/… b/…`.
fn path_of(opening: &str) -> Option<&str> {
    let (_, path) = opening.rsplit_once(" b/")?;
    (!path.is_empty()).then_some(path)
}

/// Whether a name, which may begin at the root of the machine, is that of the repository's file.
fn is_at(name: &str, path: &str) -> bool {
    let name = name.strip_prefix("./").unwrap_or(name);
    let inside = name.strip_suffix(path);
    name == path || inside.is_some_and(|root| root.starts_with('/') && root.ends_with('/'))
}

/// The file that a line names, if that is what the line is for: `file: PATH` with whatever follows,
/// or a heading or emphasis of a path alone.
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
    // What `file:` names is a file whatever it looks like, such as `Makefile`.
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
    fn a_line_that_names_a_file_is_told_from_one_that_speaks_of_it() {
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
