//! The deterministic judge: reads a text literally, sentence by sentence.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::atomic_fact::{AtomicFact, Finding};
use super::relations::{Relation, Word, relation_between, words};
use super::shapes::{Shape, candidates, is_neutral, plain, quoted};
use super::word_match::{has_word, places_of};

/// Words that negate a claim. Text in backticks or quotes does not count.
static NEGATION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)\b(?:not|never|neither|nor|no longer|without)\b|n't\b"));
static SENTENCE_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.;!?]\s+|\n"));
static ABSTAINS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:do not|don't|cannot|can't|no longer)\s+(?:recall|remember|know)\b|\bno (?:memory|recollection)\b",
    )
});
/// References to the past: `from 5 to`, `instead of 5`, `(was 5)`.
static FORMER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)\b(?:up |down )?from\s+(?:`[^`]*`|"[^"]*"|\S+)\s+(?:to|→|->)|\b(?:instead of|rather than|previously|formerly|originally)\s+(?:`[^`]*`|"[^"]*"|[\w.-]*\w)|\((?:was|previously|formerly|before:?)\s+[^)]*\)"#,
    )
});
/// Numbers that count or refer to a position, and are not values.
static POINTING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^\W*\d+[.)]\s|\b(?:lines?|turn|step|hunk|version|issue|pr|pull request|commit|round|no\.|number)\s+#?\d[\d,–-]*|\b\d+\s+(?:times|files?|tests?|places|callers|uses)\b",
    )
});
/// Text allowed between a constant and its value: `X: u32 = `, `X has now the value `, `X is 3 or
/// `.
static FILLERS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)^(?:[\s`"'=:,()&→>-]|`[^`]*`|"[^"]*"|\b(?:is|are|was|has|have|had|be|now|then|the|a|an|literal|constant|value|values|of|set|to|equals?|equal|changed?|raised|lowered|increased|decreased|bumped|at|with|default|defaults|currently|either|or|and|perhaps|maybe|one|new|sure|it|holds|str|string|int|float|bool|[ui](?:8|16|32|64|size)|usize|isize|f32|f64|\d[\d_.]*)\b)*$"#,
    )
});
/// Verbs that make the preceding name the subject of a clause.
static VERB: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^[`\x22]?(?:\([^)]*\)`?)?\s*(?:=|:\s|(?:is|are|was|were|has|have|returns?|takes?|uses?|calls?|covers?|defines?|imports?|tests?|becomes|equals)\b)",
    )
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are valid")
}

/// Reads a text literally.
///
/// A *claim* is a sentence that names every subject of the fact and a right or wrong value, as
/// whole words in the same case. A sentence ends at the end of a line, or at `.`, `;`, `!` or `?`
/// before a space. The claim is right if some claim has a right value and no claim has a wrong one:
/// stating both is hedging and earns nothing. Values that the repository contains elsewhere are
/// wrong. If a subject has [only one](super::atomic_fact::FactKind::is_exclusive) value, any other
/// value of the same shape is wrong too: another number for a number, another path for a path,
/// another name in backticks for a name. A value with the word of another relation is not a claim
/// of this fact (`used in` for the file that defines a name). Neither are statements about the past
/// (`from 5 to 7`) or about another name in the same sentence.
///
/// A negated sentence (`not`, `never`, …, outside of quotes) claims nothing. Neither does a
/// sentence that names the subjects without a value: a vague answer is not a wrong one. The text
/// *abstains* from an unclaimed fact if one of its sentences says that it does not know, and this
/// sentence names every subject or is the whole text.
pub fn judge_deterministic(fact: &AtomicFact, text: &str) -> Finding {
    let sentences: Vec<&str> = SENTENCE_END
        .split(text)
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
        .collect();
    let names = |sentence: &str| {
        !fact.subjects.is_empty() && fact.subjects.iter().all(|name| has_word(sentence, name))
    };
    let shape = Shape::for_fact(fact);
    let (mut right, mut wrong, mut abstained) = (false, false, false);
    for sentence in &sentences {
        if ABSTAINS.is_match(sentence) {
            abstained |= sentences.len() == 1 || names(sentence);
            continue;
        }
        if !names(sentence) || NEGATION.is_match(&plain(sentence)) {
            continue;
        }
        let sentence = blanked(&FORMER, sentence);
        let says = Sentence::new(fact, shape, &sentence);
        right |= fact.values.iter().any(|value| says.value(value));
        wrong |= fact.distractors.iter().any(|value| says.value(value));
        wrong |= fact.kind.is_exclusive() && says.another_value();
    }
    let claimed = right || wrong;
    Finding {
        claimed,
        value_right: right && !wrong,
        abstained: abstained && !claimed,
    }
}

