//! Test-time learning (TTL): labels and rules that only the conversation teaches.
//!
//! Every probe has sentences of its own, with words made for it: the sentences of one probe reveal
//! nothing about another.

use std::collections::BTreeSet;

use crate::draw::Draw;
use crate::facts::FactSheet;
use crate::probe::{Grader, ProbeKind};
use crate::probes::candidate::{Candidate, Draft, Lesson, When, offer, single};
use crate::probes::schemes::{Hunk, SCHEMES, Scheme};
use crate::probes::subjects::{About, Subjects, filled};
use crate::probes::words::Words;

/// A rule of the review, defined in one sentence. Its question describes a case that the lesson
/// does not mention, so that the rule must be applied and not only repeated.
struct Rule {
    about: About,
    says: &'static str,
    asks: &'static str,
    case: Case,
    /// Text before the word that is made for the rule.
    before: &'static str,
    after: &'static str,
    /// The noun after the value: `the Velmora desk`.
    noun: &'static str,
    spelling: Spelling,
}

/// Details of a case, and the way to the answer.
#[derive(Clone, Copy)]
enum Case {
    /// A name or a number, appended to the rule's value and this text.
    Appended(Detail, &'static str),
    /// One of two descriptions: the first is for the rule's value, the second for its other value.
    Either([&'static str; 2]),
}

#[derive(Clone, Copy)]
enum Detail {
    Number,
    ConstantName,
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
        says: "In this review a change under `{subject}` that adds more than 20 lines is signed off \
               by the {value} desk, a smaller one by the {other} desk.",
        asks: "A new commit adds {case} lines under `{subject}`. Which desk signs it off in this \
               review?",
        case: Case::Either(["37", "9"]),
        before: "",
        after: "",
        noun: "desk",
        spelling: Spelling::Proper,
    },
    Rule {
        about: About::File,
        says: "From now on the name of a new constant in `{subject}` is put behind the prefix \
               `{value}`.",
        asks: "A new commit adds a constant to `{subject}` that its author calls {case}. What is its \
               whole name from now on?",
        case: Case::Appended(Detail::ConstantName, ""),
        before: "",
        after: "_",
        noun: "constant",
        spelling: Spelling::Upper,
    },
    Rule {
        about: About::Symbol,
        says: "A fault found in `{subject}` is filed under the tag `{value}`, followed by a hyphen \
               and the number of the fault.",
        asks: "Under which tag is fault {case} filed, which was found in `{subject}`?",
        case: Case::Appended(Detail::Number, "-"),
        before: "",
        after: "",
        noun: "tag",
        spelling: Spelling::Lower,
    },
    Rule {
        about: About::File,
        says: "A commit that touches `{subject}` carries the trailer `{value}`, followed by a colon \
               and the number of its ticket.",
        asks: "A commit for ticket {case} touches `{subject}`. Which trailer does it carry, number \
               included?",
        case: Case::Appended(Detail::Number, ": "),
        before: "",
        after: "-Checked",
        noun: "trailer",
        spelling: Spelling::Proper,
    },
    Rule {
        about: About::Symbol,
        says: "A later change of `{subject}` goes behind the feature flag `{value}`, followed by an \
               underscore and the number of its ticket.",
        asks: "Behind which feature flag does the change of `{subject}` for ticket {case} go?",
        case: Case::Appended(Detail::Number, "_"),
        before: "use_",
        after: "",
        noun: "flag",
        spelling: Spelling::Lower,
    },
    Rule {
        about: About::Folder,
        says: "A public helper that is added under `{subject}` goes into a module called `{value}`, \
               a private one into `{other}`.",
        asks: "A new commit adds a {case} helper under `{subject}`. Into which module does it go?",
        case: Case::Either(["public", "private"]),
        before: "",
        after: "",
        noun: "module",
        spelling: Spelling::Lower,
    },
];

/// Names of constants that authors use.
const CONSTANTS: [&str; 8] = [
    "ROW_LIMIT",
    "CURSOR_STEP",
    "WINDOW_SIZE",
    "MARGIN",
    "DEPTH",
    "OFFSET_BASE",
    "WEIGHT",
    "TALLY",
];

/// Number of hunks that are shown for each label.
const EXAMPLES: usize = 2;

/// Returns the candidates, a list per kind, each in a drawn order.
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
            let [value, other, wrong @ ..] = [coin(), coin(), coin(), coin()]
                .map(|word| format!("{}{word}{}", rule.before, rule.after));
            let (case, answer, mut distractors) = match rule.case {
                Case::Appended(detail, joint) => {
                    let case = match detail {
                        Detail::Number => words.number(draw, 101, 999),
                        Detail::ConstantName => CONSTANTS[draw.below(CONSTANTS.len())].to_owned(),
                    };
                    let whole = |value: &String| format!("{value}{joint}{case}");
                    let answer = whole(&value);
                    let mut distractors: Vec<String> = wrong.iter().map(whole).collect();
                    distractors.push(whole(&other));
                    (case, answer, distractors)
                }
                Case::Either([first, second]) => {
                    let mut distractors = wrong.to_vec();
                    if draw.below(2) == 0 {
                        distractors.push(other.clone());
                        (first.to_owned(), value.clone(), distractors)
                    } else {
                        distractors.push(value.clone());
                        (second.to_owned(), other.clone(), distractors)
                    }
                }
            };
            draw.shuffle(&mut distractors);
            let says = filled(rule.says, subject, &value).replace("{other}", &other);
            Ok(Draft {
                kind: ProbeKind::TaughtRule,
                subject: format!("{} {subject}", rule.noun),
                stem: filled(rule.asks, subject, &value).replace("{case}", &case),
                listing: Vec::new(),
                grader: Grader::Exact {
                    accept: spellings(&answer, rule.noun),
                },
                distractors,
                source: None,
                key: single(&answer, vec![says.clone()]),
                lessons: vec![Lesson {
                    when: When::Rules,
                    text: says,
                }],
            })
        })
        .collect()
}

