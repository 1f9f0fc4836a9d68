//! Selective forgetting (SF): facts that the conversation states and later corrects or withdraws.
//!
//! The question is the same for both, so it does not reveal whether there is still a value.

use crate::draw::Draw;
use crate::facts::FactSheet;
use crate::grading::WITHDRAWN;
use crate::probe::{Combine, Grader, Key, ProbeKind};
use crate::probes::candidate::{Candidate, Draft, Lesson, When, version};
use crate::probes::subjects::{About, Subjects, filled};
use crate::probes::words::Words;

/// A fact about the review that can change.
struct Topic {
    about: About,
    /// Description of the fact, for questions and corrections.
    what: &'static str,
    first: &'static str,
    now: &'static str,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    Seconds,
    Percent,
    Person,
    CodeWord,
    Ticket,
    Branch,
}

const TOPICS: [Topic; 6] = [
    Topic {
        about: About::Symbol,
        what: "the timeout agreed for `{subject}`",
        first: "We agreed on a timeout of {value} for `{subject}`.",
        now: "The timeout for `{subject}` is now {value}.",
        value: Value::Seconds,
    },
    Topic {
        about: About::File,
        what: "the owner of `{subject}`",
        first: "The owner of `{subject}` is {value}.",
        now: "By now {value} has taken over `{subject}` as its owner.",
        value: Value::Person,
    },
    Topic {
        about: About::Folder,
        what: "the code word of the merge window for `{subject}`",
        first: "The merge window for `{subject}` goes by the code word {value}.",
        now: "The merge window for `{subject}` has been given the new code word {value}.",
        value: Value::CodeWord,
    },
    Topic {
        about: About::Symbol,
        what: "the share of users who get the new `{subject}` first",
        first: "The new `{subject}` first goes out to {value} of the users.",
        now: "The first users to get the new `{subject}` are now {value} of them.",
        value: Value::Percent,
    },
    Topic {
        about: About::File,
        what: "the ticket for the follow-up work on `{subject}`",
        first: "The follow-up work on `{subject}` is tracked in the ticket {value}.",
        now: "The follow-up work on `{subject}` has moved to the ticket {value}.",
        value: Value::Ticket,
    },
    Topic {
        about: About::File,
        what: "the branch that holds the fallback for `{subject}`",
        first: "The fallback for `{subject}` is kept on the branch `{value}`.",
        now: "The fallback for `{subject}` now lives on the branch `{value}`.",
        value: Value::Branch,
    },
];

/// Returns the candidates, a list per kind, each in a drawn order. No two are about the same fact.
pub(super) fn candidates(
    sheet: &FactSheet,
    seed: u64,
    most: usize,
    words: &mut Words,
) -> Vec<Vec<Candidate>> {
    let mut draw = Draw::new(seed, "SF/subjects");
    let subjects = Subjects::new(sheet, &mut draw);
    let topics = draw.shuffled(&TOPICS);
    let abouts: Vec<About> = topics.iter().map(|topic| topic.about).collect();
    let mut corrected = Draw::new(seed, "SF/corrected_fact");
    let mut retracted = Draw::new(seed, "SF/retracted_fact");
    // Two lists of corrections and one of retractions take turns.
    let mut lists = vec![Vec::new(), Vec::new(), Vec::new()];
    for (at, (topic, subject)) in subjects.pairs(&abouts, 2 * most).into_iter().enumerate() {
        // Every round of topics starts with the other kind, so that no topic always has the same
        // kind.
        let turn = (at + at / topics.len()) % 3;
        let withdrawn = turn == 2;
        let topic = topics[topic];
        if withdrawn {
            lists[2].push(Ok(retraction(topic, subject, &mut retracted, words)));
        } else {
            lists[turn].push(Ok(correction(topic, subject, &mut corrected, words)));
        }
    }
    lists
}

