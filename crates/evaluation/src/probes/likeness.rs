//! Similarity of choices: whether a choice has words in common with the question, and which shape
//! it has. A right choice that stands out makes the question unfair.

use std::collections::BTreeSet;

use crate::probe::ProbeKind;
use crate::probes::path_parts::extension;

/// Number of letters by which words are compared, so that `weigh` and `weighing` are the same.
const STEM: usize = 5;

/// Shorter words occur in every name.
const SHORTEST: usize = 3;

/// Returns the stems of the words in names and paths of a text, in lower case.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    split(text)
        .filter(|word| word.chars().count() >= SHORTEST)
        .map(|word| word.chars().take(STEM).collect())
        .collect()
}

/// Returns all words of a text in lower case and byte order: the same for names that differ in
/// case, underscores or word order.
pub(super) fn folded(text: &str) -> String {
    let mut words: Vec<String> = split(text).collect();
    words.sort_unstable();
    words.join(" ")
}

/// Returns the words of a text, in lower case and in order.
pub(super) fn split(text: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::with_capacity(text.len());
    let mut lower = false;
    for letter in text.chars() {
        if letter.is_uppercase() && lower {
            spaced.push(' ');
        }
        lower = letter.is_lowercase() || letter.is_numeric();
        spaced.extend(letter.to_lowercase());
    }
    let words: Vec<String> = spaced
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

/// Returns the number of words that a text has in common with these.
pub(super) fn in_common(text: &str, asked: &BTreeSet<String>) -> usize {
    words(text).intersection(asked).count()
}

/// Returns whether a question has more words in common with its right answer than with two of the
/// others.
pub(super) fn sounds_like<'a>(
    stem: &str,
    right: &str,
    others: impl Iterator<Item = &'a str>,
) -> bool {
    let asked = words(stem);
    let own = in_common(right, &asked);
    own > 0
        && others
            .filter(|other| in_common(other, &asked) >= own)
            .count()
            < 2
}

/// Returns the sorts of letters of a text: those of `snake_case`, of `camelCase`, of a number.
pub(super) fn shape(text: &str) -> String {
    let mut sorts: Vec<char> = text
        .chars()
        .map(|letter| {
            if letter.is_lowercase() {
                'a'
            } else if letter.is_uppercase() {
                'A'
            } else if letter.is_numeric() {
                '0'
            } else {
                letter
            }
        })
        .collect();
    sorts.sort_unstable();
    sorts.dedup();
    sorts.into_iter().collect()
}

/// Returns whether the right choice alone has its extension or its shape, and the others share one.
pub(super) fn stands_out(right: &str, others: &[String]) -> bool {
    let odd = |sort: &dyn Fn(&str) -> String| {
        let sorts: BTreeSet<String> = others.iter().map(|other| sort(other)).collect();
        sorts.len() == 1 && !sorts.contains(&sort(right))
    };
    odd(&|text| {
        let path = text.split(" @@").next().unwrap_or(text);
        extension(path).to_owned()
    }) || odd(&shape)
}

/// Returns whether the choices of a kind are paths, or are in paths.
pub(super) fn is_about_places(kind: ProbeKind) -> bool {
    match kind {
        ProbeKind::SymbolFile | ProbeKind::ChangeTogether | ProbeKind::BehaviourHunk => true,
        ProbeKind::ChangedFiles
        | ProbeKind::SymbolSignature
        | ProbeKind::ConstantValue
        | ProbeKind::CoveringTest
        | ProbeKind::FileStatus
        | ProbeKind::HunkLabel
        | ProbeKind::TaughtRule
        | ProbeKind::SymbolUsers
        | ProbeKind::FlowOrder
        | ProbeKind::CorrectedFact
        | ProbeKind::RetractedFact => false,
    }
}

/// Returns how much a path visibly differs from the right one. A smaller difference makes a better
/// wrong answer.
pub(super) fn difference(right: &str, other: &str, asked: &BTreeSet<String>) -> usize {
    let quieter = in_common(other, asked) < in_common(right, asked);
    4 * usize::from(extension(right) != extension(other))
        + 2 * usize::from(shape(right) != shape(other))
        + 3 * usize::from(quieter)
}

#[cfg(test)]
mod tests {
    use super::{folded, sounds_like, stands_out};

    #[test]
    fn names_in_other_cases_and_orders_are_the_same() {
        assert_eq!(folded("parse_open_file"), folded("openFileParse"));
        assert_ne!(folded("parse_file"), folded("parse_files"));
    }

    #[test]
    fn a_question_that_sounds_like_one_choice_is_detected() {
        let others = ["src/queue.rs", "src/store.rs", "src/main.rs"];
        let asks = "Which of these files defines the function `retry_later`?";
        assert!(sounds_like(asks, "src/retry.rs", others.into_iter()));
        let others = ["src/retry_policy.rs", "tests/retry.rs", "src/main.rs"];
        assert!(!sounds_like(asks, "src/retry.rs", others.into_iter()));
        assert!(!sounds_like(asks, "src/wait.rs", others.into_iter()));
    }

    #[test]
    fn the_only_one_of_its_ending_or_shape_stands_out() {
        let others = |texts: [&str; 3]| texts.map(str::to_owned);
        assert!(stands_out(
            "a/b.py",
            &others(["a/c.rs", "a/d.rs", "e/f.rs"])
        ));
        assert!(stands_out(
            "a/b_c.rs",
            &others(["a/c.rs", "a/d.rs", "e/f.rs"])
        ));
        assert!(!stands_out(
            "a/b.py",
            &others(["a/c.rs", "a/d.py", "e/f.rs"])
        ));
        assert!(!stands_out(
            "a/b_c.rs",
            &others(["a/c_d.rs", "a/d.rs", "e/f.rs"])
        ));
    }
}
