//! Decides whether a text states a right answer in its own words, as summaries do.
//!
//! One line must name all names that the question puts in backticks, and the whole right answer.
//! Only a set may span several lines: one item per line, where each line names the subject, or as a
//! list below a line that names it. The files that a diff changes must be a list of exactly those
//! files. The rules are strict on purpose: a missed paraphrase becomes
//! [`super::Attribution::Model`], which claims nothing.

use std::collections::BTreeSet;

use super::words::{has_word, is_part, is_path, plain};
use crate::probe::{Grader, Probe, ProbeKind};
use crate::probes::stem;

/// Statements of a text about the subject of a probe.
pub(super) struct Statements<'a> {
    probe: &'a Probe,
    subjects: Vec<String>,
    /// All lines. A line of a list includes the line above the list.
    lines: Vec<String>,
    /// Lines with the list below them.
    blocks: Vec<String>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(text: &str, probe: &'a Probe) -> Self {
        let values = values(&probe.grader);
        let is_answer = |subject: &String| values.iter().any(|value| value == subject);
        let quoted = stem(probe).split('`').skip(1).step_by(2).map(plain);
        let mut lines = Vec::new();
        let mut blocks: Vec<String> = Vec::new();
        let mut above = String::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let plain = plain(line);
            if is_bullet(line) && !blocks.is_empty() {
                lines.push(format!("{above} {plain}"));
                if let Some(block) = blocks.last_mut() {
                    block.push(' ');
                    block.push_str(&plain);
                }
            } else {
                above.clone_from(&plain);
                blocks.push(plain.clone());
            }
            lines.push(plain);
        }
        Self {
            probe,
            subjects: quoted
                .filter(|subject| !subject.is_empty() && !is_answer(subject))
                .collect(),
            lines,
            blocks,
        }
    }

    /// Returns whether a line states the whole answer.
    pub(super) fn answer(&self) -> bool {
        let about = || {
            let whole = self.lines.iter().filter(|line| self.is_about(line));
            whole.map(String::as_str)
        };
        match &self.probe.grader {
            // The hunk decides which label is right. A label alone proves nothing.
            Grader::Choice { .. } if self.probe.kind == ProbeKind::HunkLabel => false,
            Grader::Choice { choices, right } => about().any(|line| {
                let named = |choice: &String| has_value(line, &plain(choice));
                let mut others = (0..choices.len()).filter(|at| at != right);
                choices.get(*right).is_some_and(named) && !others.any(|at| named(&choices[at]))
            }),
            // A text carries the rule, not its result for a case that only the question describes.
            Grader::Exact { accept } if self.probe.kind == ProbeKind::TaughtRule => {
                let coined = coined(accept.first(), &self.probe.question);
                !coined.is_empty() && about().any(|line| coined.is_subset(&tokens(line)))
            }
            Grader::Exact { .. } | Grader::Current { .. } => {
                let values = values(&self.probe.grader);
                about().any(|line| values.iter().any(|value| has_word(line, value)))
            }
            Grader::Set { items } => {
                self.probe.kind == ProbeKind::ChangedFiles && self.lists_just(items)
            }
            // Words on one line do not show an order.
            Grader::Sequence { .. } => false,
        }
    }

    /// Returns whether a line states that this is one of the items.
    pub(super) fn item(&self, value: &str) -> bool {
        // Naming a path does not state that the diff touches it. Only a complete list does.
        if self.probe.kind == ProbeKind::ChangedFiles {
            return false;
        }
        let value = plain(value);
        let mut about = self.lines.iter().filter(|line| self.is_about(line));
        about.any(|line| has_word(line, &value))
    }

    fn is_about(&self, line: &str) -> bool {
        let named = |subject: &String| has_word(line, subject);
        !self.subjects.is_empty() && self.subjects.iter().all(named)
    }

    /// Returns whether a list of several paths names exactly these, apart from paths outside the
    /// folder or extension of the question.
    fn lists_just(&self, items: &[String]) -> bool {
        let wanted: BTreeSet<&str> = items.iter().map(String::as_str).collect();
        let fits = |path: &&str| {
            self.subjects.iter().all(|subject| {
                path.ends_with(subject.as_str())
                    || path
                        .strip_prefix(subject.as_str())
                        .is_some_and(|rest| subject.ends_with('/') && !rest.contains('/'))
            })
        };
        self.blocks.iter().any(|block| {
            let paths: BTreeSet<&str> = block
                .split([' ', ',', ';', '`', '(', ')', '*', '"', '\''])
                .map(|word| word.trim_end_matches(['.', ':']))
                .filter(|word| is_path(word) || wanted.contains(word))
                .collect();
            let fitting: BTreeSet<&str> = paths.iter().copied().filter(fits).collect();
            paths.len() > 1 && fitting == wanted
        })
    }
}

/// Returns the spellings of the right answer of a question with one value.
fn values(grader: &Grader) -> Vec<String> {
    let texts: &[String] = match grader {
        Grader::Exact { accept } => accept,
        Grader::Choice { choices, right } => choices.get(*right..=*right).unwrap_or_default(),
        Grader::Current { current, .. } => current.as_deref().unwrap_or_default(),
        Grader::Set { items } => items,
        Grader::Sequence { .. } => &[],
    };
    texts.iter().map(|text| plain(text)).collect()
}

/// A choice that is a plain word, such as `added`, may begin a sentence.
fn has_value(line: &str, value: &str) -> bool {
    if value.chars().all(|letter| letter.is_ascii_lowercase()) {
        return has_word(&line.to_lowercase(), value);
    }
    has_word(line, value)
}

/// Returns the words of an answer that do not occur in its question.
fn coined(answer: Option<&String>, question: &str) -> BTreeSet<String> {
    let asked = tokens(question);
    let mut coined = answer.map(|answer| tokens(answer)).unwrap_or_default();
    coined.retain(|word| !asked.contains(word));
    coined
}

fn tokens(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !is_part(letter) || letter == '_')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn is_bullet(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let is_numbered = numbered.len() < line.len() && numbered.starts_with([')', '.']);
    is_numbered
        || ["- ", "* ", "+ ", "\u{2022} "]
            .iter()
            .any(|sign| line.starts_with(sign))
}