fn correction(topic: &Topic, subject: &str, draw: &mut Draw, words: &mut Words) -> Draft {
    let [old, new, wrong @ ..] = [(); 5].map(|()| topic.value.made(draw, words));
    let what = filled(topic.what, subject, "");
    let first = filled(topic.first, subject, &old);
    let now = filled(topic.now, subject, &new);
    let lessons = vec![
        Lesson {
            when: When::First,
            text: first.clone(),
        },
        Lesson {
            when: When::Correction,
            text: format!("There is news about {what}. {now}"),
        },
    ];
    Draft {
        kind: ProbeKind::CorrectedFact,
        grader: Grader::Current {
            current: Some(topic.value.spellings(&new)),
            replaced: topic.value.spellings(&old),
        },
        key: Key {
            combine: Combine::Single,
            versions: vec![version(&old, vec![first]), version(&new, vec![now])],
        },
        ..draft(&what, wrong.to_vec(), lessons)
    }
}

fn retraction(topic: &Topic, subject: &str, draw: &mut Draw, words: &mut Words) -> Draft {
    let [old, wrong @ ..] = [(); 4].map(|()| topic.value.made(draw, words));
    let what = filled(topic.what, subject, "");
    let first = filled(topic.first, subject, &old);
    let gone =
        format!("What was said about {what} is withdrawn, and nothing has been put in its place.");
    let lessons = vec![
        Lesson {
            when: When::First,
            text: first.clone(),
        },
        Lesson {
            when: When::Correction,
            text: gone.clone(),
        },
    ];
    Draft {
        kind: ProbeKind::RetractedFact,
        grader: Grader::Current {
            current: None,
            replaced: topic.value.spellings(&old),
        },
        key: Key {
            combine: Combine::Single,
            versions: vec![version(&old, vec![first]), version(WITHDRAWN, vec![gone])],
        },
        ..draft(&what, wrong.to_vec(), lessons)
    }
}

/// Returns the common parts of both kinds. The caller adds the kind, the grader and the key.
fn draft(what: &str, distractors: Vec<String>, lessons: Vec<Lesson>) -> Draft {
    Draft {
        kind: ProbeKind::CorrectedFact,
        subject: what.to_owned(),
        stem: format!("As things stand in this review now, name {what}."),
        listing: Vec::new(),
        grader: Grader::Exact { accept: Vec::new() },
        distractors,
        source: None,
        key: Key {
            combine: Combine::Single,
            versions: Vec::new(),
        },
        lessons,
    }
}

impl Value {
    fn made(self, draw: &mut Draw, words: &mut Words) -> String {
        match self {
            Self::Seconds => format!("{} seconds", words.number(draw, 101, 999)),
            Self::Percent => format!("{} percent", words.number(draw, 11, 89)),
            Self::Person => words.person(draw),
            Self::CodeWord => words.proper(draw),
            Self::Ticket => {
                let letters = words.word(draw).to_uppercase();
                format!("{letters}-{}", words.number(draw, 1001, 9999))
            }
            Self::Branch => format!("hold/{}", words.word(draw)),
        }
    }

    /// Returns the spellings of a value.
    fn spellings(self, value: &str) -> Vec<String> {
        let mut spellings = vec![value.to_owned()];
        match self {
            Self::Seconds => {
                let number = value.trim_end_matches(" seconds");
                spellings.extend([
                    number.to_owned(),
                    format!("{number}s"),
                    format!("{number} s"),
                ]);
            }
            Self::Percent => {
                let number = value.trim_end_matches(" percent");
                spellings.extend([number.to_owned(), format!("{number}%")]);
                spellings.push(format!("{number} percent of the users"));
            }
            Self::Person => {
                let surname = value.rsplit(' ').next().unwrap_or(value);
                spellings.extend([
                    surname.to_owned(),
                    value.to_lowercase(),
                    surname.to_lowercase(),
                ]);
            }
            Self::CodeWord | Self::Ticket => spellings.push(value.to_lowercase()),
            Self::Branch => {
                let word = value.trim_start_matches("hold/");
                spellings.push(word.to_owned());
            }
        }
        spellings
    }
}