/// Returns the sentence with all matches of a pattern blanked, so that positions stay the same.
fn blanked(pattern: &Regex, sentence: &str) -> String {
    let blank = |found: &regex::Captures<'_>| " ".repeat(found.get(0).map_or(0, |all| all.len()));
    pattern.replace_all(sentence, blank).into_owned()
}

/// One sentence, read for one fact.
struct Sentence<'a> {
    fact: &'a AtomicFact,
    shape: Shape,
    sentence: &'a str,
    words: Vec<Word>,
}

impl<'a> Sentence<'a> {
    fn new(fact: &'a AtomicFact, shape: Shape, sentence: &'a str) -> Self {
        let words = words(&plain(sentence), shape);
        Self {
            fact,
            shape,
            sentence,
            words,
        }
    }

    /// Returns whether the sentence states this value, by the relation of the fact or by none.
    fn value(&self, value: &str) -> bool {
        let own = Relation::for_kind(self.fact.kind);
        places_of(self.sentence, value).any(|at| {
            let stated = relation_between(&self.words, at, at + value.len());
            own.is_none() || stated.is_none() || stated == own
        })
    }

    /// Returns whether the sentence states another value of the right shape as the value of this
    /// fact: by a word of the relation, or, for a constant, with nothing but fillers between.
    fn another_value(&self) -> bool {
        let own = Relation::for_kind(self.fact.kind);
        let sentence = blanked(&POINTING, self.sentence);
        let clause = self.clause();
        candidates(&sentence, self.shape).into_iter().any(|range| {
            let of_fact = match own {
                Some(own) => relation_between(&self.words, range.start, range.end) == Some(own),
                None => self.follows_the_subject(range.start),
            };
            of_fact
                && clause.start <= range.start
                && range.end <= clause.end
                && !is_neutral(&sentence[range], self.fact)
        })
    }

    /// Returns whether only fillers or other values are between a subject and this position.
    fn follows_the_subject(&self, place: usize) -> bool {
        self.fact.subjects.iter().any(|name| {
            places_of(self.sentence, name)
                .map(|at| at + name.len())
                .filter(|end| *end <= place)
                .any(|end| FILLERS.is_match(&self.sentence[end..place]))
        })
    }

    /// Returns the part of the sentence about the subjects. It ends where another name becomes the
    /// subject, and starts there if the fact's own subject comes later.
    fn clause(&self) -> Range<usize> {
        let subject = self.fact.subjects.iter();
        let subject = subject
            .filter_map(|name| places_of(self.sentence, name).next())
            .min()
            .unwrap_or_default();
        let mut clause = 0..self.sentence.len();
        let names = candidates(self.sentence, Shape::Code)
            .into_iter()
            .chain(quoted(self.sentence));
        for range in names {
            let text = &self.sentence[range.clone()];
            let takes_over = VERB.is_match(&self.sentence[range.end..])
                && !is_neutral(text, self.fact)
                && !self.fact.distractors.iter().any(|wrong| wrong == text)
                && candidates(text, Shape::Path).is_empty()
                && candidates(text, self.shape).is_empty();
            if !takes_over {
                continue;
            }
            if range.start > subject {
                clause.end = clause.end.min(range.start);
            } else {
                clause.start = clause.start.max(range.start);
            }
        }
        clause
    }
}
