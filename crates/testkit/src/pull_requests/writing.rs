//! Writes the modules of a plan as source files of a language.

use std::collections::BTreeMap;

use super::language::Language;
use super::plan::{Field, Function, Item, Module};
use super::syntax::{constant, name, pascal, type_name, typed};

/// Returns the files of a program, by path.
pub(super) fn write(
    language: Language,
    project: &str,
    modules: &[Module],
) -> Vec<(String, String)> {
    let mut functions = BTreeMap::new();
    let mut types = BTreeMap::new();
    for module in modules {
        for item in &module.items {
            match item {
                Item::Function(function) => {
                    functions.insert(function.name.as_str(), (function, module.path.as_str()));
                }
                Item::Type { name, fields } => {
                    types.insert(name.as_str(), (fields.as_slice(), module.path.as_str()));
                }
                Item::Constant { .. } | Item::Test { .. } => {}
            }
        }
    }
    let writer = Writer {
        language,
        project: project.replace('-', "_"),
        functions,
        types,
    };
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for module in modules {
        files.extend(writer.module(module));
    }
    files.insert("README.md".to_owned(), format!("# {project}\n"));
    files.insert("docs/glossary.md".to_owned(), "# Words\n".to_owned());
    files.into_iter().collect()
}

pub(super) struct Writer<'a> {
    pub(super) language: Language,
    pub(super) project: String,
    /// Functions by name, each with its module.
    pub(super) functions: BTreeMap<&'a str, (&'a Function, &'a str)>,
    pub(super) types: BTreeMap<&'a str, (&'a [Field], &'a str)>,
}

