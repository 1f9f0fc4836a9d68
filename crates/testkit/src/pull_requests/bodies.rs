//! Bodies of functions and tests: calls with the variables in scope, and returned values.

use super::language::Language;
use super::plan::{Function, Item, Module, Type};
use super::syntax::{
    assignment, constant, construction, guard, literal, name, pascal, return_statement, variable,
};
use super::writing::Writer;

/// A variable in scope.
struct Variable {
    name: String,
    of: Type,
}

impl Writer<'_> {
    pub(super) fn function(&self, module: &Module, function: &Function) -> Vec<String> {
        let mut scope: Vec<Variable> = function
            .parameters
            .iter()
            .map(|field| Variable {
                name: variable(self.language, &field.name),
                of: field.of.clone(),
            })
            .collect();
        let limit = module.items.iter().find_map(|item| match item {
            Item::Constant { name, value } if !value.starts_with('"') => Some(name),
            Item::Constant { .. } | Item::Type { .. } | Item::Function(_) | Item::Test { .. } => {
                None
            }
        });
        let mut body = Vec::new();
        let number = scope.iter().find(|held| held.of == Type::Int);
        if let (Some(limit), Some(number), Type::Int) = (limit, number, &function.returns) {
            let limit = constant(self.language, limit);
            body.extend(guard(self.language, &number.name, &limit));
        }
        for call in &function.calls {
            body.push(self.call(module, call, &mut scope));
        }
        let value = self.value(&function.returns, &scope, function.name.len());
        body.push(return_statement(self.language, &value));
        self.block(&self.head(function), &body)
    }

    fn block(&self, head: &str, body: &[String]) -> Vec<String> {
        let (open, indent, close) = match self.language {
            Language::Python => (":", "    ", None),
            Language::Go => (" {", "\t", Some("}")),
            Language::Rust
            | Language::TypeScript
            | Language::JavaScript
            | Language::Java
            | Language::C
            | Language::Cpp => (" {", "    ", Some("}")),
        };
        let mut lines = vec![format!("{head}{open}")];
        lines.extend(body.iter().map(|line| format!("{indent}{line}")));
        lines.extend(close.map(str::to_owned));
        lines
    }

    /// Returns a statement that calls a function with variables in scope, and adds its result to
    /// the scope.
    fn call(&self, module: &Module, callee: &str, scope: &mut Vec<Variable>) -> String {
        let (function, home) = self.functions[callee];
        let arguments: Vec<String> = function
            .parameters
            .iter()
            .map(|field| self.value(&field.of, scope, field.name.len()))
            .collect();
        let plain = name(self.language, callee);
        let (home_folder, home_last) = home.rsplit_once('/').unwrap_or(("", home));
        let folder = module
            .path
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let qualified = match self.language {
            Language::Go if !home_folder.is_empty() && home_folder != folder => {
                format!("{}.{plain}", home_folder.replace('/', ""))
            }
            Language::Java if home != module.path => format!("{}.{plain}", pascal(home_last)),
            Language::Cpp if self.is_test(module) => format!("{}::{plain}", self.project),
            Language::Rust
            | Language::Python
            | Language::TypeScript
            | Language::JavaScript
            | Language::Go
            | Language::Java
            | Language::C
            | Language::Cpp => plain,
        };
        let last = callee.rsplit('_').next().unwrap_or(callee);
        let mut result = format!("{}_{last}", if scope.is_empty() { "first" } else { "next" });
        while scope
            .iter()
            .any(|held| held.name == variable(self.language, &result))
        {
            result.push_str("_more");
        }
        let result = variable(self.language, &result);
        let value = format!("{qualified}({})", arguments.join(", "));
        let line = assignment(self.language, &result, &function.returns, &value);
        scope.push(Variable {
            name: result,
            of: function.returns.clone(),
        });
        line
    }

    fn is_test(&self, module: &Module) -> bool {
        module
            .items
            .iter()
            .any(|item| matches!(item, Item::Test { .. }))
    }

    /// Returns the latest variable of a type in scope, or a new value.
    fn value(&self, of: &Type, scope: &[Variable], seed: usize) -> String {
        if let Some(held) = scope.iter().rev().find(|held| held.of == *of) {
            let is_copied = matches!(of, Type::Int | Type::Flag);
            return if self.language == Language::Rust && !is_copied {
                format!("{}.clone()", held.name)
            } else {
                held.name.clone()
            };
        }
        match of {
            Type::Own(own) => {
                let (fields, _) = self.types[own.as_str()];
                let fields: Vec<(String, String)> = fields
                    .iter()
                    .map(|field| {
                        let value = self.value(&field.of, scope, seed + field.name.len());
                        (variable(self.language, &field.name), value)
                    })
                    .collect();
                construction(self.language, own, &fields)
            }
            Type::Int | Type::Text | Type::Flag | Type::List => literal(self.language, of, seed),
        }
    }

    pub(super) fn test(&self, module: &Module, plain: &str, calls: &[String]) -> Vec<String> {
        let mut scope = Vec::new();
        let mut body: Vec<String> = calls
            .iter()
            .map(|call| self.call(module, call, &mut scope))
            .collect();
        let last = scope.last().map_or("", |held| held.name.as_str());
        let own = name(self.language, plain);
        let pascal_name = pascal(plain);
        let (above, head, check) = match self.language {
            Language::Rust => (
                Some("#[test]"),
                format!("fn {own}()"),
                format!("assert_eq!({last}, {last});"),
            ),
            Language::Python => (None, format!("def test_{own}()"), format!("assert {last}")),
            Language::TypeScript | Language::JavaScript => {
                body.push(format!("expect({last}).toBeDefined();"));
                let title = plain.replace('_', " ");
                let mut lines = vec![format!("test(\"{title}\", () => {{")];
                lines.extend(body.iter().map(|line| format!("    {line}")));
                lines.push("});".to_owned());
                return lines;
            }
            Language::Go => (
                None,
                format!("func Test{pascal_name}(t *testing.T)"),
                format!("t.Log({last})"),
            ),
            Language::Java => (
                Some("@Test"),
                format!("void {own}()"),
                format!("assertNotNull({last});"),
            ),
            Language::C => (
                None,
                format!("void test_{own}(void)"),
                format!("assert({last});"),
            ),
            Language::Cpp => {
                body.push(format!("EXPECT_TRUE(holds({last}));"));
                let suite = module.path.rsplit('/').next().unwrap_or_default();
                return self.block(&format!("TEST({}, {pascal_name})", pascal(suite)), &body);
            }
        };
        body.push(check);
        let mut lines: Vec<String> = above.map(str::to_owned).into_iter().collect();
        lines.extend(self.block(&head, &body));
        lines
    }
}
