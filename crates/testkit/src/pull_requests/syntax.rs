//! Names, types, values and statements in each language.

use super::language::Language;
use super::plan::{Field, Type};

/// Returns the name of a function, test or variable. Plans use `snake_case`.
pub(super) fn name(language: Language, plain: &str) -> String {
    match language {
        Language::Rust | Language::Python | Language::C | Language::Cpp => plain.to_owned(),
        Language::TypeScript | Language::JavaScript | Language::Java => camel(plain),
        Language::Go => pascal(plain),
    }
}

/// Returns the name of a variable or a parameter.
pub(super) fn variable(language: Language, plain: &str) -> String {
    match language {
        Language::Go => camel(plain),
        Language::Rust
        | Language::Python
        | Language::C
        | Language::Cpp
        | Language::TypeScript
        | Language::JavaScript
        | Language::Java => name(language, plain),
    }
}

/// Returns the name of a constant. Plans use capitals.
pub(super) fn constant(language: Language, plain: &str) -> String {
    match language {
        Language::Go => pascal(&plain.to_lowercase()),
        Language::Rust
        | Language::Python
        | Language::C
        | Language::Cpp
        | Language::TypeScript
        | Language::JavaScript
        | Language::Java => plain.to_owned(),
    }
}

/// Returns the name of a class or file for a module.
pub(super) fn pascal(plain: &str) -> String {
    plain
        .split('_')
        .map(|word| {
            let first = word.get(..1).unwrap_or_default().to_uppercase();
            first + word.get(1..).unwrap_or_default()
        })
        .collect()
}

fn camel(plain: &str) -> String {
    let whole = pascal(plain);
    let first = whole.get(..1).unwrap_or_default().to_lowercase();
    first + whole.get(1..).unwrap_or_default()
}

/// Returns a type, as it is written for results and variables.
pub(super) fn type_name(language: Language, of: &Type) -> String {
    let [int, text, flag, list] = match language {
        Language::Rust => ["u32", "String", "bool", "Vec<u32>"],
        Language::Python => ["int", "str", "bool", "list[int]"],
        Language::TypeScript | Language::JavaScript => ["number", "string", "boolean", "number[]"],
        Language::Go => ["int", "string", "bool", "[]int"],
        Language::Java => ["int", "String", "boolean", "List<Integer>"],
        Language::C => ["int", "const char *", "bool", "int *"],
        Language::Cpp => ["int", "std::string", "bool", "std::vector<int>"],
    };
    match of {
        Type::Int => int.to_owned(),
        Type::Text => text.to_owned(),
        Type::Flag => flag.to_owned(),
        Type::List => list.to_owned(),
        Type::Own(own) => own.clone(),
    }
}

/// Returns a parameter or a field with its type.
pub(super) fn typed(language: Language, field: &Field) -> String {
    let (name, of) = (
        variable(language, &field.name),
        type_name(language, &field.of),
    );
    match language {
        Language::Rust | Language::Python | Language::TypeScript => format!("{name}: {of}"),
        Language::JavaScript => name,
        Language::Go => format!("{name} {of}"),
        Language::C if of.ends_with('*') => format!("{of}{name}"),
        Language::Java | Language::C | Language::Cpp => format!("{of} {name}"),
    }
}

/// Returns a literal value.
pub(super) fn literal(language: Language, of: &Type, seed: usize) -> String {
    let number = 2 + seed % 7;
    match of {
        Type::Int => number.to_string(),
        Type::Text => match language {
            Language::Rust => format!("\"item-{number}\".to_owned()"),
            Language::Python
            | Language::TypeScript
            | Language::JavaScript
            | Language::Go
            | Language::Java
            | Language::C
            | Language::Cpp => format!("\"item-{number}\""),
        },
        Type::Flag => match language {
            Language::Python => "True".to_owned(),
            Language::Rust
            | Language::TypeScript
            | Language::JavaScript
            | Language::Go
            | Language::Java
            | Language::C
            | Language::Cpp => "true".to_owned(),
        },
        Type::List => match language {
            Language::Rust => format!("vec![1, {number}]"),
            Language::Python | Language::TypeScript | Language::JavaScript => {
                format!("[1, {number}]")
            }
            Language::Go => format!("[]int{{1, {number}}}"),
            Language::Java => format!("List.of(1, {number})"),
            Language::C => format!("(int[]){{1, {number}}}"),
            Language::Cpp => format!("{{1, {number}}}"),
        },
        Type::Own(own) => own.clone(),
    }
}

/// Returns the construction of a value from its fields.
pub(super) fn construction(language: Language, own: &str, fields: &[(String, String)]) -> String {
    let values: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
    let values = values.join(", ");
    let named: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let named = named.join(", ");
    match language {
        Language::Rust => format!("{own} {{ {named} }}"),
        Language::Python => format!("{own}({values})"),
        Language::TypeScript | Language::JavaScript => format!("{{ {named} }}"),
        Language::Go | Language::Cpp => format!("{own}{{{values}}}"),
        Language::Java => format!("new {own}({values})"),
        Language::C => format!("({own}){{{values}}}"),
    }
}

/// Returns a statement that assigns a value to a new variable.
pub(super) fn assignment(language: Language, name: &str, of: &Type, value: &str) -> String {
    match language {
        Language::Rust => format!("let {name} = {value};"),
        Language::Python => format!("{name} = {value}"),
        Language::TypeScript | Language::JavaScript => format!("const {name} = {value};"),
        Language::Go => format!("{name} := {value}"),
        Language::Java => format!("var {name} = {value};"),
        Language::C => {
            let field = Field {
                name: name.to_owned(),
                of: of.clone(),
            };
            format!("{} = {value};", typed(language, &field))
        }
        Language::Cpp => format!("const auto {name} = {value};"),
    }
}

/// Returns the statements that end a function early if `left` is greater than `right`.
pub(super) fn guard(language: Language, left: &str, right: &str) -> Vec<String> {
    let lines: [String; 3] = match language {
        Language::Rust | Language::Go => [
            format!("if {left} > {right} {{"),
            return_statement(language, right),
            "}".to_owned(),
        ],
        Language::Python => [
            format!("if {left} > {right}:"),
            return_statement(language, right),
            String::new(),
        ],
        Language::TypeScript
        | Language::JavaScript
        | Language::Java
        | Language::C
        | Language::Cpp => [
            format!("if ({left} > {right}) {{"),
            return_statement(language, right),
            "}".to_owned(),
        ],
    };
    let [open, inner, close] = lines;
    let indent = if language == Language::Go {
        "\t"
    } else {
        "    "
    };
    [open, format!("{indent}{inner}"), close]
        .into_iter()
        .filter(|line| !line.is_empty())
        .collect()
}

/// Returns a return statement.
pub(super) fn return_statement(language: Language, value: &str) -> String {
    match language {
        Language::Python | Language::Go => format!("return {value}"),
        Language::Rust
        | Language::TypeScript
        | Language::JavaScript
        | Language::Java
        | Language::C
        | Language::Cpp => format!("return {value};"),
    }
}
