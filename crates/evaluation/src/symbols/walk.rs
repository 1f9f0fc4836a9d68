//! The walk over a syntax tree, the same for every language.
//!
//! It is one loop with its own stacks, because a file can nest deeper than the program's stack.

mod constants;
mod state;
mod tests;

use std::collections::BTreeSet;

use tree_sitter::{Node, TreeCursor};

use crate::symbols::grammar::Grammar;
use crate::symbols::parsing;
use crate::symbols::pieces::{
    callee, function_declarator, given_names, is_name, named, parameters, returns, text,
};
use crate::symbols::symbol::{Call, Definition, DefinitionKind, Symbols, Test, Use};
use crate::symbols::walk::state::{EnclosingFunction, RawCall, Walk, last_row, row};
use crate::symbols::walk::tests::Marked;

/// Reads a file. Returns `None` if the parser gives up.
pub(super) fn read(grammar: &Grammar, source: &str) -> Option<Symbols> {
    let tree = parsing::parse(&grammar.language, source)?;
    let mut walk = Walk {
        grammar,
        source,
        symbols: Symbols::default(),
        calls: Vec::new(),
        functions: Vec::new(),
        types: Vec::new(),
        elsewhen: Vec::new(),
        errors: Vec::new(),
        macros: Vec::new(),
        hidden: Vec::new(),
        named_value: None,
        marked_until: None,
        callees: BTreeSet::new(),
    };
    let mut cursor = tree.walk();
    'tree: loop {
        walk.enter(&cursor);
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                break 'tree;
            }
        }
    }
    Some(walk.finish())
}

impl<'a> Walk<'a> {
    fn enter(&mut self, cursor: &TreeCursor<'_>) {
        let node = cursor.node();
        let kind = node.kind();
        self.leave(node.start_byte());
        if !node.is_named() {
            return;
        }
        if is_name(kind) && node.child_count() == 0 {
            self.name(node, cursor);
            return;
        }
        let end = node.end_byte();
        if node.is_error() {
            self.errors.push(end);
        }
        match kind {
            "token_tree" => self.macros.push(end),
            "attribute_item" => self.attribute(node),
            "preproc_arg" => self.words(node),
            _ => {}
        }
        let grammar = self.grammar;
        if grammar.elsewhen.contains(&kind) && self.named_value != Some(node.start_byte()) {
            self.elsewhen.push(end);
        }
        for (_, field) in grammar.own.iter().filter(|(owner, _)| *owner == kind) {
            let mut inner = node.walk();
            for child in node.children_by_field_name(field, &mut inner) {
                let names = given_names(child);
                let names = names.iter().map(|name| text(*name, self.source).to_owned());
                self.symbols.own.extend(names);
            }
        }
        for constants in grammar
            .constants
            .iter()
            .filter(|here| here.statement == kind)
        {
            let depth_fits = constants.depth == u32::MAX || cursor.depth() <= constants.depth;
            if self.functions.is_empty() && self.errors.is_empty() && depth_fits {
                self.constant(node, constants);
            }
        }
        if grammar.types.contains(&kind) {
            self.type_definition(node);
        }
        if grammar.functions.contains(&kind) {
            self.function(node, node);
        }
        for (_, field) in grammar
            .named_values
            .iter()
            .filter(|(owner, _)| *owner == kind)
        {
            if let Some(value) = node.child_by_field_name(field)
                && matches!(
                    value.kind(),
                    "arrow_function" | "function_expression" | "generator_function"
                )
            {
                self.named_value = Some(value.start_byte());
                self.function(node, value);
            }
        }
        for (_, field) in grammar.calls.iter().filter(|(owner, _)| *owner == kind) {
            if let Some(function) = node.child_by_field_name(field) {
                if let Some(name) = callee(function) {
                    self.callees.insert(name.start_byte());
                    self.call(name, end);
                }
                self.test_call(node, function);
            }
        }
    }

    fn leave(&mut self, at: usize) {
        while self.functions.pop_if(|around| around.ends <= at).is_some() {}
        while self.types.pop_if(|(end, _)| *end <= at).is_some() {}
        for stack in [
            &mut self.elsewhen,
            &mut self.errors,
            &mut self.macros,
            &mut self.hidden,
        ] {
            while stack.pop_if(|end| *end <= at).is_some() {}
        }
    }

    fn name(&mut self, node: Node<'_>, cursor: &TreeCursor<'_>) {
        let name = text(node, self.source);
        self.symbols.uses.push(Use {
            name: name.to_owned(),
            line: row(node),
        });
        let in_macro = !self.macros.is_empty() && self.functions.is_empty();
        if in_macro || !self.hidden.is_empty() {
            self.symbols.hidden.insert(name.to_owned());
        }
        // `row.owner` without a call is a field, whatever else has the name.
        let member = matches!(
            cursor.field_name(),
            Some("field" | "property" | "attribute")
        );
        if member && !self.callees.contains(&node.start_byte()) {
            self.symbols.own.insert(name.to_owned());
        }
        // The content of a macro is not parsed: a name followed by a bracket is a call.
        let bracket = self.source.as_bytes().get(node.end_byte()) == Some(&b'(');
        if !self.macros.is_empty() && bracket {
            let mut next = cursor.clone();
            if next.goto_next_sibling() && next.node().kind() == "token_tree" {
                self.call(node, next.node().end_byte());
            }
        }
    }

    /// Reads the text after `#define NAME`, which is one node. Its words are names, too.
    fn words(&mut self, node: Node<'_>) {
        let line = row(node);
        let words =
            text(node, self.source).split(|sign: char| !sign.is_alphanumeric() && sign != '_');
        let names = words
            .filter(|word| word.starts_with(|first: char| first.is_alphabetic() || first == '_'));
        self.symbols.uses.extend(names.map(|name| Use {
            name: name.to_owned(),
            line,
        }));
    }

