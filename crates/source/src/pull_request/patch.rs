//! Splits a diff into the sections of its files, without loading all of it.

use std::io::{self, BufRead};

/// Section of one file in a diff.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Text from the `diff --git` line on, empty if it is larger than the limit.
    pub(super) text: Vec<u8>,
    /// Size in bytes, also if the text is not kept.
    pub(super) size: usize,
    /// Whether git reports a binary file instead of lines.
    pub(super) binary: bool,
    /// Number of added and removed lines.
    pub(super) changed: usize,
    in_hunks: bool,
}

/// Calls `with` with the number and the section of each file, in order. Returns the number of
/// sections.
///
/// Sections larger than `max_bytes` have no text. A line that starts with `diff --git ` always starts
/// a section, because git prefixes the lines of a file with a sign and quotes line ends in paths.
pub(super) fn sections(
    diff: &mut impl BufRead,
    max_bytes: usize,
    mut with: impl FnMut(usize, Section),
) -> io::Result<usize> {
    let mut count = 0;
    let mut current: Option<Section> = None;
    let mut line = Vec::new();
    loop {
        let length = read_line(diff, &mut line, max_bytes)?;
        let starts = line.starts_with(b"diff --git ");
        if (length == 0 || starts)
            && let Some(section) = current.take()
        {
            with(count, section);
            count += 1;
        }
        if length == 0 {
            return Ok(count);
        }
        if starts {
            current = Some(Section::default());
        }
        if let Some(section) = &mut current {
            section.add(&line, length, max_bytes);
        }
    }
}

impl Section {
    fn add(&mut self, line: &[u8], length: usize, max_bytes: usize) {
        self.size = self.size.saturating_add(length);
        if self.size <= max_bytes {
            self.text.extend_from_slice(line);
        } else {
            self.text = Vec::new();
        }
        if self.in_hunks {
            self.changed += usize::from(line.starts_with(b"+") || line.starts_with(b"-"));
        } else if line.starts_with(b"@@") {
            self.in_hunks = true;
        } else if line.starts_with(b"Binary files ") {
            self.binary = true;
        }
    }
}

/// Reads a line with its end and keeps `max_bytes` of it. Returns its length, 0 at the end.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>, max_bytes: usize) -> io::Result<usize> {
    line.clear();
    let mut length = 0;
    loop {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            return Ok(length);
        }
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(bytes.len(), |end| end + 1);
        let kept = max_bytes.max(64).saturating_sub(line.len()).min(used);
        line.extend_from_slice(&bytes[..kept]);
        from.consume(used);
        length += used;
        if end.is_some() {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_look_like_headers_stay_in_their_section() {
        let diff = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n diff --git a b\n\
                     -- a/y\n+++ b/y\ndiff --git a/z b/z\nBinary files a/z and b/z differ\n";
        let mut found = Vec::new();
        let count = sections(&mut &diff[..], 1000, |_, section| found.push(section)).unwrap();
        assert_eq!(count, 2);
        assert_eq!(found[0].changed, 2);
        assert!(found[0].text.ends_with(b"+++ b/y\n"));
        assert!(found[1].binary);
        assert_eq!(found[0].size + found[1].size, diff.len());
    }

    #[test]
    fn a_section_that_is_too_large_is_measured_but_not_kept() {
        let diff = format!(
            "diff --git a/x b/x\n@@ -0,0 +1 @@\n+{}\n",
            "x".repeat(20_000)
        );
        let mut found = Vec::new();
        sections(&mut diff.as_bytes(), 100, |_, section| found.push(section)).unwrap();
        assert_eq!(found[0].text, b"");
        assert_eq!(found[0].size, diff.len());
    }
}
