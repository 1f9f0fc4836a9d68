//! Long-range understanding (LRU): facts that only several places of the diff together tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::Draw;
use crate::facts::{FactSheet, UseFact};
use crate::probe::{Combine, Grader, Part, ProbeKind};
use crate::probes::candidate::{Candidate, Draft, offer, several, single};
use crate::probes::places::{Places, ambiguous_names, wrong_sets};

/// More steps than this are too many for one question.
const MOST_STEPS: usize = 6;

/// More files than this are too many for one question.
const LARGEST_SET: usize = 12;

/// What may be asked, a list per kind, each in a drawn order.
pub(super) fn candidates(sheet: &FactSheet, seed: u64, most: usize) -> Vec<Vec<Candidate>> {
    let places = Places::new(sheet);
    let draw = |kind: &str| Draw::new(seed, &format!("LRU/{kind}"));
    vec![
        users(sheet, &places, &mut draw("symbol_users"), most),
        flows(sheet, &mut draw("flow_order"), most),
        together(sheet, &places, &mut draw("change_together"), most),
        hunks(sheet, &places, &mut draw("behaviour_hunk"), most),
    ]
}

fn users(sheet: &FactSheet, places: &Places<'_>, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let ambiguous = ambiguous_names(sheet);
    draw.shuffled(&sheet.uses)
        .into_iter()
        .take(most)
        .map(|fact| {
            let items: Vec<String> = fact.used_in.iter().map(|(path, _)| path.clone()).collect();
            if ambiguous.contains(fact.symbol.as_str()) {
                return Err("the name means several things");
            }
            if items.len() > LARGEST_SET {
                return Err("too many items for one question");
            }
            let pool = places.wrong(draw, &concerned(fact), items.len() + 2);
            let parts = fact
                .used_in
                .iter()
                .map(|(path, line)| Part {
                    evidence: places.located(path, line),
                    value: path.clone(),
                })
                .collect();
            Ok(Draft {
                kind: ProbeKind::SymbolUsers,
                subject: fact.symbol.clone(),
                stem: format!(
                    "In which files, other than the one that defines it, does the diff show a use \
                     of `{}`? Name every one of them by its path.",
                    fact.symbol
                ),
                listing: Vec::new(),
                distractors: wrong_sets(&pool, items.len()),
                source: fact.used_in.first().map(|(_, line)| line.clone()),
                key: several(Combine::Set, parts),
                grader: Grader::Set { items },
                lessons: Vec::new(),
            })
        })
        .collect()
}

/// The file that defines a symbol and those that use it.
fn concerned(fact: &UseFact) -> BTreeSet<&str> {
    let users = fact.used_in.iter().map(|(path, _)| path.as_str());
    users.chain([fact.defined_in.as_str()]).collect()
}

fn flows(sheet: &FactSheet, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let mut namesakes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut called: BTreeMap<&str, usize> = BTreeMap::new();
    for flow in &sheet.flows {
        *namesakes.entry((&flow.file, &flow.function)).or_default() += 1;
        *called.entry(&flow.function).or_default() += 1;
    }
    let ambiguous = ambiguous_names(sheet);
    draw.shuffled(&sheet.flows)
        .into_iter()
        .take(most)
        .map(|flow| {
            if namesakes.get(&(flow.file.as_str(), flow.function.as_str())) != Some(&1) {
                return Err("the name means several things");
            }
            let steps: Vec<String> = flow.steps.iter().take(MOST_STEPS).cloned().collect();
            if steps.len() < 3 {
                return Err("too few steps");
            }
            let text = &flow.evidence.text;
            let line_each = text.len() == flow.steps.len() + 1;
            let parts = steps
                .iter()
                .enumerate()
                .map(|(at, step)| Part {
                    evidence: if line_each {
                        vec![text[0].clone(), text[at + 1].clone()]
                    } else {
                        text.clone()
                    },
                    value: step.clone(),
                })
                .collect();
            // Neither the order nor its reverse, so that no way to read the list earns more than
            // another. With three steps or more there are others.
            let backwards: Vec<String> = steps.iter().rev().cloned().collect();
            let mut shown = draw.shuffled(steps.clone());
            while shown == steps || shown == backwards {
                shown = draw.shuffled(shown);
            }
            let mut wrong = BTreeSet::from([shown.join(" -> ")]);
            let mut other = steps.clone();
            for _ in 1..steps.len() {
                other.rotate_left(1);
                wrong.insert(other.join(" -> "));
            }
            // A question names no file without need: it would tell that the change touches it.
            let clear = called.get(flow.function.as_str()) == Some(&1)
                && !ambiguous.contains(flow.function.as_str());
            let asked = if clear {
                format!("`{}`", flow.function)
            } else {
                format!("`{}` in `{}`", flow.function, flow.file)
            };
            Ok(Draft {
                kind: ProbeKind::FlowOrder,
                subject: format!("{} {}", flow.file, flow.function),
                stem: format!(
                    "After the change the body of {asked} calls the following. In which order does \
                     it first call each of them?"
                ),
                listing: shown.iter().map(|step| format!("- {step}")).collect(),
                distractors: draw.shuffled(wrong).into_iter().take(3).collect(),
                source: Some(flow.evidence.clone()),
                key: several(Combine::Sequence, parts),
                grader: Grader::Sequence { items: steps },
                lessons: Vec::new(),
            })
        })
        .collect()
}

