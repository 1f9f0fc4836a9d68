//! The paths of a fact sheet: changed paths, their evidence, and suitable wrong answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::Draw;
use crate::facts::{Evidence, FactSheet, FileFact, HunkFact};
use crate::probes::likeness::{difference, words};
use crate::probes::path_parts::{extension, folder, name};

/// The paths of a sheet.
pub(super) struct Places<'a> {
    changed: BTreeMap<&'a str, &'a FileFact>,
    others: Vec<&'a str>,
    names: Vec<&'a str>,
    /// Paths that the change does not touch, some of them invented. There are as few of them as of
    /// changed paths, so that they occur as often among the choices. The choices of all questions
    /// together do not reveal which paths are changed.
    decoys: Vec<String>,
}

/// Minimum and maximum number of decoys of a change.
const DECOYS: (usize, usize) = (6, 16);

impl<'a> Places<'a> {
    pub(super) fn new(sheet: &'a FactSheet, seed: u64) -> Self {
        let changed: BTreeMap<&str, &FileFact> = sheet
            .files
            .iter()
            .map(|file| (file.path.as_str(), file))
            .collect();
        let old: BTreeSet<&str> = sheet
            .files
            .iter()
            .filter_map(|file| file.old_path.as_deref())
            .collect();
        let others = sheet.other_paths.iter().map(String::as_str);
        let others = others.filter(|path| !changed.contains_key(path) && !old.contains(path));
        let symbols = sheet.symbols.iter().map(|symbol| &symbol.name);
        let mut places = Self {
            others: others.collect(),
            names: symbols
                .chain(&sheet.other_symbols)
                .map(String::as_str)
                .collect(),
            changed,
            decoys: Vec::new(),
        };
        places.decoys = places.drawn_decoys(&mut Draw::new(seed, "decoys"));
        places
    }

