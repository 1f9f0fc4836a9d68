//! The symbols that a source file defines and uses, by tree-sitter, or by text where there is no
//! grammar for the language.
//!
//! Knows one file at a time and nothing of a diff: what a name means across files is decided by
//! whoever asks.

mod grammar;
mod parsing;
mod pieces;
mod plain;
mod walk;

use std::collections::BTreeSet;

/// What a file defines and uses. Lines from 1; every list in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    pub definitions: Vec<Definition>,
    pub constants: Vec<Constant>,
    pub tests: Vec<Test>,
    /// Names used where tests may be that cannot be read, such as in a macro that makes them.
    pub hidden: BTreeSet<String>,
    /// Every identifier outside of comments and strings, also where it is defined.
    pub uses: Vec<Use>,
    /// Names that the file gives to variables, parameters and fields of its own, or declares
    /// without defining them: here they need not mean what they mean elsewhere.
    pub own: BTreeSet<String>,
}

/// What a definition defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefinitionKind {
    Function,
    Type,
}

/// A function, method or type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    pub kind: DefinitionKind,
    /// The line of the name.
    pub line: u32,
    /// First and last line of what stands before the body.
    pub signature: (u32, u32),
    /// The last line of the whole definition.
    pub end: u32,
    /// Names in order, without `self` or a receiver; none where not every one has a plain name.
    pub parameters: Option<Vec<String>>,
    /// As written, whitespace folded.
    pub returns: Option<String>,
    /// Every call of the body that names what it calls, by place in the text.
    pub calls: Vec<Call>,
}

/// A call by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub line: u32,
    /// Place among the file's calls by where they end: of `outer(inner())`, `inner` comes first.
    pub finished: usize,
    /// Whether it stands where the order of the text need not be the order of time: in a closure,
    /// a deferred statement or the head of a loop.
    pub elsewhen: bool,
}

/// A named constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    pub name: String,
    /// As written, a string without its quotes; none where it is neither number nor plain string.
    pub value: Option<String>,
    /// The line of the name.
    pub line: u32,
    /// The last line of the value.
    pub end: u32,
}

/// A test function or block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub name: String,
    /// The line of the name.
    pub line: u32,
    pub end: u32,
}

/// A name where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub name: String,
    pub line: u32,
}

/// Reads a source file; none where its ending does not tell a known language.
pub fn read(path: &str, text: &str) -> Option<Symbols> {
    let (_, ending) = path
        .rsplit_once('/')
        .unwrap_or(("", path))
        .1
        .rsplit_once('.')?;
    match grammar::of(ending) {
        Some(grammar) => parsing::with_stack(text, || walk::read(&grammar, text)),
        None => plain::read(ending, text),
    }
}
