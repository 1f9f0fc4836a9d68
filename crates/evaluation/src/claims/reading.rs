//! The deterministic judge: reads a text sentence by sentence, literally.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::relations::{Relation, Word, told_by, words};
use super::shapes::{Shape, candidates, is_neutral, plain, quoted};
use super::{AtomicFact, Finding, has_word, places_of};

/// Words that turn a claim round. What stands in backticks or quotes is no word of the sentence.
static NEGATION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)\b(?:not|never|neither|nor|no longer|without)\b|n't\b"));
static SENTENCE_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"[.;!?]\s+|\n"));
static ABSTAINS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:do not|don't|cannot|can't|no longer)\s+(?:recall|remember|know)\b|\bno (?:memory|recollection)\b",
    )
});
/// What a sentence says of the past: `from 5 to`, `instead of 5`, `(was 5)`.
static FORMER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)\b(?:up |down )?from\s+(?:`[^`]*`|"[^"]*"|\S+)\s+(?:to|→|->)|\b(?:instead of|rather than|previously|formerly|originally)\s+(?:`[^`]*`|"[^"]*"|[\w.-]*\w)|\((?:was|previously|formerly|before:?)\s+[^)]*\)"#,
    )
});
/// Numbers that count or point, and are no value.
static POINTING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^\W*\d+[.)]\s|\b(?:lines?|turn|step|hunk|version|issue|pr|pull request|commit|round|no\.|number)\s+#?\d[\d,–-]*|\b\d+\s+(?:times|files?|tests?|places|callers|uses)\b",
    )
});
/// What may stand between a constant and its value: `X: u32 = `, `X has now the value `, `X is 3 or `.
static FILLERS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)^(?:[\s`"'=:,()&→>-]|`[^`]*`|"[^"]*"|\b(?:is|are|was|has|have|had|be|now|then|the|a|an|literal|constant|value|values|of|set|to|equals?|equal|changed?|raised|lowered|increased|decreased|bumped|at|with|default|defaults|currently|either|or|and|perhaps|maybe|one|new|sure|it|holds|str|string|int|float|bool|[ui](?:8|16|32|64|size)|usize|isize|f32|f64|\d[\d_.]*)\b)*$"#,
    )
});
/// What makes the name before it the subject of a clause.
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
/// A *claim* is a sentence (it ends at a line's end, or at `.`, `;`, `!` or `?` before a space) that
/// names every subject and a right or a wrong value of the fact, as whole words and with their case.
/// It is right where some claim has a right value and no claim has a wrong one: saying both is
/// hedging, and earns nothing. Wrong are the values that the repository has elsewhere; and, where a
/// subject has [only one](super::FactKind::is_exclusive), everything else of the value's shape that is said to be it: another number for a
/// number, another path for a path, another name in backticks for a name. What is told by the word of another
/// relation (`used in` for where it is defined) is no claim of this fact, and neither is what is said
/// of the past (`from 5 to 7`) or of another name in the same sentence.
///
/// A sentence that negates (`not`, `never`, …, outside of quotes) claims nothing, and neither does one
/// that names the subjects without any value: being vague is not being wrong. The text *abstains* from
/// a fact that it does not claim where one of its sentences says that it does not know, and either
/// names every subject or is all that the text says.
pub fn judge_deterministic(fact: &AtomicFact, text: &str) -> Finding {
    let sentences: Vec<&str> = SENTENCE_END
        .split(text)
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
        .collect();
    let names = |sentence: &str| {
        !fact.subjects.is_empty() && fact.subjects.iter().all(|name| has_word(sentence, name))
    };
    let shape = Shape::of(fact);
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
        let says = Saying::of(fact, shape, &sentence);
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

/// The sentence with what a pattern finds blanked, so that all places stay.
fn blanked(pattern: &Regex, sentence: &str) -> String {
    let blank = |found: &regex::Captures<'_>| " ".repeat(found.get(0).map_or(0, |all| all.len()));
    pattern.replace_all(sentence, blank).into_owned()
}

/// One sentence, read for one fact.
struct Saying<'a> {
    fact: &'a AtomicFact,
    shape: Shape,
    sentence: &'a str,
    words: Vec<Word>,
}

impl<'a> Saying<'a> {
    fn of(fact: &'a AtomicFact, shape: Shape, sentence: &'a str) -> Self {
        let words = words(&plain(sentence), shape);
        Self {
            fact,
            shape,
            sentence,
            words,
        }
    }

    /// Whether the sentence gives this value, by the relation of the fact or by none.
    fn value(&self, value: &str) -> bool {
        let own = Relation::of(self.fact.kind);
        places_of(self.sentence, value).any(|at| {
            let told = told_by(&self.words, at, at + value.len());
            own.is_none() || told.is_none() || told == own
        })
    }

    /// Whether it gives a value of the right shape that is not a right one, and says that it is one
    /// of this fact: by a word of the relation, or, of a constant, with nothing but fillers between.
    fn another_value(&self) -> bool {
        let own = Relation::of(self.fact.kind);
        let sentence = blanked(&POINTING, self.sentence);
        let clause = self.clause();
        candidates(&sentence, self.shape).into_iter().any(|range| {
            let of_fact = match own {
                Some(own) => told_by(&self.words, range.start, range.end) == Some(own),
                None => self.follows_the_subject(range.start),
            };
            of_fact
                && clause.start <= range.start
                && range.end <= clause.end
                && !is_neutral(&sentence[range], self.fact)
        })
    }

    /// Whether there are only fillers, or other values, between a subject and this place.
    fn follows_the_subject(&self, place: usize) -> bool {
        self.fact.subjects.iter().any(|name| {
            places_of(self.sentence, name)
                .map(|at| at + name.len())
                .filter(|end| *end <= place)
                .any(|end| FILLERS.is_match(&self.sentence[end..place]))
        })
    }

    /// The part of the sentence that is about the subjects: it ends where another name becomes the
    /// subject, and begins there where the fact's own comes later.
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
