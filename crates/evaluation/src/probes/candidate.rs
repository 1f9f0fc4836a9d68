//! A draft of a probe, and the reasons to drop it.

use domain::vocabulary::Verdict;

use crate::draw::Draw;
use crate::facts::Evidence;
use crate::grading::grade;
use crate::probe::{Combine, Grader, Key, Part, ProbeKind, Version};
use crate::probes::likeness::{is_about_places, sounds_like, stands_out};

/// Maximum length of an answer. Longer answers are not a fair question.
const LONGEST_ANSWER: usize = 160;

/// Minimum number of wrong answers. With fewer, guessing is too easy.
pub(super) const FEWEST_DISTRACTORS: usize = 2;

/// A probe without its label, or the reason why a fact has none.
pub(super) type Candidate = Result<Draft, &'static str>;

/// A probe without its label.
pub(super) struct Draft {
    pub(super) kind: ProbeKind,
    /// The subject. Of two drafts of a kind with the same subject only one is used.
    pub(super) subject: String,
    /// The question without choices or items to order.
    pub(super) stem: String,
    /// The choices, or the items to order, each as a line.
    pub(super) listing: Vec<String>,
    pub(super) grader: Grader,
    pub(super) distractors: Vec<String>,
    pub(super) source: Option<Evidence>,
    pub(super) key: Key,
    pub(super) lessons: Vec<Lesson>,
}

/// A statement that must be made in the deep dive.
pub(super) struct Lesson {
    pub(super) when: When,
    pub(super) text: String,
}

/// The teaching turns, in order. Statements of `First` are corrected in `Correction`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    First,
    Rules,
    Schemes,
    Correction,
}

impl When {
    pub(super) fn turn(self) -> usize {
        match self {
            Self::First => 0,
            Self::Rules => 1,
            Self::Schemes => 2,
            Self::Correction => 3,
        }
    }
}

impl Draft {
    /// Returns the whole question.
    pub(super) fn question(&self) -> String {
        if self.listing.is_empty() {
            return self.stem.clone();
        }
        format!("{}\n\n{}", self.stem, self.listing.join("\n"))
    }

    /// Returns the right answer of a reader that holds all evidence. Empty if there is none.
    pub(super) fn right(&self) -> String {
        self.key.answer(|_| true).unwrap_or_default()
    }

    /// Returns the texts that prove the answer, over all versions.
    pub(super) fn evidence(&self) -> impl Iterator<Item = &str> {
        self.key
            .versions
            .iter()
            .flat_map(|version| &version.parts)
            .flat_map(|part| part.evidence.iter().map(String::as_str))
    }

    /// Removes distractors that would be right or are repeated. Then returns the reason for which
    /// the draft cannot be used, if any.
    pub(super) fn examine(&mut self) -> Option<&'static str> {
        let mut seen = Vec::new();
        self.distractors.retain(|distractor| {
            let verdict = grade(&self.grader, &format!("ANSWER: {distractor}")).verdict;
            let fresh = !seen.contains(distractor);
            seen.push(distractor.clone());
            fresh && matches!(verdict, Verdict::Wrong | Verdict::Partial)
        });
        let parts = || self.key.versions.iter().flat_map(|version| &version.parts);
        if parts().any(|part| part.evidence.is_empty()) {
            return Some("no line of the diff proves the answer");
        }
        let Some(answer) = self.key.answer(|_| true) else {
            return Some("no line of the diff proves the answer");
        };
        if parts().any(|part| part.value.len() > LONGEST_ANSWER) {
            return Some("the answer is too long");
        }
        if self
            .listing
            .iter()
            .chain([&answer])
            .any(|line| line.contains(['\n', '\r']))
        {
            return Some("an answer does not fit on one line");
        }
        if grade(&self.grader, &format!("ANSWER: {answer}")).verdict != Verdict::Right {
            return Some("the answer cannot be told apart from other text");
        }
        if let Grader::Choice { choices, right } = &self.grader
            && let Some(right) = choices.get(*right)
        {
            let others = self.distractors.iter().map(String::as_str);
            if sounds_like(&self.stem, right, others) {
                return Some("the question points to its answer");
            }
            if is_about_places(self.kind) && stands_out(right, &self.distractors) {
                return Some("the right choice stands out");
            }
        }
        if self.choices_clash() {
            return Some("two choices read the same");
        }
        if self.distractors.len() < FEWEST_DISTRACTORS {
            return Some("too few plausible wrong answers");
        }
        if self
            .answers()
            .iter()
            .any(|answer| mentions(&self.stem, answer))
        {
            return Some("the question holds its answer");
        }
        let question = self.question();
        let proven = |part: &Part| {
            part.evidence
                .iter()
                .all(|line| question.contains(line.as_str()))
        };
        if parts().any(proven) {
            return Some("the question holds its evidence");
        }
        None
    }

    /// Returns whether a choice can be mistaken for another: `Makefile` and `makefile`, or a file
    /// named `B`.
    fn choices_clash(&self) -> bool {
        let Grader::Choice { choices, right } = &self.grader else {
            return false;
        };
        let says = |answer: &str| {
            grade(&self.grader, &format!("ANSWER: {answer}")).verdict == Verdict::Right
        };
        // A choice that would not count as wrong was removed from the distractors.
        let lost = self.distractors.len() + 1 != choices.len();
        lost || ('A'..='Z')
            .zip(choices)
            .enumerate()
            .any(|(at, (letter, choice))| {
                let meant = at == *right;
                says(&letter.to_string()) != meant || says(choice) != meant
            })
    }

    /// Returns every spelling of the right answer that must not be in the stem.
    fn answers(&self) -> Vec<&str> {
        let texts: &[String] = match &self.grader {
            Grader::Exact { accept } => accept,
            Grader::Set { items } => items,
            Grader::Choice { choices, right } => choices.get(*right..=*right).unwrap_or_default(),
            // Its steps are listed on purpose. The answer is their order.
            Grader::Sequence { .. } => &[],
            Grader::Current { current, .. } => current.as_deref().unwrap_or_default(),
        };
        texts.iter().map(String::as_str).collect()
    }
}

