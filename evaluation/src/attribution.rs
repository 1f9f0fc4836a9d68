//! Where a right answer came from: decided from what the run recorded, never from what the agent
//! says of itself.

use serde::{Deserialize, Serialize};

use crate::grading::{Verdict, grade};
use crate::probe::{Grader, Probe};

/// Where a right post-break answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// A tool was called while sealed: a violation, the run is void.
    Reread,
    /// The compaction's summary carries the fact.
    Summary,
    /// The program put the source back: a file read again at the compaction, a preserved tail, a
    /// memory file.
    Reinjected,
    /// The cold arm had it right too.
    Guessable,
    /// None of these: it is right, and we cannot say from where.
    Model,
}

/// What a run recorded that can explain an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The text that the compaction kept, where the program shows it.
    pub summary: Option<&'a str>,
    /// The texts that the program put back beside it.
    pub reinjected: &'a [String],
    /// Whether a tool was called in the turn of the answer.
    pub reread: bool,
    /// Whether the cold arm's answer to the same probe is right.
    pub cold_right: bool,
}

/// Where a right answer to `probe` came from.
///
/// The first sign that is found decides, in the order of
/// [`Attribution`]: what voids a run goes first, what the agent was handed goes before what it may
/// have guessed.
pub fn attribute(probe: &Probe, sources: Sources<'_>) -> Attribution {
    if sources.reread {
        Attribution::Reread
    } else if sources.summary.is_some_and(|text| carries(text, probe)) {
        Attribution::Summary
    } else if carries(&sources.reinjected.join("\n"), probe) {
        Attribution::Reinjected
    } else if sources.cold_right {
        Attribution::Guessable
    } else {
        Attribution::Model
    }
}

/// Whether a text carries what `probe` asks for.
///
/// It does where it holds the evidence, line by line and apart from spaces, from which the right
/// answer follows; or where one of its lines names everything that the question puts in backticks
/// together with the whole right answer, as words. The second sign is for summaries in a program's
/// own words. It is strict on purpose: a paraphrase that it misses is shown as
/// [`Attribution::Model`], which claims nothing.
pub fn carries(text: &str, probe: &Probe) -> bool {
    let lines: Vec<String> = text.lines().map(plain).collect();
    let follows = probe.key.answer(|evidence| {
        let evidence = plain(evidence);
        !evidence.is_empty() && lines.iter().any(|line| line.contains(&evidence))
    });
    let is_right =
        |answer: &str| grade(&probe.grader, &format!("ANSWER: {answer}")).verdict == Verdict::Right;
    follows.is_some_and(|answer| is_right(&answer)) || says(&lines, probe)
}

/// Whether one line says it in other words than the evidence.
fn says(lines: &[String], probe: &Probe) -> bool {
    let subjects: Vec<String> = probe
        .question
        .split('`')
        .skip(1)
        .step_by(2)
        .map(plain)
        .collect();
    let values = values(&probe.grader);
    if subjects.is_empty() || values.is_empty() {
        return false;
    }
    // A question with choices names its answers too; they are no subjects.
    let subjects: Vec<&String> = subjects
        .iter()
        .filter(|subject| !values.iter().flatten().any(|value| value == *subject))
        .collect();
    !subjects.is_empty()
        && lines.iter().any(|line| {
            subjects.iter().all(|subject| has_word(line, subject))
                && values
                    .iter()
                    .any(|all| all.iter().all(|value| has_word(line, value)))
        })
}

/// The ways to be right: each is a list of values that must all be said. None for what has to be
/// said in an order, which words on a line do not show, and for what is right by being absent.
fn values(grader: &Grader) -> Vec<Vec<String>> {
    let each = |values: &[String]| values.iter().map(|value| vec![plain(value)]).collect();
    match grader {
        Grader::Exact { accept } => each(accept),
        Grader::Set { items } if !items.is_empty() => {
            vec![items.iter().map(|item| plain(item)).collect()]
        }
        Grader::Current {
            current: Some(current),
            ..
        } => each(current),
        Grader::Set { .. }
        | Grader::Choice { .. }
        | Grader::Sequence { .. }
        | Grader::Current { current: None, .. } => Vec::new(),
    }
}

/// One space for any run of spaces.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `word` stands in `line` with nothing of a word directly beside it.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    !word.is_empty()
        && line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            let grows_before = before.is_some_and(is_part) && word.starts_with(is_part);
            let grows_after = after.is_some_and(is_part) && word.ends_with(is_part);
            !grows_before && !grows_after
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Combine, Dimension, Key, Part, ProbeKind, Version};

    fn constant() -> Probe {
        Probe {
            label: "AR-01".to_owned(),
            dimension: Dimension::Ar,
            kind: ProbeKind::ConstantValue,
            question: "What is the value of `MAX_RETRIES` after the change?".to_owned(),
            grader: Grader::Exact {
                accept: vec!["17".to_owned()],
            },
            distractors: Vec::new(),
            source: None,
            key: Key {
                combine: Combine::Single,
                versions: vec![Version {
                    parts: vec![Part {
                        evidence: vec!["+MAX_RETRIES = 17".to_owned()],
                        value: "17".to_owned(),
                    }],
                }],
            },
        }
    }

    #[test]
    fn evidence_is_found_behind_line_numbers_and_other_spaces() {
        assert!(carries("   12\t+MAX_RETRIES  = 17\n", &constant()));
        assert!(!carries("+MAX_RETRIES = 18", &constant()));
    }

    #[test]
    fn other_words_count_where_subject_and_value_stand_on_one_line() {
        assert!(carries("* `MAX_RETRIES` was raised to 17.", &constant()));
        for not in [
            "MAX_RETRIES was raised.\nThe limit is 17.",
            "MAX_RETRIES was raised to 170.",
            "OLD_MAX_RETRIES was raised to 17.",
            "",
        ] {
            assert!(!carries(not, &constant()), "{not:?}");
        }
    }

    #[test]
    fn an_older_version_is_not_the_fact() {
        let mut probe = constant();
        probe.grader = Grader::Current {
            current: Some(vec!["17".to_owned()]),
            replaced: vec!["5".to_owned()],
        };
        let part = |line: &str, value: &str| Version {
            parts: vec![Part {
                evidence: vec![line.to_owned()],
                value: value.to_owned(),
            }],
        };
        probe.key.versions = vec![part("the limit is 5", "5"), part("the limit is 17", "17")];
        assert!(!carries("the limit is 5", &probe));
        assert!(carries("the limit is 5\nthe limit is 17", &probe));
    }

    #[test]
    fn the_first_sign_decides() {
        let probe = constant();
        let carrying = "+MAX_RETRIES = 17";
        let put_back = [carrying.to_owned()];
        let all = Sources {
            summary: Some(carrying),
            reinjected: &put_back,
            reread: true,
            cold_right: true,
        };
        assert_eq!(attribute(&probe, all), Attribution::Reread);
        let all = Sources {
            reread: false,
            ..all
        };
        assert_eq!(attribute(&probe, all), Attribution::Summary);
        let all = Sources {
            summary: Some("nothing"),
            ..all
        };
        assert_eq!(attribute(&probe, all), Attribution::Reinjected);
        let all = Sources {
            reinjected: &[],
            ..all
        };
        assert_eq!(attribute(&probe, all), Attribution::Guessable);
        let all = Sources {
            cold_right: false,
            ..all
        };
        assert_eq!(attribute(&probe, all), Attribution::Model);
    }
}
