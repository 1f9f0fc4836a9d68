//! The fact sheet and the types of its facts.

use domain::pull_request::FileStatus;
use serde::{Deserialize, Serialize};

/// All known facts about a pull request that can be asked. Created by
/// [`fact_sheet`](super::fact_sheet).
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

/// Lines of the diff that prove a fact. Each line is literally in the patch that agents read, apart
/// from its `+`, `-` or space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The file of the lines.
    pub file: String,
    /// First and last line in the head commit. For a removed line, in the base commit.
    pub lines: (u32, u32),
    /// The commit to which the line numbers refer.
    pub commit: String,
    /// The trimmed lines. None is empty.
    pub text: Vec<String>,
}

/// A changed file. Its evidence is its `diff --git` line and the lines that show its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    pub path: String,
    pub old_path: Option<String>,
    pub status: FileStatus,
    pub evidence: Evidence,
}

/// Kind of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolKind {
    Function,
    Type,
}

/// A function or type whose definition line is in the diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolFact {
    pub name: String,
    pub kind: SymbolKind,
    pub file: String,
    /// Parameter names in order, without `self` or a receiver. `None` if the grammar does not
    /// provide them.
    pub parameters: Option<Vec<String>>,
    /// The return type as written, with folded whitespace. `None` if none is written.
    pub returns: Option<String>,
    pub evidence: Evidence,
}

/// A constant with a literal value in the diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstantFact {
    pub name: String,
    /// The value as written. A string has no quotes.
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

/// A hunk, with the symbols that only it defines and the names that only it uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HunkFact {
    pub file: String,
    /// The place of the hunk as agents read it: `@@ -1,4 +1,9 @@`.
    pub header: String,
    /// Symbols whose definition line is in this hunk and in no other.
    pub defines: Vec<String>,
    /// Names that the code of this hunk calls, or otherwise uses, and no other hunk contains, by
    /// position: each name with its line.
    #[serde(default)]
    pub does: Vec<(String, String)>,
    pub adds: u32,
    pub removes: u32,
    /// The hunk header and the definition lines.
    pub evidence: Evidence,
}
