//! Constants with their written values.

use tree_sitter::Node;

use crate::symbols::grammar::Constants;
use crate::symbols::pieces::{given_name, literal, named, text};
use crate::symbols::symbol::Constant;
use crate::symbols::walk::state::{Walk, last_row, row};

impl Walk<'_> {
    pub(super) fn constant(&mut self, statement: Node<'_>, constants: &Constants) {
        let items = match constants.item {
            None => vec![statement],
            Some(kind) => named(statement)
                .into_iter()
                .filter(|child| child.kind() == kind)
                .collect(),
        };
        for item in items {
            let before = self.source.get(statement.start_byte()..item.start_byte());
            let mut words = before.unwrap_or_default().split_whitespace();
            let required = match constants.words {
                [] => true,
                ["static", "final"] => {
                    let words: Vec<&str> = words.collect();
                    words.contains(&"static") && words.contains(&"final")
                }
                any => words.any(|word| any.contains(&word)),
            };
            let mut cursor = item.walk();
            let names: Vec<Node<'_>> = item
                .children_by_field_name(constants.name, &mut cursor)
                .filter_map(given_name)
                .collect();
            let [name] = names.as_slice() else {
                continue;
            };
            let written = text(*name, self.source);
            let capitals = written.chars().any(char::is_alphabetic)
                && !written.chars().any(char::is_lowercase);
            let Some(value) = item.child_by_field_name(constants.value) else {
                continue;
            };
            if required && (capitals || !constants.capitals) {
                self.symbols.constants.push(Constant {
                    name: written.to_owned(),
                    value: literal(text(value, self.source)).filter(|_| !item.has_error()),
                    line: row(*name),
                    end: last_row(value),
                });
            }
        }
    }
}
