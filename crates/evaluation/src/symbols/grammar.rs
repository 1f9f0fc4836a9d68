//! Properties of each language for the walk: names of nodes and fields of its grammar.

use tree_sitter::Language;

/// How a language marks its tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tests {
    /// An attribute whose path ends in `test`, before the function.
    Attribute,
    /// An annotation such as `@Test` among the function's modifiers.
    Annotation,
    /// The start of the function's name, and macros that look like a function definition.
    Name {
        start: &'static str,
        macros: &'static [&'static str],
    },
    /// A call of one of these with a name and a function.
    Call(&'static [&'static str]),
}

/// Places of constants.
pub(super) struct Constants {
    /// The node of the statement.
    pub(super) statement: &'static str,
    /// The node within it that has the name, if it is not the statement itself.
    pub(super) item: Option<&'static str>,
    pub(super) name: &'static str,
    pub(super) value: &'static str,
    /// One of these words must be before the item. Empty if none is needed.
    pub(super) words: &'static [&'static str],
    /// Maximum number of nodes around the statement.
    pub(super) depth: u32,
    /// Whether only names in capitals are constants.
    pub(super) capitals: bool,
}

/// One language.
pub(super) struct Grammar {
    pub(super) language: Language,
    /// Nodes with a `name` (or, in C, a `declarator`) and `parameters`.
    pub(super) functions: &'static [&'static str],
    /// Nodes that name a function which is their value: node, its field for the value.
    pub(super) named_values: &'static [(&'static str, &'static str)],
    pub(super) types: &'static [&'static str],
    /// Whether a type without a body is only a mention of it.
    pub(super) types_need_body: bool,
    /// The field of a function's return type.
    pub(super) returns: &'static str,
    /// Nodes of calls, and the field with the called name.
    pub(super) calls: &'static [(&'static str, &'static str)],
    /// Nodes whose calls are not executed in the order of the text.
    pub(super) elsewhen: &'static [&'static str],
    pub(super) constants: &'static [Constants],
    /// Nodes and fields that name variables and the like.
    pub(super) own: &'static [(&'static str, &'static str)],
    pub(super) tests: Tests,
}

/// Returns the grammar for files with this extension.
pub(super) fn for_extension(ending: &str) -> Option<Grammar> {
    match ending {
        "rs" => Some(rust()),
        "py" | "pyi" => Some(python()),
        "ts" | "mts" | "cts" => Some(script(tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into())),
        "tsx" => Some(script(tree_sitter_typescript::LANGUAGE_TSX.into())),
        "js" | "jsx" | "mjs" | "cjs" => Some(script(tree_sitter_javascript::LANGUAGE.into())),
        "go" => Some(go()),
        "java" => Some(java()),
        "c" => Some(c(tree_sitter_c::LANGUAGE.into())),
        // A header may be C or C++. The grammar of C++ reads nearly all of C.
        "h" | "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" => {
            Some(c(tree_sitter_cpp::LANGUAGE.into()))
        }
        _ => None,
    }
}

const PLAIN: Constants = Constants {
    statement: "",
    item: None,
    name: "name",
    value: "value",
    words: &[],
    depth: u32::MAX,
    capitals: false,
};

fn rust() -> Grammar {
    Grammar {
        language: tree_sitter_rust::LANGUAGE.into(),
        functions: &["function_item", "function_signature_item"],
        named_values: &[],
        types: &[
            "struct_item",
            "enum_item",
            "union_item",
            "trait_item",
            "type_item",
        ],
        types_need_body: false,
        returns: "return_type",
        calls: &[("call_expression", "function")],
        elsewhen: &["closure_expression", "async_block"],
        constants: &[
            Constants {
                statement: "const_item",
                ..PLAIN
            },
            Constants {
                statement: "static_item",
                ..PLAIN
            },
        ],
        own: &[
            ("let_declaration", "pattern"),
            ("for_expression", "pattern"),
            ("closure_expression", "parameters"),
            ("field_declaration", "name"),
            ("enum_variant", "name"),
            ("mod_item", "name"),
        ],
        tests: Tests::Attribute,
    }
}

fn python() -> Grammar {
    Grammar {
        language: tree_sitter_python::LANGUAGE.into(),
        functions: &["function_definition"],
        named_values: &[],
        types: &["class_definition"],
        types_need_body: false,
        returns: "return_type",
        calls: &[("call", "function")],
        elsewhen: &[
            "lambda",
            "generator_expression",
            "list_comprehension",
            "set_comprehension",
            "dictionary_comprehension",
            "conditional_expression",
            "decorator",
        ],
        constants: &[Constants {
            statement: "assignment",
            name: "left",
            value: "right",
            capitals: true,
            ..PLAIN
        }],
        own: &[
            ("assignment", "left"),
            ("for_statement", "left"),
            ("for_in_clause", "left"),
            ("keyword_argument", "name"),
            ("lambda", "parameters"),
            ("as_pattern", "alias"),
        ],
        tests: Tests::Name {
            start: "test_",
            macros: &[],
        },
    }
}

