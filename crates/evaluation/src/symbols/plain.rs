//! The fallback for languages without a grammar: definitions and words, line by line.

use std::collections::BTreeSet;

use crate::symbols::symbol::{Definition, DefinitionKind, Symbols, Use};

const FUNCTIONS: [&str; 6] = ["def", "fun", "func", "function", "sub", "proc"];
const TYPES: [&str; 8] = [
    "class",
    "struct",
    "interface",
    "trait",
    "enum",
    "object",
    "protocol",
    "module",
];
const MODIFIERS: [&str; 20] = [
    "abstract",
    "async",
    "case",
    "data",
    "export",
    "extension",
    "final",
    "fileprivate",
    "inline",
    "internal",
    "local",
    "open",
    "override",
    "partial",
    "private",
    "protected",
    "public",
    "sealed",
    "static",
    "suspend",
];

/// Reads a file. Returns `None` if the extension is not that of a program.
pub(super) fn read(ending: &str, text: &str) -> Option<Symbols> {
    let comment = match ending {
        "rb" | "sh" | "bash" | "pl" | "pm" | "ex" | "exs" | "jl" | "r" | "tcl" => "#",
        "lua" | "hs" => "--",
        "php" | "cs" | "kt" | "kts" | "swift" | "scala" | "dart" | "groovy" | "zig" | "sol" => "//",
        _ => return None,
    };
    let mut symbols = Symbols::default();
    for (number, line) in (1..).zip(text.lines()) {
        let words = words(line, comment);
        if let Some((kind, name)) = definition(&words) {
            symbols.definitions.push(Definition {
                name: name.to_owned(),
                kind,
                line: number,
                signature: (number, number),
                end: number,
                parameters: None,
                returns: None,
                calls: Vec::new(),
            });
        }
        let assigned = line.split_once('=').map(|(left, _)| left.trim());
        symbols.own.extend(
            assigned
                .filter(|left| left.chars().all(in_word) && !left.is_empty())
                .map(str::to_owned),
        );
        let seen: BTreeSet<&str> = words.into_iter().collect();
        symbols.uses.extend(seen.into_iter().map(|name| Use {
            name: name.to_owned(),
            line: number,
        }));
    }
    Some(symbols)
}

/// Returns the words of a line, without its comment and its strings as far as one line shows them.
fn words<'a>(line: &'a str, comment: &str) -> Vec<&'a str> {
    let mut words = Vec::new();
    let mut quote = None;
    let mut start = None;
    for (at, sign) in line.char_indices() {
        if quote.is_none() && in_word(sign) {
            start.get_or_insert(at);
            continue;
        }
        words.extend(start.take().and_then(|start: usize| line.get(start..at)));
        match quote {
            Some(open) if open == sign => quote = None,
            Some(_) => {}
            None if matches!(sign, '"' | '\'' | '`') => quote = Some(sign),
            None if line.get(at..).is_some_and(|rest| rest.starts_with(comment)) => return words,
            None => {}
        }
    }
    words.extend(start.and_then(|start| line.get(start..)));
    words
}

fn in_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

fn definition<'a>(words: &[&'a str]) -> Option<(DefinitionKind, &'a str)> {
    let mut rest = words.iter().skip_while(|word| MODIFIERS.contains(*word));
    let keyword = rest.next()?;
    let kind = if FUNCTIONS.contains(keyword) {
        DefinitionKind::Function
    } else if TYPES.contains(keyword) {
        DefinitionKind::Type
    } else {
        return None;
    };
    // `def self.name` names the object first.
    let name = rest.find(|word| **word != "self")?;
    let named = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
    named.then_some((kind, *name))
}
