//! The file `.env`: settings for whoever does not want to export them.
//!
//! A file that is not there is none. One that cannot be read to its end stops the start: what stands
//! after a bad line would else be dropped in silence, `SSO_ENABLED=true` among it. Nothing of a value
//! is ever told, for the line that goes wrong is often the one with a password in it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Environment, Source as _};

/// The name of the file, in the working folder or the nearest one above it that has such a file.
const NAME: &str = ".env";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}, line {line}{}: this is no NAME=value; a value with spaces, quotes, # or $ stands \
        in single quotes", path.display(), of(name.as_deref()))]
    Line {
        path: PathBuf,
        line: usize,
        /// The variable, where one can be made out.
        name: Option<String>,
    },
    #[error("{} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} is set in the environment to bytes that are no text (UTF-8)")]
    NotText(String),
}

fn of(name: Option<&str>) -> String {
    name.map(|name| format!(" ({name})")).unwrap_or_default()
}

/// Adds what stands in the file to the environment; what is there already goes before it. Call it
/// before any thread is there, because the environment belongs to the whole process.
///
/// # Errors
/// There is a file and it cannot be used; nothing of it has been added then.
pub fn load() -> Result<(), FileError> {
    let Some(path) = find()? else { return Ok(()) };
    for name in read(&path)?.into_keys() {
        if Environment.has_no_text(&name) {
            return Err(FileError::NotText(name));
        }
    }
    // It was read to its end a moment ago.
    dotenvy::from_path(&path).map_err(|error| FileError::Unreadable {
        path,
        source: match error {
            dotenvy::Error::Io(source) => source,
            dotenvy::Error::LineParse(..) | dotenvy::Error::EnvVar(_) | _ => {
                io::Error::other("it changes while it is read")
            }
        },
    })
}

/// What stands in the file that [`load`] would take; nothing where there is none.
///
/// # Errors
/// There is a file and it cannot be used.
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

/// The variables of a text, or the line that is none, with its variable if it names one.
fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, (usize, Option<String>)> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let taken = std::cell::Cell::new(0);
    let lines = Lines {
        rest: text,
        taken: &taken,
    };
    let mut variables = BTreeMap::new();
    for item in dotenvy::from_read_iter(lines) {
        match item {
            // Of several the first counts.
            Ok((name, value)) => {
                variables.entry(name).or_insert(value);
            }
            Err(error) => {
                // A value in quotes may go over several lines: the first of them is told.
                let lines = match &error {
                    dotenvy::Error::LineParse(read, _) => read.lines().count().max(1),
                    dotenvy::Error::Io(_) | dotenvy::Error::EnvVar(_) | _ => 1,
                };
                let line = (taken.get() + 1).saturating_sub(lines).max(1);
                return Err((line, name_at(text, line)));
            }
        }
    }
    Ok(variables)
}

/// The name before the `=` of a line, if it looks like the name of a variable.
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

/// Hands out one line at a time and counts them, so that the place of an error is known.
struct Lines<'a> {
    rest: &'a [u8],
    taken: &'a std::cell::Cell<usize>,
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
            self.taken.set(self.taken.get() + 1);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_goes_wrong_is_told_and_its_value_is_not() {
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
            let told = parse(text.as_bytes()).unwrap_err();
            assert_eq!(told, (line, name.map(str::to_owned)), "{text:?}");
        }
        assert_eq!(parse(b"A=1\nB=\xff\n").unwrap_err().0, 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        std::fs::write(&path, "A=1\nREDIS_URL=redis://:quokka x\n").unwrap();
        let told = read(&path).unwrap_err().to_string();
        assert!(told.contains(".env, line 2 (REDIS_URL)"), "{told}");
        assert!(!told.contains("quokka"), "{told}");
    }

    #[test]
    fn of_two_lines_with_one_name_the_first_counts() {
        let found = parse(b"A=1\r\nB='x y # $z'\nA=2").unwrap();
        let expected = [("A", "1"), ("B", "x y # $z")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn every_sample_of_the_description_can_be_used_as_it_stands() {
        let described = include_str!("../../../../.env.example");
        let mut samples = 0;
        for line in described.lines() {
            let Some(sample) = line
                .strip_prefix('#')
                .filter(|line| !line.starts_with([' ', '#']))
            else {
                continue;
            };
            let (name, value) = sample.split_once('=').expect("a sample is NAME=value");
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
