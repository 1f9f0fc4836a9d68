//! Test-time learning (TTL): labels and rules that only the conversation teaches.
//!
//! Every probe has sentences of its own, with words made for it: what one probe needs tells nothing
//! about another.

use std::collections::BTreeSet;

use crate::draw::Draw;
use crate::facts::FactSheet;
use crate::probe::{Grader, ProbeKind};
use crate::probes::candidate::{Candidate, Draft, Lesson, When, offer, single};
use crate::probes::schemes::{Hunk, SCHEMES};
use crate::probes::subjects::{About, Subjects, filled};
use crate::probes::words::Words;

/// A rule of the review, defined in one sentence.
struct Rule {
    about: About,
    says: &'static str,
    asks: &'static str,
    /// What follows or precedes the word that is made for the rule.
    before: &'static str,
    after: &'static str,
    /// What people put behind the value: `the Velmora desk`.
    noun: &'static str,
    spelling: Spelling,
}

#[derive(Clone, Copy)]
enum Spelling {
    Lower,
    Proper,
    Upper,
}

const RULES: [Rule; 6] = [
    Rule {
        about: About::Folder,
        says: "In this review a change under `{subject}` must be signed off by the {value} desk.",
        asks: "Which desk must sign off a change under `{subject}` in this review?",
        before: "",
        after: "",
        noun: "desk",
        spelling: Spelling::Proper,
    },
    Rule {
        about: About::File,
        says: "From now on the names of new constants in `{subject}` start with the prefix `{value}`.",
        asks: "With which prefix do the names of new constants in `{subject}` start from now on?",
        before: "",
        after: "_",
        noun: "prefix",
        spelling: Spelling::Upper,
    },
    Rule {
        about: About::Symbol,
        says: "Faults found in `{subject}` are filed under the tag `{value}`.",
        asks: "Under which tag are faults found in `{subject}` filed?",
        before: "",
        after: "",
        noun: "tag",
        spelling: Spelling::Lower,
    },
    Rule {
        about: About::File,
        says: "A commit that touches `{subject}` carries the trailer `{value}`.",
        asks: "Which trailer does a commit that touches `{subject}` carry?",
        before: "",
        after: "-Checked",
        noun: "trailer",
        spelling: Spelling::Proper,
    },
    Rule {
        about: About::Symbol,
        says: "A later change of `{subject}` goes behind the feature flag `{value}`.",
        asks: "Behind which feature flag does a later change of `{subject}` go?",
        before: "use_",
        after: "",
        noun: "flag",
        spelling: Spelling::Lower,
    },
    Rule {
        about: About::Folder,
        says: "Helpers that are added under `{subject}` go into a module called `{value}`.",
        asks: "Into which module do helpers go that are added under `{subject}`?",
        before: "",
        after: "",
        noun: "module",
        spelling: Spelling::Lower,
    },
];

/// What may be asked, a list per kind, each in a drawn order.
pub(super) fn candidates(
    sheet: &FactSheet,
    seed: u64,
    most: usize,
    words: &mut Words,
) -> Vec<Vec<Candidate>> {
    let mut draw = Draw::new(seed, "TTL/hunk_label");
    let labels = labels(sheet, &mut draw, most, words);
    let mut draw = Draw::new(seed, "TTL/taught_rule");
    vec![labels, rules(sheet, &mut draw, most, words)]
}

