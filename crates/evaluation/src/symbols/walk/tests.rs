//! Functions and blocks that are tests.

use tree_sitter::Node;

use crate::symbols::grammar::Tests;
use crate::symbols::pieces::{callee, literal, named, text};
use crate::symbols::symbol::Test;
use crate::symbols::walk::state::{Walk, last_row, row};

/// Whether a mark makes a function a test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    Yes,
    No,
}

impl Walk<'_> {
    pub(super) fn attribute(&mut self, node: Node<'_>) {
        let Some(attribute) = named(node).into_iter().next() else {
            return;
        };
        let path = named(attribute).into_iter().next();
        let last = path.and_then(callee).map(|name| text(name, self.source));
        if self.grammar.tests == Tests::Attribute && last == Some("test") {
            self.marked_until = Some(node.end_byte());
        }
    }

    pub(super) fn is_test(&self, node: Node<'_>, name: &str, marked: Option<usize>) -> Marked {
        let yes = match self.grammar.tests {
            Tests::Attribute => marked
                .and_then(|end| self.source.get(end..node.start_byte()))
                .is_some_and(|between| {
                    // Only further attributes and comments may be between.
                    between.lines().all(|line| {
                        let line = line.trim();
                        line.is_empty() || line.starts_with('#') || line.starts_with("//")
                    })
                }),
            Tests::Annotation => named(node)
                .into_iter()
                .filter(|child| child.kind() == "modifiers")
                .flat_map(named)
                .filter_map(|annotation| annotation.child_by_field_name("name"))
                .any(|name| {
                    matches!(
                        text(name, self.source),
                        "Test" | "ParameterizedTest" | "RepeatedTest"
                    )
                }),
            Tests::Name { start, .. } => name.len() > start.len() && name.starts_with(start),
            Tests::Call(_) => false,
        };
        if yes { Marked::Yes } else { Marked::No }
    }

    /// `TEST(Suite, Name) { … }` looks like a function named `TEST`.
    pub(super) fn macro_test(
        &mut self,
        name: Node<'_>,
        list: Option<Node<'_>>,
        outer: Node<'_>,
    ) -> bool {
        let Tests::Name { macros, .. } = self.grammar.tests else {
            return false;
        };
        if !macros.contains(&text(name, self.source)) {
            return false;
        }
        let arguments: Vec<&str> = list
            .map(named)
            .into_iter()
            .flatten()
            .map(|argument| text(argument, self.source))
            .collect();
        if let [suite, case] = arguments.as_slice() {
            self.symbols.tests.push(Test {
                name: format!("{suite}.{case}"),
                line: row(name),
                end: last_row(outer),
            });
        }
        true
    }

    pub(super) fn test_call(&mut self, node: Node<'_>, function: Node<'_>) {
        let Tests::Call(names) = self.grammar.tests else {
            return;
        };
        let called = text(function, self.source);
        let first = called.split(['.', '(', '`']).next().unwrap_or_default();
        if !names.contains(&first) {
            return;
        }
        let plain = ["", ".only", ".skip"].contains(&&called[first.len()..]);
        let arguments = node
            .child_by_field_name("arguments")
            .map(named)
            .unwrap_or_default();
        let test = arguments.first().filter(|_| plain && arguments.len() > 1);
        let test = test.filter(|name| matches!(name.kind(), "string" | "template_string"));
        match test.and_then(|name| Some((row(*name), literal(text(*name, self.source))?))) {
            Some((line, name)) => self.symbols.tests.push(Test {
                name,
                line,
                end: last_row(node),
            }),
            // Calls such as `it.each(rows)("…", …)`.
            None => self.hidden.push(node.end_byte()),
        }
    }

    /// Returns whether tests may be hidden from the parser. `TEST_CASE("…") { … }` is not valid C++
    /// before the preprocessor, and is parsed arbitrarily.
    pub(super) fn has_unread_tests(&self) -> bool {
        match self.grammar.tests {
            Tests::Name { macros, .. } => !macros.is_empty() && self.source.contains("TEST_CASE"),
            Tests::Attribute | Tests::Annotation | Tests::Call(_) => false,
        }
    }
}
