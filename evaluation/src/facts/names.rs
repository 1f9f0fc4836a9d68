//! Which names can be asked about: those that mean one thing in all changed files.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::sections::Sections;

/// Names that so many things have that a question about one would be about all.
const COMMON: [&str; 118] = [
    "__init__",
    "__new__",
    "__repr__",
    "__str__",
    "accept",
    "add",
    "all",
    "any",
    "append",
    "apply",
    "args",
    "as_ref",
    "as_str",
    "assert",
    "async",
    "begin",
    "bind",
    "build",
    "call",
    "catch",
    "check",
    "clear",
    "clone",
    "close",
    "cmp",
    "collect",
    "config",
    "constructor",
    "contains",
    "copy",
    "count",
    "create",
    "data",
    "default",
    "delete",
    "describe",
    "display",
    "done",
    "drop",
    "each",
    "end",
    "eq",
    "equals",
    "error",
    "err",
    "errors",
    "exec",
    "execute",
    "expect",
    "extend",
    "filter",
    "find",
    "flush",
    "fmt",
    "format",
    "from",
    "from_str",
    "get",
    "handle",
    "handler",
    "has",
    "hash",
    "hashCode",
    "index",
    "init",
    "insert",
    "into",
    "is_empty",
    "item",
    "iter",
    "join",
    "key",
    "len",
    "length",
    "list",
    "load",
    "lock",
    "log",
    "main",
    "map",
    "merge",
    "name",
    "new",
    "next",
    "none",
    "open",
    "parse",
    "pop",
    "print",
    "println",
    "push",
    "put",
    "read",
    "remove",
    "render",
    "replace",
    "require",
    "reset",
    "result",
    "run",
    "save",
    "send",
    "set",
    "setUp",
    "setup",
    "size",
    "some",
    "sort",
    "split",
    "start",
    "stop",
    "tearDown",
    "test",
    "toString",
    "unwrap",
    "update",
    "value",
    "write",
];

/// How often the used files define each name.
pub(super) struct Names<'a> {
    defined: BTreeMap<&'a str, usize>,
    constants: BTreeMap<&'a str, usize>,
    tests: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub(super) fn new(sections: &'a Sections<'_>) -> Self {
        let mut names = Self {
            defined: BTreeMap::new(),
            constants: BTreeMap::new(),
            tests: BTreeMap::new(),
        };
        for section in &sections.all {
            for definition in &section.symbols.definitions {
                *names.defined.entry(&definition.name).or_default() += 1;
            }
            for constant in &section.symbols.constants {
                *names.constants.entry(&constant.name).or_default() += 1;
            }
            for test in &section.symbols.tests {
                *names.tests.entry(&test.name).or_default() += 1;
            }
        }
        names
    }

    /// All names of functions and types, sorted.
    pub(super) fn defined(&self) -> impl Iterator<Item = &'a str> {
        self.defined.keys().copied()
    }

    pub(super) fn defines(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// Whether one function or type has the name, and nothing else.
    pub(super) fn one_symbol(&self, name: &str) -> bool {
        self.defined.get(name) == Some(&1) && !self.constants.contains_key(name) && tells(name)
    }

    pub(super) fn one_constant(&self, name: &str) -> bool {
        self.constants.get(name) == Some(&1) && !self.defined.contains_key(name) && tells(name)
    }

    pub(super) fn one_test(&self, name: &str) -> bool {
        self.tests.get(name) == Some(&1)
    }
}

/// Whether a name is long and rare enough to tell what it names.
pub(super) fn tells(name: &str) -> bool {
    name.chars().count() >= 3 && !COMMON.contains(&name)
}

/// Names that occur more than once.
pub(super) fn repeated<'n>(names: impl Iterator<Item = &'n str>) -> BTreeSet<&'n str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}
