//! Facts about the use of the symbols of the diff.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::names::{Names, is_rare};
use crate::facts::sections::{Section, Sections};
use crate::facts::sheet::{Evidence, SymbolFact, TestFact, UseFact};

/// Returns every symbol that other changed files use, by name.
pub(super) fn uses(sections: &Sections<'_>, symbols: &[SymbolFact]) -> Vec<UseFact> {
    let lines: Vec<BTreeMap<&str, Vec<u32>>> = sections.all.iter().map(lines_by_name).collect();
    let rare = symbols.iter().filter(|symbol| is_rare(&symbol.name));
    let facts = rare.filter_map(|symbol| {
        let mut used_in = Vec::new();
        for (section, lines) in sections.all.iter().zip(&lines) {
            if section.file.path == symbol.file {
                continue;
            }
            match used(section, lines, &symbol.name, sections.head) {
                Used::No => {}
                Used::Shown(evidence) => used_in.push((section.file.path.clone(), evidence)),
                Used::Unclear => return None,
            }
        }
        (!used_in.is_empty()).then(|| UseFact {
            symbol: symbol.name.clone(),
            defined_in: symbol.file.clone(),
            used_in,
        })
    });
    facts.collect()
}

/// Whether a file uses a symbol of another file.
enum Used {
    No,
    Shown(Evidence),
    /// Two readers of the diff could disagree.
    Unclear,
}

fn used(section: &Section<'_>, lines: &BTreeMap<&str, Vec<u32>>, name: &str, head: &str) -> Used {
    let Some(lines) = lines.get(name) else {
        return if section.unclear_words.contains(name) {
            Used::Unclear
        } else {
            Used::No
        };
    };
    if section.symbols.own.contains(name) {
        return Used::Unclear;
    }
    let shown = lines.iter().find(|line| section.shows(**line));
    match shown.and_then(|line| section.evidence(head, &[*line])) {
        Some(evidence) => Used::Shown(evidence),
        None => Used::Unclear,
    }
}

/// Returns the lines on which a file uses each name.
fn lines_by_name<'a>(section: &'a Section<'_>) -> BTreeMap<&'a str, Vec<u32>> {
    let mut lines: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for used in &section.symbols.uses {
        lines.entry(&used.name).or_default().push(used.line);
    }
    lines
}

/// Returns every test that uses a symbol of the sheet, by symbol and test.
///
/// A symbol is left out if a test that the diff does not show completely uses it: a reader of the
/// file would be right to name that test.
pub(super) fn tests(
    sections: &Sections<'_>,
    names: &Names<'_>,
    symbols: &[SymbolFact],
) -> Vec<TestFact> {
    let defined: BTreeMap<&str, &str> = symbols
        .iter()
        .map(|symbol| (symbol.name.as_str(), symbol.file.as_str()))
        .collect();
    let mut facts = BTreeMap::new();
    let mut unclear = BTreeSet::new();
    for section in &sections.all {
        let hidden = section.symbols.hidden.iter().map(String::as_str);
        unclear.extend(hidden);
        let tests = &section.symbols.tests;
        let is_test: BTreeSet<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        let mut uses: Vec<(u32, &str)> = section
            .symbols
            .uses
            .iter()
            .map(|used| (used.line, used.name.as_str()))
            .collect();
        uses.sort_by_key(|(line, _)| *line);
        for test in tests {
            let from = uses.partition_point(|(line, _)| *line < test.line);
            let inside = uses[from..]
                .iter()
                .take_while(|(line, _)| *line <= test.end);
            for &(line, name) in inside {
                let Some(&file) = defined.get(name).filter(|_| !is_test.contains(name)) else {
                    continue;
                };
                if file != section.file.path && section.symbols.own.contains(name) {
                    unclear.insert(name);
                    continue;
                }
                let mut lines = vec![test.line, line];
                lines.dedup();
                let evidence = section
                    .evidence(sections.head, &lines)
                    .filter(|_| names.one_test(&test.name));
                let fact = facts.entry((name, test.name.as_str(), file_of(section)));
                match evidence {
                    Some(evidence) => {
                        let fact = fact.or_insert(None);
                        fact.get_or_insert_with(|| TestFact {
                            test: test.name.clone(),
                            symbol: name.to_owned(),
                            file: section.file.path.clone(),
                            evidence,
                        });
                    }
                    None => {
                        fact.or_insert(None);
                    }
                }
            }
        }
    }
    for ((symbol, _, _), fact) in &facts {
        if fact.is_none() {
            unclear.insert(*symbol);
        }
    }
    facts
        .into_values()
        .flatten()
        .filter(|fact| !unclear.contains(fact.symbol.as_str()))
        .collect()
}

fn file_of<'a>(section: &Section<'a>) -> &'a str {
    &section.file.path
}
