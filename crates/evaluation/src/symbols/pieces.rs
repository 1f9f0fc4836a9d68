//! Parts of a definition: the names of its parameters, its return type, a literal value.

use tree_sitter::Node;

/// Returns the children of a node that have a name in the grammar. Not by index, which would visit
/// every earlier child again.
pub(super) fn named<'tree>(node: Node<'tree>) -> Vec<Node<'tree>> {
    node.named_children(&mut node.walk()).collect()
}

pub(super) fn text<'a>(node: Node<'_>, source: &'a str) -> &'a str {
    source.get(node.byte_range()).unwrap_or_default()
}

/// Returns whether the node is a name.
pub(super) fn is_name(kind: &str) -> bool {
    kind.ends_with("identifier")
        && kind != "qualified_identifier"
        && kind != "scoped_identifier"
        && kind != "scoped_type_identifier"
}

/// Returns the only name that a pattern, declarator or parameter gives. Returns `None` if it gives
/// several or none.
pub(super) fn given_name<'tree>(node: Node<'tree>) -> Option<Node<'tree>> {
    let mut node = node;
    loop {
        let kind = node.kind();
        if is_name(kind) {
            return (kind != "type_identifier").then_some(node);
        }
        let field = ["pattern", "name", "declarator", "left"]
            .iter()
            .find_map(|field| node.child_by_field_name(field));
        node = match field {
            Some(inner) => inner,
            None if is_wrapper(kind) => named(node).into_iter().find(|child| {
                (is_name(child.kind()) && child.kind() != "type_identifier")
                    || is_wrapper(child.kind())
                    || child.kind().ends_with("declarator")
            })?,
            None => return None,
        };
    }
}

/// Returns whether a pattern adds to one name without giving another.
fn is_wrapper(kind: &str) -> bool {
    matches!(
        kind,
        "mut_pattern"
            | "ref_pattern"
            | "reference_pattern"
            | "rest_pattern"
            | "list_splat_pattern"
            | "dictionary_splat_pattern"
            | "typed_parameter"
            | "spread_parameter"
            | "reference_declarator"
            | "variadic_declarator"
            | "parenthesized_declarator"
            | "as_pattern_target"
    )
}

/// Returns all plain names that a pattern or a list of them gives.
pub(super) fn given_names<'tree>(node: Node<'tree>) -> Vec<Node<'tree>> {
    match given_name(node) {
        Some(name) => vec![name],
        // `const { foo } = …` mostly takes `foo` from its definition.
        None if node.kind() == "object_pattern" => Vec::new(),
        None => named(node).into_iter().filter_map(given_name).collect(),
    }
}

/// Returns the names of the parameters in order. Returns `None` if one has no plain name.
pub(super) fn parameters(list: Node<'_>, source: &str) -> Option<Vec<String>> {
    if is_name(list.kind()) {
        return Some(vec![text(list, source).to_owned()]);
    }
    let mut names = Vec::new();
    for (at, parameter) in named(list).into_iter().enumerate() {
        let kind = parameter.kind();
        let nameless = matches!(
            kind,
            "self_parameter"
                | "receiver_parameter"
                | "attribute_item"
                | "keyword_separator"
                | "positional_separator"
                | "variadic_parameter"
        );
        if nameless || kind.ends_with("comment") || text(parameter, source) == "void" {
            continue;
        }
        // In Go `a, b int` is one parameter with two names.
        let mut cursor = parameter.walk();
        let several: Vec<Node<'_>> = parameter
            .children_by_field_name("name", &mut cursor)
            .collect();
        if several.len() > 1 {
            let single = several.iter().filter(|name| is_name(name.kind()));
            names.extend(single.map(|name| text(*name, source).to_owned()));
            continue;
        }
        let receiver = |name: &str| matches!(name, "self" | "cls" | "this");
        if at == 0
            && (receiver(text(parameter, source))
                || parameter
                    .child_by_field_name("pattern")
                    .is_some_and(|pattern| receiver(text(pattern, source))))
        {
            continue;
        }
        names.push(text(given_name(parameter)?, source).to_owned());
    }
    Some(names)
}

/// Returns the return type as written, with folded whitespace.
pub(super) fn returns(function: Node<'_>, field: &str, source: &str) -> Option<String> {
    let written = match function.child_by_field_name("declarator") {
        None => text(function.child_by_field_name(field)?, source),
        Some(declarator) => declared_type(function, declarator, source)?,
    };
    let written = written.trim().trim_start_matches([':', '-', '>']);
    let folded = written.split_whitespace().collect::<Vec<_>>().join(" ");
    (!folded.is_empty()).then_some(folded)
}

/// In C a part of the type is around the name: `const char *name(…)`.
fn declared_type<'a>(function: Node<'_>, declarator: Node<'_>, source: &'a str) -> Option<&'a str> {
    let inner = function_declarator(declarator)?;
    if let Some(trailing) = named(inner)
        .into_iter()
        .find(|child| child.kind() == "trailing_return_type")
    {
        return Some(text(trailing, source));
    }
    let kind = function.child_by_field_name("type")?;
    let start = named(function)
        .into_iter()
        .filter(|child| child.kind() == "type_qualifier")
        .map(|child| child.start_byte())
        .chain([kind.start_byte()])
        .min()?;
    source.get(start..inner.start_byte())
}

/// Returns the declarator with the parameters, within pointers and references.
pub(super) fn function_declarator<'tree>(declarator: Node<'tree>) -> Option<Node<'tree>> {
    let mut node = declarator;
    while node.kind() != "function_declarator" {
        node = node.child_by_field_name("declarator").or_else(|| {
            named(node)
                .into_iter()
                .find(|child| child.kind().ends_with("declarator"))
        })?;
    }
    Some(node)
}

/// Returns the called name: the last name of `a.b::c`.
pub(super) fn callee<'tree>(node: Node<'tree>) -> Option<Node<'tree>> {
    let mut node = node;
    while !is_name(node.kind()) {
        node = match node.kind() {
            "generic_function" => node.child_by_field_name("function")?,
            "field_expression" | "selector_expression" => node.child_by_field_name("field")?,
            "member_expression" => node.child_by_field_name("property")?,
            "attribute" => node.child_by_field_name("attribute")?,
            "scoped_identifier"
            | "qualified_identifier"
            | "template_function"
            | "template_method" => node.child_by_field_name("name")?,
            _ => return None,
        };
    }
    Some(node)
}

/// Returns a number as written, or a plain string without its quotes.
pub(super) fn literal(written: &str) -> Option<String> {
    let written = written.trim();
    let quote = written.chars().next()?;
    if matches!(quote, '"' | '\'' | '`') {
        let inner = written.strip_prefix(quote)?.strip_suffix(quote)?;
        let plain = !inner.contains([quote, '\\', '\n', '\r']) && !inner.contains("${");
        return (plain && !inner.trim().is_empty()).then(|| inner.to_owned());
    }
    let digits = written.strip_prefix(['-', '+']).unwrap_or(written);
    let number = digits.starts_with(|first: char| first.is_ascii_digit())
        && digits
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '.'));
    // `1e-9` is the only literal with a sign inside.
    let exponent = || {
        let (mantissa, power) = digits.split_once(['e', 'E'])?;
        let power = power.strip_prefix(['-', '+']).unwrap_or(power);
        let decimal = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_digit())
                && part
                    .chars()
                    .all(|sign| sign.is_ascii_digit() || matches!(sign, '_' | '.'))
        };
        (decimal(mantissa) && decimal(power)).then_some(())
    };
    (number || exponent().is_some()).then(|| written.to_owned())
}
