//! Accurate retrieval (AR): parameters and results of functions, values of constants, and tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::Draw;
use crate::facts::{ConstantFact, FactSheet, SymbolFact, TestFact};
use crate::probe::{Grader, ProbeKind};
use crate::probes::candidate::{Candidate, Draft, single};
use crate::probes::likeness::split;
use crate::probes::places::{Places, ambiguous_names, was_removed};

/// Beginnings of the two questions about a signature.
pub(in crate::probes) const ASKS_RETURN: &str = "What is the return type of the function";
pub(in crate::probes) const ASKS_PARAMETERS: &str =
    "What are the names, in order and without types, of the parameters of the function";

pub(super) fn signatures(sheet: &FactSheet, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let ambiguous = ambiguous_names(sheet);
    let has_signature =
        |symbol: &&SymbolFact| symbol.returns.is_some() || parameters(symbol).is_some();
    draw.shuffled(sheet.symbols.iter().filter(has_signature))
        .into_iter()
        .take(most)
        .map(|symbol| {
            if was_removed(sheet, &symbol.evidence) {
                return Err("the change takes it away");
            }
            if ambiguous.contains(symbol.name.as_str()) {
                return Err("the name means several things");
            }
            let asked = match (&symbol.returns, parameters(symbol)) {
                (Some(returns), None) => about_return(sheet, symbol, returns),
                (None, Some(names)) => about_parameters(sheet, symbol, names),
                (Some(returns), Some(names)) => {
                    if draw.below(2) == 0 {
                        about_return(sheet, symbol, returns)
                    } else {
                        about_parameters(sheet, symbol, names)
                    }
                }
                (None, None) => return Err("the signature is not told"),
            };
            let mut distractors: Vec<String> = draw.shuffled(asked.wrong);
            distractors.retain(|wrong| asked.invented_name.as_ref() != Some(wrong));
            distractors.truncate(4 - usize::from(asked.invented_name.is_some()));
            distractors.extend(asked.invented_name);
            Ok(Draft {
                kind: ProbeKind::SymbolSignature,
                subject: symbol.name.clone(),
                stem: format!("{} `{}` after the change?", asked.question, symbol.name),
                listing: Vec::new(),
                grader: Grader::Exact {
                    accept: asked.accept,
                },
                distractors,
                source: Some(symbol.evidence.clone()),
                key: single(asked.answer, symbol.evidence.text.clone()),
                lessons: Vec::new(),
            })
        })
        .collect()
}

/// One of the questions about a signature.
struct SignatureQuestion {
    question: &'static str,
    answer: String,
    accept: Vec<String>,
    wrong: BTreeSet<String>,
    /// A wrong answer with an invented name.
    invented_name: Option<String>,
}

fn about_return(sheet: &FactSheet, symbol: &SymbolFact, returns: &str) -> SignatureQuestion {
    SignatureQuestion {
        question: ASKS_RETURN,
        answer: returns.to_owned(),
        accept: vec![returns.to_owned(), format!("-> {returns}")],
        wrong: others(sheet, symbol)
            .filter_map(|other| other.returns.clone())
            .collect(),
        invented_name: invented_name(sheet, returns),
    }
}

fn about_parameters(sheet: &FactSheet, symbol: &SymbolFact, names: &[String]) -> SignatureQuestion {
    let listed = names.join(", ");
    let mut accept = vec![listed.clone(), format!("({listed})")];
    if let [first, second] = names {
        accept.push(format!("{first} and {second}"));
    }
    SignatureQuestion {
        question: ASKS_PARAMETERS,
        answer: listed,
        accept,
        wrong: wrong_parameters(names, others(sheet, symbol).filter_map(parameters)),
        invented_name: names.split_first().and_then(|(first, rest)| {
            let first = invented_name(sheet, first)?;
            let names: Vec<String> = [first].into_iter().chain(rest.iter().cloned()).collect();
            Some(names.join(", "))
        }),
    }
}

