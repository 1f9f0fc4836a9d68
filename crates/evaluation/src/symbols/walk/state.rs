//! State of the walk through a syntax tree, and the lines of its nodes.

use std::collections::BTreeSet;

use tree_sitter::Node;

use crate::symbols::grammar::Grammar;
use crate::symbols::symbol::{Call, Symbols};

/// A call with its start and end in the text.
pub(super) struct RawCall {
    pub(super) function: usize,
    pub(super) begins: usize,
    pub(super) ends: usize,
    pub(super) call: Call,
}

/// A function around the current node.
pub(super) struct EnclosingFunction {
    pub(super) ends: usize,
    pub(super) definition: Option<usize>,
    /// Number of enclosing `elsewhen` nodes of the function itself.
    pub(super) elsewhen: usize,
}

/// State of the walk. The stacks contain the ends of the nodes around the current one.
pub(super) struct Walk<'a> {
    pub(super) grammar: &'a Grammar,
    pub(super) source: &'a str,
    pub(super) symbols: Symbols,
    pub(super) calls: Vec<RawCall>,
    pub(super) functions: Vec<EnclosingFunction>,
    pub(super) types: Vec<(usize, &'a str)>,
    pub(super) elsewhen: Vec<usize>,
    pub(super) errors: Vec<usize>,
    pub(super) macros: Vec<usize>,
    /// Tests that have no plain name.
    pub(super) hidden: Vec<usize>,
    /// Start of the value of a named function, which is not a closure of its own.
    pub(super) named_value: Option<usize>,
    /// End of an attribute that makes the next function a test.
    pub(super) marked_until: Option<usize>,
    /// Starts of the called names.
    pub(super) callees: BTreeSet<usize>,
}

pub(super) fn row(node: Node<'_>) -> u32 {
    u32::try_from(node.start_position().row).map_or(u32::MAX, |row| row.saturating_add(1))
}

/// Returns the line of the node's last character. A node may end with its line end.
pub(super) fn last_row(node: Node<'_>) -> u32 {
    let end = node.end_position();
    let last = u32::try_from(end.row).map_or(u32::MAX, |row| row.saturating_add(1));
    if end.column == 0 {
        last.saturating_sub(1).max(row(node))
    } else {
        last
    }
}
