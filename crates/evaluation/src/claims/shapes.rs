//! Shapes of values, and the parts of a sentence with a shape: a wrong value need not be one that
//! the repository contains.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::atomic_fact::{AtomicFact, FactKind};
use super::word_match::has_word;

/// Shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Number,
    /// `true`, `null`.
    Flag,
    Path,
    /// A name or a type.
    Code,
    /// Any other text. Only quoted text can be distinguished from the sentence around it.
    Text,
}

const FLAGS: [&str; 8] = [
    "true",
    "false",
    "True",
    "False",
    "null",
    "None",
    "nil",
    "undefined",
];

static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[-+]?(?:0x[0-9a-fA-F_]+|\d[\d_]*(?:,\d{3})*(?:\.\d+)?)"));
static PATH: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:[\w.@+-]+/)+[\w.@+-]*\w|\b[\w-]+\.(?:[a-z]{1,4}|toml|json|yaml|java|scala|swift)\b",
    )
});
static QUOTED: LazyLock<Regex> = LazyLock::new(|| pattern("`([^`]+)`|\"([^\"]+)\""));
/// Names and types that are not English words.
static CODE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b[A-Za-z]\w*(?:::\w+)+(?:<[\w:<>, &']*>)?|\b[A-Za-z]\w*<[\w:<>, &']*>|\b[A-Za-z][A-Za-z0-9]*_\w+|\b[A-Za-z]*[a-z][A-Z]\w*",
    )
});
static WHOLE_NUMBER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[-+]?(?:0x[0-9a-fA-F_]+|\d[\d_,]*(?:\.\d+)?)"));
static TYPE_OF_CONSTANT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:pub )?&?(?:'static )?(?:str|String|string|[ui](?:8|16|32|64|128|size)|f32|f64|int|long|float|double|bool|boolean|char|number|const|static|final|var|let)$",
    )
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are valid")
}

impl Shape {
    pub(super) fn for_fact(fact: &AtomicFact) -> Self {
        let value = fact.values.first().map_or("", String::as_str);
        match fact.kind {
            FactKind::Home | FactKind::Use => Self::Path,
            FactKind::Returns | FactKind::Test => Self::Code,
            FactKind::Status | FactKind::Value | FactKind::Agreed => {
                if FLAGS.contains(&value) {
                    Self::Flag
                } else if WHOLE_NUMBER.is_match(value) {
                    Self::Number
                } else if PATH
                    .find(value)
                    .is_some_and(|found| found.as_str() == value)
                {
                    Self::Path
                } else {
                    Self::Text
                }
            }
        }
    }
}

/// Returns all parts of a sentence with the shape of a value, by position.
pub(super) fn candidates(sentence: &str, shape: Shape) -> Vec<Range<usize>> {
    match shape {
        Shape::Number => NUMBER
            .find_iter(sentence)
            .map(|found| found.range())
            .filter(|range| stands_alone(sentence, range))
            .collect(),
        Shape::Flag => FLAGS
            .iter()
            .flat_map(|flag| sentence.match_indices(flag))
            .map(|(at, flag)| at..at + flag.len())
            .filter(|range| stands_alone(sentence, range))
            .collect(),
        Shape::Path => PATH
            .find_iter(sentence)
            .map(|found| found.range())
            .collect(),
        Shape::Code => {
            let quoted = quoted(sentence);
            let bare = CODE
                .find_iter(sentence)
                .map(|found| found.range())
                .filter(|range| {
                    let inside =
                        |outer: &Range<usize>| outer.start <= range.start && range.end <= outer.end;
                    !quoted.iter().any(inside)
                });
            let bare: Vec<_> = bare.collect();
            quoted
                .into_iter()
                .chain(bare)
                .filter(|range| !is_path(&sentence[range.clone()]))
                .collect()
        }
        Shape::Text => quoted(sentence)
            .into_iter()
            .filter(|range| {
                let text = &sentence[range.clone()];
                !is_path(text) && !text.ends_with("()") && !TYPE_OF_CONSTANT.is_match(text)
            })
            .collect(),
    }
}