fn others<'a>(
    sheet: &'a FactSheet,
    symbol: &'a SymbolFact,
) -> impl Iterator<Item = &'a SymbolFact> {
    sheet
        .symbols
        .iter()
        .filter(|other| other.name != symbol.name)
}

/// Returns an invented name in the shape of this one: its last word comes from another name. It
/// returns only the first that fits, so that invented names do not outnumber those of the
/// repository.
fn invented_name(sheet: &FactSheet, like: &str) -> Option<String> {
    let is_name = like
        .chars()
        .all(|letter| letter.is_alphanumeric() || letter == '_');
    let names = || {
        let symbols = sheet.symbols.iter().map(|symbol| symbol.name.as_str());
        symbols.chain(sheet.other_symbols.iter().map(String::as_str))
    };
    let given: BTreeSet<&str> = sheet
        .symbols
        .iter()
        .flat_map(|symbol| {
            let parameters = symbol.parameters.iter().flatten().map(String::as_str);
            parameters.chain(symbol.returns.as_deref())
        })
        .chain(names())
        .collect();
    let own: Vec<String> = split(like).collect();
    let last = own.last().filter(|_| is_name)?;
    let kept = like.get(..like.len().checked_sub(last.len())?)?;
    let is_upper = like.get(kept.len()..)?.starts_with(char::is_uppercase);
    let words = names().filter_map(|name| split(name).last());
    words
        .filter(|word| word.chars().count() > 3 && word.is_ascii() && !own.contains(word))
        .map(|word| match (is_upper, word.get(..1), word.get(1..)) {
            (true, Some(first), Some(rest)) => format!("{kept}{}{rest}", first.to_uppercase()),
            _ => format!("{kept}{word}"),
        })
        .find(|name| !given.contains(name.as_str()))
}

/// Returns the parameters of other functions, and these in another order or number.
fn wrong_parameters<'a>(
    names: &[String],
    others: impl Iterator<Item = &'a [String]>,
) -> BTreeSet<String> {
    let mut wrong: BTreeSet<String> = others.map(|other| other.join(", ")).collect();
    if names.len() > 1 {
        let backwards: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        wrong.insert(backwards.join(", "));
        wrong.insert(names[1..].join(", "));
    }
    wrong
}

fn parameters(symbol: &SymbolFact) -> Option<&[String]> {
    symbol
        .parameters
        .as_deref()
        .filter(|names| !names.is_empty())
}

pub(super) fn constants(
    sheet: &FactSheet,
    places: &Places<'_>,
    draw: &mut Draw,
    most: usize,
) -> Vec<Candidate> {
    draw.shuffled(&sheet.constants)
        .into_iter()
        .take(most)
        .map(|constant| {
            let ConstantFact {
                name,
                value,
                file,
                evidence,
            } = constant;
            if was_removed(sheet, evidence) {
                return Err("the change takes it away");
            }
            let namesakes = || sheet.constants.iter().filter(|other| other.name == *name);
            if namesakes().any(|other| other.file == *file && other.value != *value) {
                return Err("the name means several things");
            }
            if ["true", "false", "none", "null", "nil", "undefined"]
                .contains(&value.to_lowercase().as_str())
            {
                return Err("too few plausible wrong answers");
            }
            // A question names a file only if needed, because naming it reveals that the change
            // touches it.
            let (asked, evidence_text) = if namesakes().count() > 1 {
                (
                    format!("`{name}` in `{file}`"),
                    places.located(file, evidence),
                )
            } else {
                (format!("`{name}`"), evidence.text.clone())
            };
            let mut accept = vec![value.clone()];
            let plain = value.replace('_', "");
            if is_number(value) && plain != *value {
                accept.push(plain);
            }
            Ok(Draft {
                kind: ProbeKind::ConstantValue,
                subject: format!("{file} {name}"),
                stem: format!("Which literal value does {asked} have after the change?"),
                listing: Vec::new(),
                distractors: wrong_values(sheet, constant, draw),
                source: Some(evidence.clone()),
                key: single(value, evidence_text),
                grader: Grader::Exact { accept },
                lessons: Vec::new(),
            })
        })
        .collect()
}