fn rules(sheet: &FactSheet, draw: &mut Draw, most: usize, words: &mut Words) -> Vec<Candidate> {
    let subjects = Subjects::new(sheet, draw);
    let patterns = draw.shuffled(&RULES);
    let abouts: Vec<About> = patterns.iter().map(|rule| rule.about).collect();
    subjects
        .pairs(&abouts, most)
        .into_iter()
        .map(|(pattern, subject)| {
            let rule = patterns[pattern];
            let mut coin = || match rule.spelling {
                Spelling::Lower => words.word(draw),
                Spelling::Proper => words.proper(draw),
                Spelling::Upper => words.word(draw).to_uppercase(),
            };
            let [word, wrong @ ..] = [coin(), coin(), coin(), coin()];
            let whole = |word: &str| format!("{}{word}{}", rule.before, rule.after);
            let value = whole(&word);
            let says = filled(rule.says, subject, &value);
            Ok(Draft {
                kind: ProbeKind::TaughtRule,
                subject: format!("{} {subject}", rule.noun),
                stem: filled(rule.asks, subject, &value),
                listing: Vec::new(),
                grader: Grader::Exact {
                    accept: spellings(&value, &word, rule.noun),
                },
                distractors: wrong.iter().map(|word| whole(word)).collect(),
                source: None,
                key: single(&value, vec![says.clone()]),
                lessons: vec![Lesson {
                    when: When::Rules,
                    text: says,
                }],
            })
        })
        .collect()
}

/// The ways to write a value whose case and company do not matter, the plainest first.
fn spellings(value: &str, word: &str, noun: &str) -> Vec<String> {
    let mut accept = vec![value.to_owned()];
    for plain in [value, word] {
        for text in [plain.to_owned(), plain.to_lowercase()] {
            accept.push(format!("{text} {noun}"));
            accept.push(format!("the {text} {noun}"));
            accept.push(text);
        }
    }
    let mut seen = BTreeSet::new();
    accept.retain(|text| seen.insert(text.clone()));
    accept
}

fn labels(sheet: &FactSheet, draw: &mut Draw, most: usize, words: &mut Words) -> Vec<Candidate> {
    let subjects = Subjects::new(sheet, draw);
    let schemes = draw.shuffled(&SCHEMES);
    let files = subjects.files();
    (0..most.min(files.len() * schemes.len()))
        .map(|at| {
            let scheme = schemes[at % schemes.len()];
            let file = &files[at % files.len()];
            let name = words.proper(draw);
            let labels: Vec<String> = scheme.classes.iter().map(|_| words.word(draw)).collect();
            let mut lesson = format!(
                "For changes of `{file}` this review sorts hunks by what it calls the {name} scale."
            );
            let mut sentences = Vec::new();
            let mut shown = Vec::new();
            for (class, label) in labels.iter().enumerate() {
                let sentence = format!(
                    "On the {name} scale a hunk that {} is called `{label}`.",
                    scheme.classes[class]
                );
                let example = Hunk::of_class(scheme, class, draw).ok_or("no example of a label")?;
                lesson.push_str(&format!(
                    "\n\n{sentence} For example:\n\n{}",
                    example.fenced()
                ));
                sentences.push(sentence);
                shown.push(example);
            }
            let class = draw.below(labels.len());
            let mut hunk = Hunk::of_class(scheme, class, draw).ok_or("no example of a label")?;
            while shown.contains(&hunk) {
                hunk = Hunk::of_class(scheme, class, draw).ok_or("no example of a label")?;
            }
            let right = labels[class].clone();
            let mut wrong = labels;
            wrong.remove(class);
            // A label that the scale does not have: who only knows how many there are gains less.
            wrong.push(words.word(draw));
            let mut draft = Draft {
                kind: ProbeKind::HunkLabel,
                subject: format!("{name} {file}"),
                stem: format!(
                    "A new commit changes `{file}` by this hunk. What is it called on the {name} \
                     scale of this review?\n\n{}",
                    hunk.fenced()
                ),
                listing: Vec::new(),
                grader: Grader::Exact { accept: Vec::new() },
                distractors: Vec::new(),
                source: None,
                key: single(&right, vec![sentences[class].clone()]),
                lessons: vec![Lesson {
                    when: When::Schemes,
                    text: lesson,
                }],
            };
            offer(&mut draft, draw, &right, wrong);
            Ok(draft)
        })
        .collect()
}