/// Returns the texts in backticks or double quotes, without these.
pub(super) fn quoted(sentence: &str) -> Vec<Range<usize>> {
    QUOTED
        .captures_iter(sentence)
        .filter_map(|found| found.get(1).or_else(|| found.get(2)))
        .map(|inner| inner.range())
        .collect()
}

/// Returns a sentence with all quoted texts and paths blanked, so that only words remain.
pub(super) fn plain(sentence: &str) -> String {
    let mut plain = sentence.to_owned();
    for pattern in [&QUOTED, &PATH] {
        plain = pattern
            .replace_all(&plain, |found: &regex::Captures<'_>| {
                " ".repeat(found.get(0).map_or(0, |whole| whole.len()))
            })
            .into_owned();
    }
    plain
}

fn is_path(text: &str) -> bool {
    PATH.find(text).is_some_and(|found| found.as_str() == text)
}

/// Returns whether no part of a name, a path or a longer number is adjacent. A unit may be: `30s`.
fn stands_alone(sentence: &str, range: &Range<usize>) -> bool {
    let before = sentence[..range.start].chars().next_back();
    let mut after = sentence[range.end..].chars();
    let (next, then) = (after.next(), after.next());
    let joins = |c: char| c.is_alphanumeric() || "_/#.:@".contains(c);
    let goes_on = match next {
        None => false,
        Some('.') => then.is_some_and(char::is_alphanumeric),
        Some(c) => "_/:".contains(c),
    };
    !before.is_some_and(joins) && !goes_on
}

/// Returns whether a value in a sentence is neither right nor wrong for a fact: it is a part of the
/// right value, means the same, or belongs to the subject.
pub(super) fn is_neutral(candidate: &str, fact: &AtomicFact) -> bool {
    let known = fact.values.iter().chain(&fact.also_true);
    let mut known = known.chain(&fact.subjects);
    let number = |text: &str| {
        let found = WHOLE_NUMBER.find(text)?;
        Some(found.as_str().replace(['_', ',', '+'], ""))
    };
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    known.any(|text| {
        has_word(text, candidate)
            || has_word(candidate, text)
            || squeezed(text) == squeezed(candidate)
            || number(text).is_some_and(|one| number(candidate) == Some(one))
    })
}

/// Returns a wrong value of the same shape that the repository does not contain.
pub fn invented(fact: &AtomicFact) -> Option<String> {
    let value = fact.values.first()?;
    if fact.kind == FactKind::Status {
        // All words for a status are known.
        return None;
    }
    let invented = match Shape::for_fact(fact) {
        Shape::Number => {
            let number = WHOLE_NUMBER.find(value)?;
            let digits: String = number
                .as_str()
                .chars()
                .filter(char::is_ascii_digit)
                .collect();
            let other = digits
                .parse::<u64>()
                .ok()?
                .checked_mul(3)?
                .checked_add(41)?;
            format!("{other}{}", &value[number.end()..])
        }
        Shape::Flag => {
            let flags = [["true", "false"], ["True", "False"]];
            let pair = flags.iter().find(|pair| pair.contains(&value.as_str()))?;
            pair.iter().find(|flag| *flag != value)?.to_string()
        }
        Shape::Path => match value.rsplit_once('/') {
            Some((folder, file)) => format!("{folder}/unheard_of_{file}"),
            None => format!("unheard_of/{value}"),
        },
        Shape::Code if fact.kind == FactKind::Returns => "UnheardOf<Answer>".to_owned(),
        Shape::Code => format!("unheard_of_{value}"),
        Shape::Text => "quite another one".to_owned(),
    };
    let taken = fact.values.iter().chain(&fact.subjects);
    let clashes = taken
        .into_iter()
        .any(|text| has_word(text, &invented) || has_word(&invented, text));
    (!clashes).then_some(invented)
}