/// Returns values of other constants, those of the same sort first, and then numbers near a number.
fn wrong_values(sheet: &FactSheet, constant: &ConstantFact, draw: &mut Draw) -> Vec<String> {
    let value = &constant.value;
    let others: BTreeSet<&String> = sheet
        .constants
        .iter()
        .map(|other| &other.value)
        .filter(|other| *other != value)
        .collect();
    let mut wrong: Vec<String> = draw.shuffled(others).into_iter().cloned().collect();
    wrong.retain(|other| is_number(other) == is_number(value));
    if let Ok(number) = value.replace('_', "").parse::<u64>() {
        let near = [
            number.saturating_mul(2),
            number.saturating_add(1),
            number / 2,
            number.saturating_mul(10),
        ];
        wrong.extend(
            near.iter()
                .filter(|near| **near != number)
                .map(u64::to_string),
        );
    }
    wrong.truncate(4);
    wrong
}

fn is_number(value: &str) -> bool {
    value.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
        && value.chars().any(|letter| letter.is_ascii_digit())
}

pub(super) fn covering_tests(sheet: &FactSheet, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let mut covers: BTreeMap<&str, Vec<&TestFact>> = BTreeMap::new();
    for test in &sheet.tests {
        covers.entry(&test.symbol).or_default().push(test);
    }
    let all: BTreeSet<&str> = sheet.tests.iter().map(|test| test.test.as_str()).collect();
    draw.shuffled(&covers)
        .into_iter()
        .take(most)
        .map(|(symbol, tests)| {
            let accept: BTreeSet<&str> = tests.iter().map(|test| test.test.as_str()).collect();
            let mut wrong: Vec<String> = draw
                .shuffled(all.difference(&accept))
                .into_iter()
                .map(|&test| test.to_owned())
                .collect();
            let test = tests.first().ok_or("no test")?;
            wrong.extend(draw.shuffled(invented_tests(sheet, &test.test, &all)));
            wrong.truncate(4);
            Ok(Draft {
                kind: ProbeKind::CoveringTest,
                subject: (*symbol).to_owned(),
                stem: format!("What is the name of a test in the diff that uses `{symbol}`?"),
                listing: Vec::new(),
                distractors: wrong,
                source: Some(test.evidence.clone()),
                key: single(&test.test, test.evidence.text.clone()),
                grader: Grader::Exact {
                    accept: accept.into_iter().map(str::to_owned).collect(),
                },
                lessons: Vec::new(),
            })
        })
        .collect()
}

/// Returns invented names in the style of a test: its words, with the last one replaced by a word
/// of another name. For changes with few tests.
fn invented_tests(sheet: &FactSheet, test: &str, all: &BTreeSet<&str>) -> Vec<String> {
    let given: BTreeSet<&str> = sheet
        .symbols
        .iter()
        .map(|symbol| symbol.name.as_str())
        .chain(sheet.other_symbols.iter().map(String::as_str))
        .chain(all.iter().copied())
        .collect();
    let join = |mut words: Vec<String>, last: &str| {
        if test.contains([' ', '_']) || words.len() < 2 {
            words.pop();
            words.push(last.to_owned());
            return words.join(if test.contains(' ') { " " } else { "_" });
        }
        let kept = words
            .pop()
            .map_or(test.len(), |word| test.len() - word.len());
        let first = last.get(..1).unwrap_or_default().to_uppercase();
        format!(
            "{}{first}{}",
            test.get(..kept).unwrap_or_default(),
            last.get(1..).unwrap_or_default()
        )
    };
    let own: Vec<String> = split(test).collect();
    let mut names: BTreeSet<String> = given
        .iter()
        .flat_map(|name| split(name))
        .filter(|word| word.chars().count() > 3 && !own.contains(word))
        .map(|word| join(own.clone(), &word))
        .collect();
    names.retain(|name| !given.contains(name.as_str()));
    names.into_iter().collect()
}