impl Writer<'_> {
    fn module(&self, module: &Module) -> Vec<(String, String)> {
        let is_test = module
            .items
            .iter()
            .any(|item| matches!(item, Item::Test { .. }));
        let mut text = self.opening(module);
        let inner = match self.language {
            Language::Java => 1,
            Language::Rust
            | Language::Python
            | Language::TypeScript
            | Language::JavaScript
            | Language::Go
            | Language::C
            | Language::Cpp => 0,
        };
        for item in &module.items {
            for line in self.item(module, item) {
                if !line.is_empty() {
                    text.push_str(&"    ".repeat(inner));
                    text.push_str(&line);
                }
                text.push('\n');
            }
        }
        if self.language == Language::Java {
            text.push_str("}\n");
        }
        if self.language == Language::Cpp && !is_test {
            text.push_str(&format!("}}  // namespace {}\n", self.project));
        }
        let mut files = vec![(self.path(&module.path, is_test), text)];
        if matches!(self.language, Language::C | Language::Cpp) && !is_test {
            files.extend(self.header(module));
        }
        files
    }

    fn path(&self, module: &str, is_test: bool) -> String {
        let (folder, last) = module.rsplit_once('/').unwrap_or(("", module));
        let slash = if folder.is_empty() { "" } else { "/" };
        match (self.language, is_test) {
            (Language::Rust, false) => format!("src/{module}.rs"),
            (Language::Rust, true) => format!("tests/{last}.rs"),
            (Language::Python, false) => format!("{}/{module}.py", self.project),
            (Language::Python, true) => format!("tests/test_{last}.py"),
            (Language::TypeScript, false) => format!("src/{module}.ts"),
            (Language::TypeScript, true) => format!("src/{module}.test.ts"),
            (Language::JavaScript, false) => format!("lib/{module}.js"),
            (Language::JavaScript, true) => format!("lib/{module}.test.js"),
            (Language::Go, false) => format!("{module}.go"),
            (Language::Go, true) => format!("{module}_test.go"),
            (Language::Java, is_test) => {
                let (kind, end) = if is_test {
                    ("test", "Test")
                } else {
                    ("main", "")
                };
                let class = pascal(last);
                format!(
                    "src/{kind}/java/org/{}/{folder}{slash}{class}{end}.java",
                    self.project
                )
            }
            (Language::C, false) => format!("src/{module}.c"),
            (Language::C, true) => format!("tests/test_{last}.c"),
            (Language::Cpp, false) => format!("src/{module}.cpp"),
            (Language::Cpp, true) => format!("tests/{last}_test.cpp"),
        }
    }

    /// Returns the names of other modules that a module uses, by module.
    fn imports<'m>(&'m self, module: &'m Module) -> BTreeMap<&'m str, Vec<&'m str>> {
        let mut imports: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for item in &module.items {
            let calls = match item {
                Item::Function(function) => &function.calls,
                Item::Test { calls, .. } => calls,
                Item::Constant { .. } | Item::Type { .. } => continue,
            };
            for call in calls {
                let (_, home) = self.functions[call.as_str()];
                if home != module.path {
                    let names = imports.entry(home).or_default();
                    if !names.contains(&call.as_str()) {
                        names.push(call);
                    }
                }
            }
        }
        imports
    }

    /// Returns the text above the first item.
    fn opening(&self, module: &Module) -> String {
        let is_test = module
            .items
            .iter()
            .any(|item| matches!(item, Item::Test { .. }));
        let (folder, last) = module.path.rsplit_once('/').unwrap_or(("", &module.path));
        let mut lines = Vec::new();
        match self.language {
            Language::Go => {
                let package = if folder.is_empty() { "main" } else { folder };
                lines.extend([
                    format!("package {}", package.replace('/', "")),
                    String::new(),
                ]);
            }
            Language::Java => {
                let dots = folder.replace('/', ".");
                let dot = if dots.is_empty() { "" } else { "." };
                lines.push(format!("package org.{}{dot}{dots};", self.project));
                lines.push(String::new());
            }
            Language::C | Language::Cpp if !is_test => {
                let end = if self.language == Language::C {
                    "h"
                } else {
                    "hpp"
                };
                lines.push(format!("#include \"{}.{end}\"", module.path));
            }
            Language::Rust
            | Language::Python
            | Language::TypeScript
            | Language::JavaScript
            | Language::C
            | Language::Cpp => {}
        }
        for (home, names) in self.imports(module) {
            let names: Vec<String> = names
                .iter()
                .map(|plain| name(self.language, plain))
                .collect();
            let listed = names.join(", ");
            let root = if is_test {
                self.project.as_str()
            } else {
                "crate"
            };
            match self.language {
                Language::Rust => lines.push(format!(
                    "use {root}::{}::{{{listed}}};",
                    home.replace('/', "::")
                )),
                Language::Python => lines.push(format!(
                    "from {}.{} import {listed}",
                    self.project,
                    home.replace('/', ".")
                )),
                Language::TypeScript | Language::JavaScript => {
                    lines.push(format!("import {{ {listed} }} from \"#{home}\";"));
                }
                Language::Go => {
                    let package = home.rsplit_once('/').map_or("", |(package, _)| package);
                    let line = format!("import \"{}/{package}\"", self.project);
                    if !package.is_empty() && package != folder && !lines.contains(&line) {
                        lines.push(line);
                    }
                }
                Language::Java => {
                    let (package, last) = home.rsplit_once('/').unwrap_or(("", home));
                    let class = pascal(last);
                    let dot = if package.is_empty() { "" } else { "." };
                    lines.push(format!(
                        "import org.{}{dot}{}.{class};",
                        self.project,
                        package.replace('/', ".")
                    ));
                }
                Language::C => lines.push(format!("#include \"{home}.h\"")),
                Language::Cpp => lines.push(format!("#include \"{home}.hpp\"")),
            }
        }
        if lines.last().is_some_and(|line| !line.is_empty()) {
            lines.push(String::new());
        }
        match self.language {
            Language::Java => {
                let end = if is_test { "Test" } else { "" };
                lines.push(format!("public final class {}{end} {{", pascal(last)));
            }
            Language::Cpp if !is_test => {
                lines.extend([format!("namespace {} {{", self.project), String::new()]);
            }
            Language::Rust
            | Language::Python
            | Language::TypeScript
            | Language::JavaScript
            | Language::Go
            | Language::C
            | Language::Cpp => {}
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Returns the header of a C or C++ module.
    fn header(&self, module: &Module) -> Option<(String, String)> {
        let end = if self.language == Language::C {
            "h"
        } else {
            "hpp"
        };
        let mut text = String::from("#pragma once\n\n");
        for item in &module.items {
            if let Item::Type { name, fields } = item {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|field| format!("    {};\n", typed(self.language, field)))
                    .collect();
                let fields = fields.concat();
                let declaration = if self.language == Language::C {
                    format!("typedef struct {{\n{fields}}} {name};\n\n")
                } else {
                    format!("struct {name} {{\n{fields}}};\n\n")
                };
                text.push_str(&declaration);
            }
            if let Item::Function(function) = item {
                text.push_str(&format!("{};\n", self.head(function)));
            }
        }
        Some((format!("src/{}.{end}", module.path), text))
    }

    fn item(&self, module: &Module, item: &Item) -> Vec<String> {
        let mut lines = match item {
            Item::Constant { name, value } => vec![self.constant(name, value)],
            Item::Type { name, fields } => self.record(name, fields),
            Item::Function(function) => self.function(module, function),
            Item::Test { name, calls } => self.test(module, name, calls),
        };
        lines.push(String::new());
        lines
    }

    fn constant(&self, plain: &str, value: &str) -> String {
        let name = constant(self.language, plain);
        let is_text = value.starts_with('"');
        let kind = |text: &str, number: &str| if is_text { text } else { number }.to_owned();
        match self.language {
            Language::Rust => format!("pub const {name}: {} = {value};", kind("&str", "u32")),
            Language::Python => format!("{name} = {value}"),
            Language::TypeScript | Language::JavaScript => {
                format!("export const {name} = {value};")
            }
            Language::Go => format!("const {name} = {value}"),
            Language::Java => format!(
                "public static final {} {name} = {value};",
                kind("String", "int")
            ),
            Language::C => format!("#define {name} {value}"),
            Language::Cpp => format!(
                "constexpr {}{name} = {value};",
                kind("char const* ", "int ")
            ),
        }
    }

    fn record(&self, own: &str, fields: &[Field]) -> Vec<String> {
        let fields: Vec<String> = fields
            .iter()
            .map(|field| typed(self.language, field))
            .collect();
        let (open, prefix, close) = match self.language {
            Language::Rust => (format!("pub struct {own} {{"), "    pub ", ","),
            Language::Python => (format!("class {own}(NamedTuple):"), "    ", ""),
            Language::TypeScript => (format!("export interface {own} {{"), "  ", ";"),
            Language::Go => (format!("type {own} struct {{"), "\t", ""),
            Language::Java => {
                return vec![format!("public record {own}({}) {{}}", fields.join(", "))];
            }
            // JavaScript needs no declaration, and C and C++ have it in the header.
            Language::JavaScript | Language::C | Language::Cpp => return Vec::new(),
        };
        let mut lines = vec![open];
        lines.extend(fields.iter().map(|field| format!("{prefix}{field}{close}")));
        if self.language != Language::Python {
            lines.push("}".to_owned());
        }
        lines
    }

    /// Returns the first line of a function, without the start of its body.
    pub(super) fn head(&self, function: &Function) -> String {
        let own = name(self.language, &function.name);
        let parameters: Vec<String> = function
            .parameters
            .iter()
            .map(|field| typed(self.language, field))
            .collect();
        let parameters = parameters.join(", ");
        let returns = type_name(self.language, &function.returns);
        match self.language {
            Language::Rust => format!("pub fn {own}({parameters}) -> {returns}"),
            Language::Python => format!("def {own}({parameters}) -> {returns}"),
            Language::TypeScript => format!("export function {own}({parameters}): {returns}"),
            Language::JavaScript => format!("export function {own}({parameters})"),
            Language::Go => format!("func {own}({parameters}) {returns}"),
            Language::Java => format!("public static {returns} {own}({parameters})"),
            Language::C if returns.ends_with('*') => format!("{returns}{own}({parameters})"),
            Language::C | Language::Cpp => format!("{returns} {own}({parameters})"),
        }
    }
}
