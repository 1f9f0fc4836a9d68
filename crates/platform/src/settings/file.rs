//! The file `.env`: settings without exporting variables.
//!
//! A missing file is no error. A file with an invalid line stops the start: otherwise the lines after
//! it would be ignored silently, `SSO_ENABLED=true` among them. Errors never contain a value, because
//! the invalid line is often the one with a password.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Environment, Source as _};

/// Name of the file, searched in the working folder and then in the folders above it.
const NAME: &str = ".env";

/// An unusable `.env` file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}, line {line}{}: not a NAME=value line. Put values with spaces, quotes, # or $ in \
        single quotes", path.display(), in_parentheses(name.as_deref()))]
    Line {
        path: PathBuf,
        line: usize,
        /// Name of the variable, if the line has one.
        name: Option<String>,
    },
    #[error("could not read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the environment variable {0} is not valid UTF-8")]
    NotText(String),
}

fn in_parentheses(name: Option<&str>) -> String {
    name.map(|name| format!(" ({name})")).unwrap_or_default()
}

/// Adds the variables of the file to the environment. Existing variables keep their values.
///
/// Call it before any thread starts, because the environment belongs to the whole process.
///
/// # Errors
/// The file exists and is unusable. No variable has been added then.
pub fn load() -> Result<(), FileError> {
    let Some(path) = find()? else { return Ok(()) };
    for name in read(&path)?.into_keys() {
        if Environment.is_not_text(&name) {
            return Err(FileError::NotText(name));
        }
    }
    // The file was just read to its end.
    dotenvy::from_path(&path).map_err(|error| FileError::Unreadable {
        path,
        source: match error {
            dotenvy::Error::Io(source) => source,
            dotenvy::Error::LineParse(..) | dotenvy::Error::EnvVar(_) | _ => {
                io::Error::other("the file changed while it was read")
            }
        },
    })
}

/// Returns the variables of the file that [`load`] would use. Empty if there is no file.
///
/// # Errors
/// The file exists and is unusable.
pub fn entries() -> Result<BTreeMap<String, String>, FileError> {
    match find()? {
        Some(path) => read(&path),
        None => Ok(BTreeMap::new()),
    }
}

fn find() -> Result<Option<PathBuf>, FileError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| FileError::Unreadable { path, source }
    };
    let here = std::env::current_dir().map_err(unreadable(Path::new(".")))?;
    for folder in here.ancestors() {
        let path = folder.join(NAME);
        match path.metadata() {
            Ok(found) if found.is_file() => return Ok(Some(path)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&path)(error)),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, FileError> {
    let text = std::fs::read(path).map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|(line, name)| FileError::Line {
        path: path.to_owned(),
        line,
        name,
    })
}

/// Returns the variables of a text, or the first invalid line with its variable name if it has one.
fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, (usize, Option<String>)> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines_read = std::cell::Cell::new(0);
    let lines = Lines {
        rest: text,
        lines_read: &lines_read,
    };
    let mut variables = BTreeMap::new();
    for item in dotenvy::from_read_iter(lines) {
        match item {
            // The first of several lines with one name counts.
            Ok((name, value)) => {
                variables.entry(name).or_insert(value);
            }
            Err(error) => {
                // A quoted value may span several lines: report the first of them.
                let lines = match &error {
                    dotenvy::Error::LineParse(read, _) => read.lines().count().max(1),
                    dotenvy::Error::Io(_) | dotenvy::Error::EnvVar(_) | _ => 1,
                };
                let line = (lines_read.get() + 1).saturating_sub(lines).max(1);
                return Err((line, name_at(text, line)));
            }
        }
    }
    Ok(variables)
}

/// Returns the name before the `=` of a line, if it looks like a variable name.
fn name_at(text: &[u8], line: usize) -> Option<String> {
    let line = text.split(|byte| *byte == b'\n').nth(line - 1)?;
    let (name, _) = std::str::from_utf8(line).ok()?.split_once('=')?;
    let name = name.trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let is_name = name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then(|| name.to_owned())
}

/// Reads one line at a time and counts lines, to locate an error.
struct Lines<'a> {
    rest: &'a [u8],
    lines_read: &'a std::cell::Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(self.rest.len(), |end| end + 1);
        let count = length.min(buffer.len());
        let (line, rest) = self.rest.split_at(count);
        buffer[..count].copy_from_slice(line);
        self.rest = rest;
        if count == length && count > 0 {
            self.lines_read.set(self.lines_read.get() + 1);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line_and_not_its_value() {
        for (text, line, name) in [
            (
                "A=1\nGATEWAY_SECRET=quokka and more\nSSO_ENABLED=true\n",
                2,
                Some("GATEWAY_SECRET"),
            ),
            ("# a comment\n\nquokka\n", 3, None),
            (
                "A=1\nB='one\ntwo'\n\nexport C=quokka 'x\nD=1\n",
                5,
                Some("C"),
            ),
            ("\u{feff}A=quokka quokka", 1, Some("A")),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, (line, name.map(str::to_owned)), "{text:?}");
        }
        assert_eq!(parse(b"A=1\nB=\xff\n").unwrap_err().0, 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        std::fs::write(&path, "A=1\nREDIS_URL=redis://:quokka x\n").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains(".env, line 2 (REDIS_URL)"), "{message}");
        assert!(!message.contains("quokka"), "{message}");
    }

    #[test]
    fn the_first_of_two_lines_with_one_name_counts() {
        let found = parse(b"A=1\r\nB='x y # $z'\nA=2").unwrap();
        let expected = [("A", "1"), ("B", "x y # $z")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn every_example_of_the_settings_file_is_valid() {
        let example_file = crate::settings::catalog::env_example();
        let mut samples = 0;
        for line in example_file.lines() {
            let Some(sample) = line
                .strip_prefix('#')
                .filter(|line| !line.starts_with([' ', '#']))
            else {
                continue;
            };
            let (name, value) = sample.split_once('=').expect("an example is NAME=value");
            let found = parse(sample.as_bytes());
            assert_eq!(
                found,
                Ok(BTreeMap::from([(
                    name.to_owned(),
                    value.trim_matches(['\'', '"']).to_owned()
                )])),
                "{sample}"
            );
            samples += 1;
        }
        assert!(samples > 80, "only {samples} samples");
    }
}
