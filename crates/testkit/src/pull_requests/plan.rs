//! Parses a plan: the parts of a program before and after a change.
//!
//! ```text
//! title: Retry failed uploads
//! keep report                          a module: keep, mod, add, del, or ren OLD > NEW
//!   LIMIT 5 > 8                        a constant; with `>` its value changes
//!   + PREFIX "up-"                     `+`: only after the change; `-`: only before it
//!   type Window: first int, last int
//!   fn widen(window Window, by int) int: clamp > clamp audit     its calls, in order
//!   test widens_twice: widen           a test and its calls
//! ```
//!
//! Modules are paths without an extension. Types are `int`, `text`, `flag`, `list` and the plan's
//! own.

/// A program before and after a change.
pub(super) struct Plan {
    pub(super) title: String,
    pub(super) before: Vec<Module>,
    pub(super) after: Vec<Module>,
}

pub(super) struct Module {
    /// Path such as `store/index`.
    pub(super) path: String,
    pub(super) items: Vec<Item>,
}

#[derive(Clone)]
pub(super) enum Item {
    /// The value is a number or a text in double quotes.
    Constant {
        name: String,
        value: String,
    },
    Type {
        name: String,
        fields: Vec<Field>,
    },
    Function(Function),
    Test {
        name: String,
        calls: Vec<String>,
    },
}

#[derive(Clone)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) parameters: Vec<Field>,
    pub(super) returns: Type,
    pub(super) calls: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) of: Type,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Text,
    Flag,
    List,
    Own(String),
}

/// Parses a plan of the folder `plans/`.
pub(super) fn parse(text: &str) -> Plan {
    let mut plan = Plan {
        title: String::new(),
        before: Vec::new(),
        after: Vec::new(),
    };
    let (mut in_before, mut in_after) = (false, false);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "title:" => rest.clone_into(&mut plan.title),
            "keep" | "mod" | "add" | "del" | "ren" => {
                (in_before, in_after) = (word != "add", word != "del");
                let (old, new) = changed(rest);
                if in_before {
                    plan.before.push(module(old));
                }
                if in_after {
                    plan.after.push(module(new));
                }
            }
            _ => {
                let (only_after, only_before) = (word == "+", word == "-");
                let text = if only_after || only_before {
                    rest
                } else {
                    line
                };
                let (old, new) = item(text);
                if in_before && !only_after {
                    add(&mut plan.before, old);
                }
                if in_after && !only_before {
                    add(&mut plan.after, new);
                }
            }
        }
    }
    plan
}

fn module(path: &str) -> Module {
    Module {
        path: path.to_owned(),
        items: Vec::new(),
    }
}

fn add(state: &mut [Module], item: Item) {
    state
        .last_mut()
        .expect("a plan names a module before its items")
        .items
        .push(item);
}

/// Returns the texts before and after a `>`. Without a `>`, both are the same.
fn changed(text: &str) -> (&str, &str) {
    text.split_once(" > ")
        .map_or((text.trim(), text.trim()), |(old, new)| {
            (old.trim(), new.trim())
        })
}

/// Returns an item before and after the change.
fn item(line: &str) -> (Item, Item) {
    let (word, rest) = line.split_once(' ').expect("an item has a name");
    match word {
        "type" => {
            let (name, fields) = rest.split_once(": ").expect("a type has fields");
            let made = Item::Type {
                name: name.to_owned(),
                fields: fields_of(fields),
            };
            (made.clone(), made)
        }
        "fn" => {
            let (head, calls) = rest.split_once(':').unwrap_or((rest, ""));
            let (name, head) = head.split_once('(').expect("a function has parameters");
            let (parameters, returns) = head.split_once(')').expect("a closing parenthesis");
            let make = |calls: &str| {
                Item::Function(Function {
                    name: name.to_owned(),
                    parameters: fields_of(parameters),
                    returns: type_of(returns.trim()),
                    calls: names(calls),
                })
            };
            let (old, new) = changed(calls);
            (make(old), make(new))
        }
        "test" => {
            let (name, calls) = rest.split_once(':').expect("a test calls something");
            let make = |calls: &str| Item::Test {
                name: name.to_owned(),
                calls: names(calls),
            };
            let (old, new) = changed(calls);
            (make(old), make(new))
        }
        name => {
            let make = |value: &str| Item::Constant {
                name: name.to_owned(),
                value: value.to_owned(),
            };
            let (old, new) = changed(rest);
            (make(old), make(new))
        }
    }
}

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn fields_of(text: &str) -> Vec<Field> {
    text.split(',')
        .filter_map(|field| field.trim().split_once(' '))
        .map(|(name, of)| Field {
            name: name.to_owned(),
            of: type_of(of),
        })
        .collect()
}

fn type_of(text: &str) -> Type {
    match text {
        "int" => Type::Int,
        "text" => Type::Text,
        "flag" => Type::Flag,
        "list" => Type::List,
        own => Type::Own(own.to_owned()),
    }
}
