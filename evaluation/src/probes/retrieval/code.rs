//! Accurate retrieval (AR): what functions take and return, what constants hold, which tests there
//! are.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::Draw;
use crate::facts::{ConstantFact, FactSheet, SymbolFact, TestFact};
use crate::probe::{Grader, ProbeKind};
use crate::probes::candidate::{Candidate, Draft, single};
use crate::probes::places::{Places, ambiguous_names};

pub(super) fn signatures(sheet: &FactSheet, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let ambiguous = ambiguous_names(sheet);
    let tells = |symbol: &&SymbolFact| symbol.returns.is_some() || parameters(symbol).is_some();
    draw.shuffled(sheet.symbols.iter().filter(tells))
        .into_iter()
        .take(most)
        .map(|symbol| {
            if ambiguous.contains(symbol.name.as_str()) {
                return Err("the name means several things");
            }
            let others = || {
                sheet
                    .symbols
                    .iter()
                    .filter(|other| other.name != symbol.name)
            };
            let (asked, answer, accept, wrong) = match (&symbol.returns, parameters(symbol)) {
                (Some(returns), names) if names.is_none() || draw.below(2) == 0 => {
                    let wrong = others().filter_map(|other| other.returns.clone()).collect();
                    (
                        "What is the return type of",
                        returns.clone(),
                        vec![returns.clone(), format!("-> {returns}")],
                        wrong,
                    )
                }
                (_, Some(names)) => {
                    let listed = names.join(", ");
                    let mut accept = vec![listed.clone(), format!("({listed})")];
                    if let [first, second] = names {
                        accept.push(format!("{first} and {second}"));
                    }
                    let wrong = wrong_parameters(names, others().filter_map(parameters));
                    let asked =
                        "What are the names, in order and without types, of the parameters of";
                    (asked, listed, accept, wrong)
                }
                (_, None) => return Err("the signature is not told"),
            };
            let wrong: BTreeSet<String> = wrong;
            Ok(Draft {
                kind: ProbeKind::SymbolSignature,
                subject: symbol.name.clone(),
                stem: format!("{asked} the function `{}` after the change?", symbol.name),
                listing: Vec::new(),
                grader: Grader::Exact { accept },
                distractors: draw.shuffled(wrong).into_iter().take(4).collect(),
                source: Some(symbol.evidence.clone()),
                key: single(answer, symbol.evidence.text.clone()),
                lessons: Vec::new(),
            })
        })
        .collect()
}

/// The parameters of other functions, and these in another order or number.
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
            let namesakes = || sheet.constants.iter().filter(|other| other.name == *name);
            if namesakes().any(|other| other.file == *file && other.value != *value) {
                return Err("the name means several things");
            }
            if ["true", "false", "none", "null", "nil", "undefined"]
                .contains(&value.to_lowercase().as_str())
            {
                return Err("too few plausible wrong answers");
            }
            let evidence_text = if namesakes().count() > 1 {
                places.located(file, evidence)
            } else {
                evidence.text.clone()
            };
            let mut accept = vec![value.clone()];
            let plain = value.replace('_', "");
            if is_number(value) && plain != *value {
                accept.push(plain);
            }
            Ok(Draft {
                kind: ProbeKind::ConstantValue,
                subject: format!("{file} {name}"),
                stem: format!(
                    "Which literal value does `{name}` in `{file}` have after the change?"
                ),
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

/// Values of other constants, those of the same sort first; then numbers near a number.
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
            let names: Vec<&String> = sheet.symbols.iter().map(|symbol| &symbol.name).collect();
            let invented = names
                .iter()
                .chain(&[&(*symbol).to_owned()])
                .map(|name| {
                    format!(
                        "test_{}_{}",
                        name.to_lowercase(),
                        ["default", "empty", "again"][draw.below(3)]
                    )
                })
                .filter(|name| !all.contains(name.as_str()))
                .collect::<Vec<_>>();
            wrong.extend(draw.shuffled(invented));
            wrong.truncate(4);
            let test = tests.first().ok_or("no test")?;
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
