//! The files of a pull request as sections of the diff.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::sheet::Evidence;
use crate::symbols::{self, Symbols};
use domain::pull_request::{Change, ChangedFile, Content, FileStatus, PullRequest, parse_patch};

/// All used files, by path.
pub(super) struct Sections<'a> {
    pub(super) base: &'a str,
    pub(super) head: &'a str,
    pub(super) all: Vec<Section<'a>>,
}

/// The section of one file.
pub(super) struct Section<'a> {
    pub(super) file: &'a ChangedFile,
    /// The `diff --git` line.
    pub(super) opening: &'a str,
    /// The lines between the opening and the first hunk.
    pub(super) extended: Vec<&'a str>,
    /// The header lines of the hunks, one per hunk.
    pub(super) headers: Vec<&'a str>,
    /// Lines of the head commit that the hunks show: number → hunk and trimmed text.
    shown: BTreeMap<u32, (usize, &'a str)>,
    /// Words of the removed lines, and of all shown lines if the file cannot be parsed.
    pub(super) unclear_words: BTreeSet<&'a str>,
    /// Empty for deleted files, files without text and unknown languages.
    pub(super) symbols: Symbols,
}

impl<'a> Sections<'a> {
    pub(super) fn new(pull_request: &'a PullRequest) -> Self {
        let mut by_path: BTreeMap<&str, Vec<&ChangedFile>> = BTreeMap::new();
        for file in &pull_request.files {
            by_path.entry(&file.path).or_default().push(file);
        }
        Self {
            base: &pull_request.base,
            head: &pull_request.head,
            // A path with two sections (a file that became a link) is ambiguous.
            all: by_path
                .into_values()
                .filter(|files| files.len() == 1)
                .flatten()
                .filter_map(Section::new)
                .collect(),
        }
    }
}

impl<'a> Section<'a> {
    fn new(file: &'a ChangedFile) -> Option<Self> {
        let mut lines = file.patch.lines();
        let opening = lines.next().map(str::trim)?;
        if !opening.starts_with("diff --git ") {
            return None;
        }
        let mut section = Self {
            file,
            opening,
            extended: lines
                .take_while(|line| !line.starts_with("@@"))
                .map(str::trim)
                .collect(),
            headers: Vec::new(),
            shown: BTreeMap::new(),
            unclear_words: BTreeSet::new(),
            symbols: Symbols::default(),
        };
        // Hunks that do not match the patch prove nothing.
        if file.content == Content::Text && parse_patch(&file.patch).as_ref() == Ok(&file.hunks) {
            section.read_hunks();
        }
        Some(section)
    }

    fn read_hunks(&mut self) {
        let file = self.file;
        self.headers = headers(file);
        let head = file
            .head_text
            .as_deref()
            .filter(|_| file.status != FileStatus::Deleted);
        let head_lines: Vec<&str> = head
            .map(|text| text.split('\n').collect())
            .unwrap_or_default();
        for (at, hunk) in file.hunks.iter().enumerate() {
            for line in &hunk.lines {
                let stands = line.new_number.filter(|&number| {
                    let index = usize::try_from(number)
                        .ok()
                        .and_then(|number| number.checked_sub(1));
                    index.and_then(|index| head_lines.get(index)) == Some(&line.text.as_str())
                });
                match stands {
                    Some(number) => {
                        self.shown.insert(number, (at, line.text.trim()));
                    }
                    None if line.change == Change::Removed || head.is_none() => {
                        self.unclear_words.extend(words(&line.text));
                    }
                    None => {}
                }
            }
        }
        if let Some(symbols) = head.and_then(|text| symbols::read(&file.path, text)) {
            self.symbols = symbols;
        }
    }

    /// Returns the hunk that shows this line of the head commit.
    pub(super) fn hunk_of(&self, line: u32) -> Option<usize> {
        self.shown.get(&line).map(|(hunk, _)| *hunk)
    }

    pub(super) fn shows(&self, line: u32) -> bool {
        self.shown.contains_key(&line)
    }

    /// Returns the `diff --git` line and these lines of the head commit. Returns `None` unless the
    /// diff shows all of them.
    pub(super) fn evidence(&self, head: &str, lines: &[u32]) -> Option<Evidence> {
        let mut evidence = self.bare_evidence(head, lines)?;
        evidence.text.insert(0, self.opening.to_owned());
        Some(evidence)
    }

    /// Does the same as [`Self::evidence`], without the `diff --git` line.
    pub(super) fn bare_evidence(&self, head: &str, lines: &[u32]) -> Option<Evidence> {
        let texts: Option<Vec<&str>> = lines
            .iter()
            .map(|line| self.shown.get(line).map(|(_, text)| *text))
            .collect();
        Some(Evidence {
            file: self.file.path.clone(),
            lines: (*lines.iter().min()?, *lines.iter().max()?),
            commit: head.to_owned(),
            text: texts?
                .into_iter()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// Returns the header lines of a patch whose hunks are known.
fn headers(file: &ChangedFile) -> Vec<&str> {
    let mut lines = file.patch.lines();
    let mut headers = Vec::new();
    for hunk in &file.hunks {
        headers.extend(lines.by_ref().find(|line| line.starts_with("@@")));
        let mut left = hunk.lines.len();
        while left > 0 {
            match lines.next() {
                Some(line) => left -= usize::from(!line.starts_with('\\')),
                None => break,
            }
        }
    }
    headers
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !sign.is_alphanumeric() && sign != '_' && sign != '$')
        .filter(|word| !word.is_empty())
}
