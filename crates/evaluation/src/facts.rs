//! The fact sheet of a pull request: everything that a closed probe may ask about, each fact with
//! the place in the diff that proves it.

mod definitions;
mod flows;
mod names;
mod places;
mod sections;
mod uses;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::facts::names::Names;
use crate::facts::sections::Sections;
use domain::pull_request::{FileStatus, PullRequest};

/// Everything known about the pull request that can be asked. Made by [`fact_sheet`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FactSheet {
    pub base: String,
    pub head: String,
    pub files: Vec<FileFact>,
    pub symbols: Vec<SymbolFact>,
    pub constants: Vec<ConstantFact>,
    pub tests: Vec<TestFact>,
    pub uses: Vec<UseFact>,
    pub flows: Vec<FlowFact>,
    pub hunks: Vec<HunkFact>,
    /// Paths that the change does not touch: distractors.
    pub other_paths: Vec<String>,
    /// Names defined in the used files that are not among `symbols`: distractors.
    pub other_symbols: Vec<String>,
}

/// Lines of the diff that prove a fact. Every line stands literally, without its `+`, `-` or
/// space, in the patch that agents read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The file that the lines are in.
    pub file: String,
    /// First and last line, in the head commit (in the base commit for a removed line).
    pub lines: (u32, u32),
    /// The commit that the line numbers hold for.
    pub commit: String,
    /// The lines themselves, trimmed, none empty.
    pub text: Vec<String>,
}

/// A changed file. Its evidence is its `diff --git` line and the lines that tell its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    pub path: String,
    pub old_path: Option<String>,
    pub status: FileStatus,
    pub evidence: Evidence,
}

/// What a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolKind {
    Function,
    Type,
}

/// A function or type whose definition line stands in the diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolFact {
    pub name: String,
    pub kind: SymbolKind,
    pub file: String,
    /// Parameter names in order, without `self` or a receiver; none where the grammar does not tell.
    pub parameters: Option<Vec<String>>,
    /// The return type as written, whitespace folded; none where none is written.
    pub returns: Option<String>,
    pub evidence: Evidence,
}

/// A constant with a literal value in the diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstantFact {
    pub name: String,
    /// As written, without quotes for a string.
    pub value: String,
    pub file: String,
    pub evidence: Evidence,
}

/// A test function that uses a symbol of the sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestFact {
    pub test: String,
    pub symbol: String,
    pub file: String,
    /// The test's definition line and a line of it that uses the symbol.
    pub evidence: Evidence,
}

/// A symbol of the sheet and every changed file, other than its own, whose diff uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseFact {
    pub symbol: String,
    pub defined_in: String,
    /// The files, by path, each with a line that uses the symbol.
    pub used_in: Vec<(String, Evidence)>,
}

/// A function of the diff and the symbols that its body calls, in order of first call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowFact {
    pub function: String,
    pub file: String,
    /// Three or more different names.
    pub steps: Vec<String>,
    /// The function's definition line and one line per step, in order.
    pub evidence: Evidence,
}

/// A hunk, the symbols that only it defines and what only it works with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HunkFact {
    pub file: String,
    /// The hunk's place as agents read it: `@@ -1,4 +1,9 @@`.
    pub header: String,
    /// Symbols whose definition line stands in this hunk and in no other.
    pub defines: Vec<String>,
    /// What the code of this hunk calls, or else uses, and no other hunk speaks of, by place: the
    /// name, and the line where it stands.
    #[serde(default)]
    pub does: Vec<(String, String)>,
    pub adds: u32,
    pub removes: u32,
    /// The hunk header and the definition lines.
    pub evidence: Evidence,
}

/// Reads the facts out of a pull request. The same input gives the same sheet, byte for byte.
///
/// Every fact can be proved from the diff alone: what is only in the files, outside of the hunks,
/// is used to find out which names mean several things, and never told.
pub fn fact_sheet(pull_request: &PullRequest) -> FactSheet {
    let sections = Sections::new(pull_request);
    let names = Names::new(&sections);
    let symbols = definitions::symbols(&sections, &names);
    let told: BTreeSet<&str> = symbols.iter().map(|symbol| symbol.name.as_str()).collect();
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
            .filter(|name| !told.contains(name))
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