/// TypeScript and JavaScript.
fn script(language: Language) -> Grammar {
    Grammar {
        language,
        functions: &[
            "function_declaration",
            "generator_function_declaration",
            "method_definition",
            "function_signature",
            "method_signature",
            "abstract_method_signature",
        ],
        named_values: &[
            ("variable_declarator", "value"),
            ("public_field_definition", "value"),
            ("field_definition", "value"),
        ],
        types: &[
            "class_declaration",
            "abstract_class_declaration",
            "interface_declaration",
            "type_alias_declaration",
            "enum_declaration",
        ],
        types_need_body: false,
        returns: "return_type",
        calls: &[("call_expression", "function")],
        elsewhen: &[
            "arrow_function",
            "function_expression",
            "function",
            "generator_function",
            "for_statement",
        ],
        constants: &[Constants {
            statement: "lexical_declaration",
            item: Some("variable_declarator"),
            words: &["const"],
            depth: 2,
            ..PLAIN
        }],
        own: &[
            ("variable_declarator", "name"),
            ("pair", "key"),
            ("public_field_definition", "name"),
            ("field_definition", "property"),
            ("property_signature", "name"),
            ("for_in_statement", "left"),
            ("catch_clause", "parameter"),
            ("arrow_function", "parameter"),
            ("arrow_function", "parameters"),
        ],
        tests: Tests::Call(&["it", "test"]),
    }
}

fn go() -> Grammar {
    Grammar {
        language: tree_sitter_go::LANGUAGE.into(),
        functions: &["function_declaration", "method_declaration", "method_elem"],
        named_values: &[],
        types: &["type_spec", "type_alias"],
        types_need_body: false,
        returns: "result",
        calls: &[("call_expression", "function")],
        elsewhen: &[
            "func_literal",
            "defer_statement",
            "go_statement",
            "for_clause",
        ],
        constants: &[Constants {
            statement: "const_spec",
            depth: 3,
            ..PLAIN
        }],
        own: &[
            ("short_var_declaration", "left"),
            ("range_clause", "left"),
            ("var_spec", "name"),
            ("field_declaration", "name"),
            ("func_literal", "parameters"),
            ("keyed_element", "key"),
            ("import_spec", "name"),
        ],
        tests: Tests::Name {
            start: "Test",
            macros: &[],
        },
    }
}

fn java() -> Grammar {
    Grammar {
        language: tree_sitter_java::LANGUAGE.into(),
        functions: &["method_declaration"],
        named_values: &[],
        types: &[
            "class_declaration",
            "interface_declaration",
            "enum_declaration",
            "record_declaration",
            "annotation_type_declaration",
        ],
        types_need_body: false,
        returns: "type",
        calls: &[("method_invocation", "name")],
        elsewhen: &["lambda_expression", "class_body", "for_statement"],
        constants: &[
            Constants {
                statement: "field_declaration",
                item: Some("variable_declarator"),
                words: &["static", "final"],
                ..PLAIN
            },
            Constants {
                statement: "constant_declaration",
                item: Some("variable_declarator"),
                ..PLAIN
            },
        ],
        own: &[
            ("variable_declarator", "name"),
            ("enhanced_for_statement", "name"),
            ("enum_constant", "name"),
            ("lambda_expression", "parameters"),
            ("catch_formal_parameter", "name"),
        ],
        tests: Tests::Annotation,
    }
}

/// C and C++.
fn c(language: Language) -> Grammar {
    Grammar {
        language,
        functions: &["function_definition"],
        named_values: &[],
        types: &[
            "struct_specifier",
            "class_specifier",
            "union_specifier",
            "enum_specifier",
            "type_definition",
            "alias_declaration",
        ],
        types_need_body: true,
        returns: "type",
        calls: &[("call_expression", "function")],
        elsewhen: &["lambda_expression", "for_statement"],
        constants: &[
            Constants {
                statement: "preproc_def",
                ..PLAIN
            },
            Constants {
                statement: "declaration",
                item: Some("init_declarator"),
                name: "declarator",
                words: &["const", "constexpr"],
                ..PLAIN
            },
        ],
        own: &[
            ("declaration", "declarator"),
            ("field_declaration", "declarator"),
            ("parameter_declaration", "declarator"),
            ("preproc_function_def", "name"),
        ],
        tests: Tests::Name {
            start: "test_",
            macros: &["TEST", "TEST_F", "TEST_P", "TYPED_TEST"],
        },
    }
}
