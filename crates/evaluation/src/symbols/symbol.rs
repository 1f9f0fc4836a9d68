//! The symbols of a source file.

use std::collections::BTreeSet;

/// Definitions and uses of a file. Lines are counted from 1, and every list is in the order of the
/// text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    pub definitions: Vec<Definition>,
    pub constants: Vec<Constant>,
    pub tests: Vec<Test>,
    /// Names used in places that may be tests but cannot be parsed, such as in a macro that
    /// generates them.
    pub hidden: BTreeSet<String>,
    /// Every identifier outside of comments and strings, including definitions.
    pub uses: Vec<Use>,
    /// Names of the file's own variables, parameters and fields, and names that it declares without
    /// defining them. Here they may have another meaning.
    pub own: BTreeSet<String>,
}

/// Kind of a definition.
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
    /// First and last line of the text before the body.
    pub signature: (u32, u32),
    /// The last line of the whole definition.
    pub end: u32,
    /// Names in order, without `self` or a receiver. `None` if one has no plain name.
    pub parameters: Option<Vec<String>>,
    /// As written, with folded whitespace.
    pub returns: Option<String>,
    /// Every call of the body with a name, by position in the text.
    pub calls: Vec<Call>,
}

/// A call by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub line: u32,
    /// Position among the file's calls by their ends: in `outer(inner())`, `inner` comes first.
    pub finished: usize,
    /// Whether the order of the text may differ from the order of execution here: in a closure, a
    /// deferred statement or the head of a loop.
    pub elsewhen: bool,
}

/// A named constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    pub name: String,
    /// As written, a string without its quotes. `None` if it is neither a number nor a plain
    /// string.
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

/// A name at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub name: String,
    pub line: u32,
}
