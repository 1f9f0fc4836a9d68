//! Facts about definitions in the diff.

use crate::facts::names::Names;
use crate::facts::sections::Sections;
use crate::facts::sheet::{ConstantFact, SymbolFact, SymbolKind};
use crate::symbols::DefinitionKind;

/// Returns the functions and types with one meaning whose whole signature is in the diff, by name.
pub(super) fn symbols(sections: &Sections<'_>, names: &Names<'_>) -> Vec<SymbolFact> {
    let mut facts = Vec::new();
    for section in &sections.all {
        for definition in &section.symbols.definitions {
            if !names.one_symbol(&definition.name) || !section.shows(definition.line) {
                continue;
            }
            let (first, last) = definition.signature;
            // A signature of several pages was misread.
            if last.saturating_sub(first) > 60 {
                continue;
            }
            let lines: Vec<u32> = (first..=last).collect();
            let Some(evidence) = section.evidence(sections.head, &lines) else {
                continue;
            };
            facts.push(SymbolFact {
                name: definition.name.clone(),
                kind: match definition.kind {
                    DefinitionKind::Function => SymbolKind::Function,
                    DefinitionKind::Type => SymbolKind::Type,
                },
                file: section.file.path.clone(),
                parameters: definition.parameters.clone(),
                returns: definition.returns.clone(),
                evidence,
            });
        }
    }
    facts.sort_by(|one, other| one.name.cmp(&other.name));
    facts
}

/// Returns the constants with one meaning and a value on their line, by name.
pub(super) fn constants(sections: &Sections<'_>, names: &Names<'_>) -> Vec<ConstantFact> {
    let mut facts = Vec::new();
    for section in &sections.all {
        for constant in &section.symbols.constants {
            let Some(value) = &constant.value else {
                continue;
            };
            if !names.one_constant(&constant.name) || constant.line != constant.end {
                continue;
            }
            if let Some(evidence) = section.evidence(sections.head, &[constant.line]) {
                facts.push(ConstantFact {
                    name: constant.name.clone(),
                    value: value.clone(),
                    file: section.file.path.clone(),
                    evidence,
                });
            }
        }
    }
    facts.sort_by(|one, other| one.name.cmp(&other.name));
    facts
}