    fn call(&mut self, name: Node<'_>, ends: usize) {
        let Some(around) = self.functions.last() else {
            return;
        };
        let Some(function) = around.definition else {
            return;
        };
        self.calls.push(RawCall {
            function,
            begins: name.start_byte(),
            ends,
            call: Call {
                name: text(name, self.source).to_owned(),
                line: row(name),
                finished: 0,
                elsewhen: self.elsewhen.len() > around.elsewhen || !self.errors.is_empty(),
            },
        });
    }

    /// Reads a function. `outer` has the name, `node` has the parameters and the body.
    fn function(&mut self, outer: Node<'_>, node: Node<'_>) {
        let marked = self.marked_until.take();
        let mut around = EnclosingFunction {
            ends: outer.end_byte(),
            definition: None,
            elsewhen: self.elsewhen.len(),
        };
        let declarator = node
            .child_by_field_name("declarator")
            .and_then(function_declarator);
        let name = match declarator {
            Some(declarator) => declarator
                .child_by_field_name("declarator")
                .and_then(callee),
            None => outer
                .child_by_field_name("name")
                .or_else(|| outer.child_by_field_name("property"))
                .filter(|name| is_name(name.kind())),
        };
        if let Some(name) = name.filter(|_| self.errors.is_empty()) {
            let list = declarator
                .unwrap_or(node)
                .child_by_field_name("parameters")
                .or_else(|| node.child_by_field_name("parameter"));
            if self.macro_test(name, list, outer) {
                self.functions.push(around);
                return;
            }
            let written = text(name, self.source);
            // A constructor has the name of its type and is not another symbol.
            let constructor = self
                .types
                .last()
                .is_some_and(|(_, around)| *around == written)
                || declarator
                    .and_then(|declarator| declarator.child_by_field_name("declarator"))
                    .and_then(|name| name.child_by_field_name("scope"))
                    .is_some_and(|scope| text(scope, self.source) == written);
            if !constructor {
                let test = self.is_test(node, written, marked);
                around.definition = Some(self.define_function(outer, node, name, list, test));
            }
        }
        self.functions.push(around);
    }

    fn define_function(
        &mut self,
        outer: Node<'_>,
        node: Node<'_>,
        name: Node<'_>,
        list: Option<Node<'_>>,
        test: Marked,
    ) -> usize {
        let written = text(name, self.source).to_owned();
        let end = last_row(outer);
        if test == Marked::Yes {
            self.symbols.tests.push(Test {
                name: written.clone(),
                line: row(name),
                end,
            });
        }
        let parameters = list.and_then(|list| parameters(list, self.source));
        self.symbols
            .own
            .extend(parameters.iter().flatten().cloned());
        let body = node.child_by_field_name("body");
        let whole = body.map_or(!node.has_error(), |_| {
            named(node)
                .iter()
                .all(|child| Some(*child) == body || !child.has_error())
        });
        let first = node
            .child_by_field_name(self.grammar.returns)
            .map_or(row(name), |kind| row(kind).min(row(name)));
        self.symbols.definitions.push(Definition {
            name: written,
            kind: DefinitionKind::Function,
            line: row(name),
            signature: (first, signature_end(node, body).max(row(name))),
            end,
            parameters: parameters.filter(|_| whole),
            returns: returns(node, self.grammar.returns, self.source).filter(|_| whole),
            calls: Vec::new(),
        });
        self.symbols.definitions.len() - 1
    }

    fn type_definition(&mut self, node: Node<'_>) {
        let body = node.child_by_field_name("body");
        let mention =
            self.grammar.types_need_body && node.kind().ends_with("_specifier") && body.is_none();
        let name = node
            .child_by_field_name("name")
            .or_else(|| node.child_by_field_name("declarator"))
            .filter(|name| is_name(name.kind()));
        let Some(name) = name.filter(|_| !mention && self.errors.is_empty()) else {
            return;
        };
        let written = text(name, self.source);
        // `typedef struct a { … } a;` defines one type.
        let inner = node
            .child_by_field_name("type")
            .and_then(|inner| inner.child_by_field_name("name"));
        if node.kind() == "type_definition"
            && inner.is_some_and(|inner| text(inner, self.source) == written)
        {
            return;
        }
        self.types.push((node.end_byte(), written));
        let last = body.map_or(row(name), |_| signature_end(node, body));
        self.symbols.definitions.push(Definition {
            name: written.to_owned(),
            kind: DefinitionKind::Type,
            line: row(name),
            signature: (row(name), last.max(row(name))),
            end: last_row(node),
            parameters: None,
            returns: None,
            calls: Vec::new(),
        });
    }

    fn finish(mut self) -> Symbols {
        if self.has_unread_tests() {
            let used = self.symbols.uses.iter().map(|used| used.name.clone());
            self.symbols.hidden.extend(used);
        }
        self.calls.sort_by_key(|raw| raw.ends);
        for (finished, raw) in self.calls.iter_mut().enumerate() {
            raw.call.finished = finished;
        }
        self.calls.sort_by_key(|raw| raw.begins);
        for raw in self.calls {
            if let Some(function) = self.symbols.definitions.get_mut(raw.function) {
                function.calls.push(raw.call);
            }
        }
        self.symbols
    }
}

/// Returns the last line before the body, or of the whole node without a body.
fn signature_end(node: Node<'_>, body: Option<Node<'_>>) -> u32 {
    let Some(body) = body else {
        return last_row(node);
    };
    node.children(&mut node.walk())
        .filter(|child| child.end_byte() <= body.start_byte() && !child.kind().ends_with("comment"))
        .last()
        .map_or(row(node), last_row)
}