    /// Returns the line of the diff that starts the section of a file.
    pub(super) fn diff_line(&self, path: &str) -> Option<&'a str> {
        let file = self.changed.get(path)?;
        file.evidence.text.first().map(String::as_str)
    }

    /// Returns the evidence that a line is in this file: the file's line of the diff, and the
    /// lines.
    pub(super) fn located(&self, path: &str, lines: &Evidence) -> Vec<String> {
        let mut text: Vec<String> = self
            .diff_line(path)
            .map(str::to_owned)
            .into_iter()
            .collect();
        text.extend(lines.text.iter().cloned());
        text
    }

    /// Returns up to `most` other paths: changed ones, then those of [`Self::unchanged`].
    pub(super) fn wrong(
        &self,
        draw: &mut Draw,
        right: &BTreeSet<&str>,
        most: usize,
    ) -> Vec<String> {
        let changed = self.changed.keys().filter(|path| !right.contains(**path));
        let mut wrong: Vec<String> = draw
            .shuffled(changed)
            .into_iter()
            .map(|path| (*path).to_owned())
            .collect();
        if wrong.len() < most {
            wrong.extend(self.unchanged(draw, right, most - wrong.len()));
        }
        wrong.truncate(most);
        wrong
    }

    fn drawn_decoys(&self, draw: &mut Draw) -> Vec<String> {
        let changed: BTreeSet<&str> = self.changed.keys().copied().collect();
        let count = changed.len().clamp(DECOYS.0, DECOYS.1);
        let mut decoys = self.unchanged(draw, &changed, count - count / 3);
        let invented = draw.shuffled(self.invented());
        for path in invented {
            if decoys.len() < count && !decoys.contains(&path) {
                decoys.push(path);
            }
        }
        decoys
    }

    /// Returns up to `most` paths other than `right` and those that are `concerned`, similar to
    /// `right`: with its extension and shape, and as many words in common with the subject. At
    /// least one is changed and one is not, if such paths exist.
    pub(super) fn alike(
        &self,
        draw: &mut Draw,
        right: &str,
        concerned: &BTreeSet<&str>,
        asked: &str,
        most: usize,
    ) -> Vec<String> {
        let asked = words(asked);
        let mut ranked = |paths: Vec<&str>| -> Vec<String> {
            let fresh = paths
                .into_iter()
                .filter(|path| *path != right && !concerned.contains(path));
            let mut ranked: Vec<(usize, &str)> = draw
                .shuffled(fresh)
                .into_iter()
                .map(|path| (difference(right, path, &asked), path))
                .collect();
            ranked.sort_by_key(|(difference, _)| *difference);
            ranked
                .into_iter()
                .map(|(_, path)| path.to_owned())
                .collect()
        };
        let changed = ranked(self.changed.keys().copied().collect());
        let decoys = ranked(self.decoys.iter().map(String::as_str).collect());
        let strangers = 1 + draw.below(most.saturating_sub(1));
        let mut wrong: Vec<String> = decoys.iter().take(strangers).cloned().collect();
        wrong.extend(changed.into_iter().take(most - wrong.len()));
        wrong.extend(decoys.into_iter().skip(strangers).take(most - wrong.len()));
        wrong
    }

    /// Returns a hunk that the diff does not contain, in an unchanged file. It is larger as often
    /// as smaller than this one: always choosing the largest hunk must not be right.
    pub(super) fn hunk_elsewhere(&self, draw: &mut Draw, like: &HunkFact) -> Option<String> {
        let near = |path: &&String| extension(path) == extension(&like.file);
        let alike: Vec<&String> = self.decoys.iter().filter(near).collect();
        let path = draw.pick(&alike)?;
        let (first, last) = like.evidence.lines;
        let length = last.saturating_sub(first) as usize + 1;
        let new = if draw.below(2) == 0 {
            length + draw.between(1, 9)
        } else {
            draw.between(1, length)
        };
        let (start, old) = (draw.between(1, 90), draw.between(1, new));
        Some(format!("{path} @@ -{start},{old} +{start},{new} @@"))
    }

    /// Returns up to `most` paths that the change does not touch. Those that look like one of
    /// `like` come first. If the repository has too few, names are put into folders that do not
    /// have them.
    pub(super) fn unchanged(
        &self,
        draw: &mut Draw,
        like: &BTreeSet<&str>,
        most: usize,
    ) -> Vec<String> {
        let kinds: BTreeSet<&str> = like.iter().map(|path| extension(path)).collect();
        let folders: BTreeSet<&str> = like.iter().map(|path| folder(path)).collect();
        let mut others = draw.shuffled(self.others.iter().copied());
        others.sort_by_key(|path| {
            let alike = usize::from(kinds.contains(extension(path)));
            let near = usize::from(folders.contains(folder(path)));
            2 - alike - near
        });
        let mut wrong: Vec<String> = others.into_iter().take(most).map(str::to_owned).collect();
        if wrong.len() < most {
            let invented = self.invented();
            let missing = most - wrong.len();
            wrong.extend(draw.shuffled(invented).into_iter().take(missing));
        }
        wrong
    }

    /// Returns plausible paths that do not exist.
    fn invented(&self) -> BTreeSet<String> {
        let taken = |path: &String| {
            self.changed.contains_key(path.as_str()) || self.others.contains(&path.as_str())
        };
        let files: Vec<&str> = self.changed.keys().copied().take(20).collect();
        let mut paths = BTreeSet::new();
        for home in &files {
            for file in &files {
                paths.insert(format!("{}{}", folder(home), name(file)));
            }
            for symbol in self.names.iter().take(20) {
                let stem: String = symbol
                    .chars()
                    .filter(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect();
                paths.insert(format!(
                    "{}{}{}",
                    folder(home),
                    stem.to_lowercase(),
                    extension(home)
                ));
            }
            let stem = name(home).strip_suffix(extension(home)).unwrap_or_default();
            for ending in ["_base", "_support", "_types"] {
                paths.insert(format!("{}{stem}{ending}{}", folder(home), extension(home)));
            }
        }
        paths.retain(|path| !taken(path));
        paths
    }
}

/// Returns three wrong sets of about the right size, as answers.
pub(super) fn wrong_sets(pool: &[String], size: usize) -> Vec<String> {
    let size = size.min(pool.len().saturating_sub(1)).max(1);
    (0..pool.len().min(3))
        .map(|start| {
            let set: Vec<&str> = pool
                .iter()
                .cycle()
                .skip(start)
                .take(size)
                .map(String::as_str)
                .collect();
            set.join(", ")
        })
        .collect()
}

/// Returns whether these lines are removed in the head commit.
pub(super) fn was_removed(sheet: &FactSheet, lines: &Evidence) -> bool {
    lines.commit == sheet.base && sheet.base != sheet.head
}

/// Returns names with several definitions. A question about such a name would be ambiguous.
pub(super) fn ambiguous_names(sheet: &FactSheet) -> BTreeSet<&str> {
    let mut seen: BTreeSet<&str> = sheet.other_symbols.iter().map(String::as_str).collect();
    let names = sheet.symbols.iter().map(|symbol| symbol.name.as_str());
    names.filter(|name| !seen.insert(name)).collect()
}
