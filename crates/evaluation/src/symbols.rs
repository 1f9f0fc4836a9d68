//! The symbols that a source file defines and uses, by tree-sitter, or by text if there is no
//! grammar for the language.
//!
//! This module reads one file at a time and knows nothing of a diff. Its callers decide on the
//! meaning of a name across files.

mod grammar;
mod parsing;
mod pieces;
mod plain;
mod symbol;
mod walk;

pub use symbol::{Call, Constant, Definition, DefinitionKind, Symbols, Test, Use};

/// Reads a source file. Returns `None` if its extension is not of a known language.
pub fn read(path: &str, text: &str) -> Option<Symbols> {
    let (_, ending) = path
        .rsplit_once('/')
        .unwrap_or(("", path))
        .1
        .rsplit_once('.')?;
    match grammar::for_extension(ending) {
        Some(grammar) => parsing::with_stack(text, || walk::read(&grammar, text)),
        None => plain::read(ending, text),
    }
}
