//! The fact sheet of a pull request: all facts that a closed probe may ask about, each with the
//! place in the diff that proves it.

mod definitions;
mod flows;
mod names;
mod places;
mod sections;
mod sheet;
mod uses;

use std::collections::BTreeSet;

pub use sheet::{
    ConstantFact, Evidence, FactSheet, FileFact, FlowFact, HunkFact, SymbolFact, SymbolKind,
    TestFact, UseFact,
};

use crate::facts::names::Names;
use crate::facts::sections::Sections;
use domain::pull_request::PullRequest;

/// Extracts the facts of a pull request. The same input gives the same sheet, byte for byte.
///
/// Every fact can be proved from the diff alone. The text of files outside of the hunks serves only
/// to find ambiguous names, and never becomes a fact.
pub fn fact_sheet(pull_request: &PullRequest) -> FactSheet {
    let sections = Sections::new(pull_request);
    let names = Names::new(&sections);
    let symbols = definitions::symbols(&sections, &names);
    let fact_names: BTreeSet<&str> = symbols.iter().map(|symbol| symbol.name.as_str()).collect();
    FactSheet {
        base: pull_request.base.clone(),
        head: pull_request.head.clone(),
        files: places::files(&sections),
        constants: definitions::constants(&sections, &names),
        tests: uses::tests(&sections, &names, &symbols),
        uses: uses::uses(&sections, &symbols),
        flows: flows::flows(&sections, &names),
        hunks: places::hunks(&sections, &symbols),
        other_paths: other_paths(pull_request),
        other_symbols: names
            .defined()
            .filter(|name| !fact_names.contains(name))
            .map(str::to_owned)
            .collect(),
        symbols,
    }
}

fn other_paths(pull_request: &PullRequest) -> Vec<String> {
    let changed = pull_request.files.iter().flat_map(|file| {
        [Some(file.path.as_str()), file.old_path.as_deref()]
            .into_iter()
            .flatten()
    });
    let dropped = pull_request.dropped.iter().map(|file| file.path.as_str());
    let touched: BTreeSet<&str> = changed.chain(dropped).collect();
    let other: BTreeSet<&String> = pull_request
        .other_paths
        .iter()
        .filter(|path| !touched.contains(path.as_str()))
        .collect();
    other.into_iter().cloned().collect()
}