fn together(
    sheet: &FactSheet,
    places: &Places<'_>,
    draw: &mut Draw,
    most: usize,
) -> Vec<Candidate> {
    let ambiguous = ambiguous_names(sheet);
    draw.shuffled(&sheet.uses)
        .into_iter()
        .take(most)
        .map(|fact| {
            if ambiguous.contains(fact.symbol.as_str()) {
                return Err("the name means several things");
            }
            let (right, line) = draw.pick(&fact.used_in).ok_or("nothing uses the symbol")?;
            let wrong = places.alike(draw, right, &concerned(fact), &fact.symbol, 3);
            let mut draft = Draft {
                kind: ProbeKind::ChangeTogether,
                subject: fact.symbol.clone(),
                stem: format!(
                    "If `{}` got another signature, which of these files would have to change \
                     with it, because the diff shows a use of it there?",
                    fact.symbol
                ),
                listing: Vec::new(),
                grader: Grader::Exact { accept: Vec::new() },
                distractors: Vec::new(),
                source: Some(line.clone()),
                key: single(right, places.located(right, line)),
                lessons: Vec::new(),
            };
            offer(&mut draft, draw, right, wrong);
            Ok(draft)
        })
        .collect()
}

fn hunks(sheet: &FactSheet, places: &Places<'_>, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let ambiguous = ambiguous_names(sheet);
    let place = |at: usize| format!("{} {}", sheet.hunks[at].file, sheet.hunks[at].header);
    let defining = (0..sheet.hunks.len()).filter(|&at| !sheet.hunks[at].defines.is_empty());
    draw.shuffled(defining)
        .into_iter()
        .take(most)
        .map(|at| {
            let hunk = &sheet.hunks[at];
            let clear: Vec<&String> = hunk
                .defines
                .iter()
                .filter(|name| !ambiguous.contains(name.as_str()))
                .collect();
            let symbol = *draw.pick(&clear).ok_or("the name means several things")?;
            // Hunks of the same file first: the path alone shall not give the answer away.
            let mut others = draw.shuffled((0..sheet.hunks.len()).filter(|&other| other != at));
            others.sort_by_key(|&other| {
                let other = &sheet.hunks[other];
                (other.file != hunk.file, other.defines.is_empty())
            });
            let wrong: BTreeSet<String> = others.into_iter().take(3).map(place).collect();
            let mut lines = hunk.evidence.clone();
            lines
                .text
                .retain(|line| line.starts_with("@@") || line.contains(symbol.as_str()));
            if lines.text.iter().all(|line| line.starts_with("@@")) {
                return Err("no line of the diff proves the answer");
            }
            let mut draft = Draft {
                kind: ProbeKind::BehaviourHunk,
                subject: symbol.clone(),
                stem: format!(
                    "In which hunk of the diff does the line stand that defines `{symbol}`?"
                ),
                listing: Vec::new(),
                grader: Grader::Exact { accept: Vec::new() },
                distractors: Vec::new(),
                source: Some(hunk.evidence.clone()),
                key: single(place(at), places.located(&hunk.file, &lines)),
                lessons: Vec::new(),
            };
            offer(&mut draft, draw, &place(at), wrong.into_iter().collect());
            Ok(draft)
        })
        .collect()
}