/// Returns a key of one value.
pub(super) fn single(value: impl Into<String>, evidence: Vec<String>) -> Key {
    Key {
        combine: Combine::Single,
        versions: vec![version(value, evidence)],
    }
}

/// Returns a version of one value.
pub(super) fn version(value: impl Into<String>, evidence: Vec<String>) -> Version {
    let value = value.into();
    Version {
        parts: vec![Part { evidence, value }],
    }
}

/// Returns a key of several values.
pub(super) fn several(combine: Combine, parts: Vec<Part>) -> Key {
    Key {
        combine,
        versions: vec![Version { parts }],
    }
}

/// Turns a draft into a choice between its right answer and wrong ones, in a drawn order.
pub(super) fn offer(draft: &mut Draft, draw: &mut Draw, right: &str, wrong: Vec<String>) {
    let mut choices = wrong.clone();
    choices.push(right.to_owned());
    draw.shuffle(&mut choices);
    let right = choices
        .iter()
        .position(|choice| choice == right)
        .unwrap_or_default();
    draft.listing = lettered(&choices);
    draft.distractors = wrong;
    draft.grader = Grader::Choice { choices, right };
}

/// Returns the choices as lines: `A) …`.
fn lettered(choices: &[String]) -> Vec<String> {
    (b'A'..=b'Z')
        .zip(choices)
        .map(|(letter, choice)| format!("{}) {choice}", char::from(letter)))
        .collect()
}

/// Returns whether a text contains a value as a whole word or path, ignoring case.
pub(super) fn mentions(text: &str, value: &str) -> bool {
    let text = text.to_lowercase();
    let value = value.trim().to_lowercase();
    if value.is_empty() {
        return false;
    }
    text.match_indices(&value).any(|(start, found)| {
        let before = text[..start].chars().next_back();
        let mut after = text[start + found.len()..].chars();
        let (next, second) = (after.next(), after.next());
        let joins = |letter: char| letter.is_alphanumeric() || "_/-".contains(letter);
        let goes_on = next.is_some_and(joins)
            || next == Some('.') && second.is_some_and(char::is_alphanumeric);
        !before.is_some_and(|letter| joins(letter) || letter == '.') && !goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_value_is_mentioned_only_as_a_whole() {
        assert!(mentions("Which desk signs `src/a.rs`?", "src/a.rs"));
        assert!(mentions("It is 5.", "5"));
        assert!(!mentions("Which desk signs `lib/src/a.rs`?", "src/a.rs"));
        assert!(!mentions("What is `MAX_5`?", "5"));
        assert!(!mentions("What is in `config.rs`?", "config"));
    }
}
