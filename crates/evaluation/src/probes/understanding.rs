//! Long-range understanding (LRU): facts that follow only from several places of the diff together.

mod ways;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::ways::Way;
use crate::draw::Draw;
use crate::facts::{FactSheet, FlowFact, UseFact};
use crate::probe::{Combine, Grader, Part, ProbeKind};
use crate::probes::candidate::{Candidate, Draft, offer, several, single};
use crate::probes::places::{Places, ambiguous_names, wrong_sets};

/// Maximum number of files in one question.
const LARGEST_SET: usize = 12;

/// Maximum number of names that describe a hunk.
const MOST_NAMES: usize = 2;

/// Returns the candidates, a list per kind, each in a drawn order.
pub(super) fn candidates(sheet: &FactSheet, seed: u64, most: usize) -> Vec<Vec<Candidate>> {
    let places = Places::new(sheet, seed);
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

/// Returns the file that defines a symbol and those that use it.
fn concerned(fact: &UseFact) -> BTreeSet<&str> {
    let users = fact.used_in.iter().map(|(path, _)| path.as_str());
    users.chain([fact.defined_in.as_str()]).collect()
}

/// Flows through several files come first.
fn flows(sheet: &FactSheet, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let mut namesakes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut called: BTreeMap<&str, usize> = BTreeMap::new();
    for flow in &sheet.flows {
        *namesakes.entry((&flow.file, &flow.function)).or_default() += 1;
        *called.entry(&flow.function).or_default() += 1;
    }
    let ambiguous = ambiguous_names(sheet);
    let mut ways: Vec<(&FlowFact, Way)> = draw
        .shuffled(&sheet.flows)
        .into_iter()
        .map(|flow| (flow, Way::for_flow(sheet, flow)))
        .collect();
    ways.sort_by_key(|(_, way)| way.through.is_none());
    ways.truncate(most);
    ways.into_iter()
        .map(|(flow, way)| {
            if namesakes.get(&(flow.file.as_str(), flow.function.as_str())) != Some(&1) {
                return Err("the name means several things");
            }
            if way.steps.len() < 3 {
                return Err("too few steps");
            }
            let steps = way.names();
            // Neither the order nor its reverse, so that no way to read the list earns more than
            // another. With three or more steps there are others.
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
            // A question names a file only if needed, because naming it reveals that the change
            // touches it.
            let clear = called.get(flow.function.as_str()) == Some(&1)
                && !ambiguous.contains(flow.function.as_str());
            let asked = if clear {
                format!("`{}`", flow.function)
            } else {
                format!("`{}` in `{}`", flow.function, flow.file)
            };
            let stem = match &way.through {
                None => format!(
                    "After the change the body of {asked} calls the following. In which order does \
                     it first call each of them?"
                ),
                Some(through) => format!(
                    "Read the body of {asked} after the change, and where it calls `{through}`, \
                     which another file defines, go on with that body before you return. In which \
                     order do you first come to these calls?"
                ),
            };
            Ok(Draft {
                kind: ProbeKind::FlowOrder,
                subject: format!("{} {}", flow.file, flow.function),
                stem,
                listing: shown.iter().map(|step| format!("- {step}")).collect(),
                distractors: draw.shuffled(wrong).into_iter().take(3).collect(),
                source: Some(flow.evidence.clone()),
                key: several(Combine::Sequence, way.steps),
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

/// Beginning of the question for a hunk.
pub(super) const ASKS_HUNK: &str = "Which hunk of the diff holds the code that works with";

fn hunks(sheet: &FactSheet, places: &Places<'_>, draw: &mut Draw, most: usize) -> Vec<Candidate> {
    let place = |at: usize| format!("{} {}", sheet.hunks[at].file, sheet.hunks[at].header);
    let telling = (0..sheet.hunks.len()).filter(|&at| !sheet.hunks[at].does.is_empty());
    draw.shuffled(telling)
        .into_iter()
        .take(most)
        .map(|at| {
            let hunk = &sheet.hunks[at];
            // The names that the code uses describe it, not a name that it defines.
            let does = &hunk.does[..hunk.does.len().min(MOST_NAMES)];
            let names: Vec<String> = does.iter().map(|(name, _)| format!("`{name}`")).collect();
            // Hunks of the same file come first: the path alone must not reveal the answer.
            let mut others = draw.shuffled((0..sheet.hunks.len()).filter(|&other| other != at));
            others.sort_by_key(|&other| {
                let other = &sheet.hunks[other];
                (other.file != hunk.file, other.does.is_empty())
            });
            let nowhere = places.hunk_elsewhere(draw, hunk);
            let real = 3 - usize::from(nowhere.is_some());
            let wrong: BTreeSet<String> = others
                .into_iter()
                .take(real)
                .map(place)
                .chain(nowhere)
                .collect();
            let mut lines = hunk.evidence.clone();
            lines.text.retain(|line| line.starts_with("@@"));
            for (_, line) in does {
                if !lines.text.contains(line) {
                    lines.text.push(line.clone());
                }
            }
            let mut draft = Draft {
                kind: ProbeKind::BehaviourHunk,
                subject: names.join(" "),
                stem: format!("{ASKS_HUNK} {}?", names.join(" and ")),
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