/// Returns the spellings of a value without regard to case and noun, the plainest first.
fn spellings(value: &str, noun: &str) -> Vec<String> {
    let mut accept = Vec::new();
    for text in [value.to_owned(), value.to_lowercase()] {
        accept.push(text.clone());
        accept.push(format!("{text} {noun}"));
        accept.push(format!("the {text} {noun}"));
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
            let counts = format!("What counts on the {name} scale is {}.", scheme.by);
            let mut lesson = format!(
                "For changes of `{file}` this review sorts hunks by what it calls the {name} scale. \
                 {counts} Which label is which, these examples show."
            );
            // Only hunks show which class a label belongs to. They take turns, so that none comes
            // first.
            let calls = |label: &str| format!("On the {name} scale this hunk is called `{label}`:");
            let mut shown = Vec::new();
            for round in 0..EXAMPLES {
                for at in 0..labels.len() {
                    let class = (at + round) % labels.len();
                    let example = example(scheme, class, draw, &shown)?;
                    lesson.push_str(&format!(
                        "\n\n{}\n\n{}",
                        calls(&labels[class]),
                        example.fenced()
                    ));
                    shown.push(example);
                }
            }
            let class = draw.below(labels.len());
            let hunk = example(scheme, class, draw, &shown)?;
            let right = labels[class].clone();
            let mut wrong = labels;
            wrong.remove(class);
            // A label that the scale does not have: knowing only the number of labels gains less.
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
                key: single(&right, vec![counts, calls(&right)]),
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

/// Returns a hunk of this class that was not shown.
fn example(
    scheme: &Scheme,
    class: usize,
    draw: &mut Draw,
    shown: &[Hunk],
) -> Result<Hunk, &'static str> {
    loop {
        let hunk = Hunk::of_class(scheme, class, draw).ok_or("no example of a label")?;
        if !shown.contains(&hunk) {
            return Ok(hunk);
        }
    }
}
