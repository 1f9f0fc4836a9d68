//! Names that can be asked about: those with one meaning in all changed files.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::sections::Sections;

/// Names that are too common for a question, separated by spaces.
const COMMON: &str = "\
    Array Boolean Errorf Number Object String __init__ __new__ __repr__ __str__ abs accept add \
    afterEach all and_then any append apply args as_bytes as_ref as_slice as_str assert async \
    beforeEach begin bind bool build call catch chars check clear clone cloned close cmp collect \
    config constructor contains copied copy count create data default delete describe dict \
    display done drop each end ends_with endswith entries enumerate eq equals err error errors \
    exec execute expect extend filter find float flush fmt fold forEach format fprintf free from \
    from_str get getattr handle handler has hash hashCode index init insert int into into_iter \
    is_empty is_err is_none is_none_or is_ok is_some is_some_and isinstance item items iter \
    iter_mut join key keys len length lines list load lock log lower main make malloc map \
    map_err max memcpy memset merge min name new next none ok_or ok_or_else open or_else panic \
    parse parseFloat parseInt pop print printf println push push_str put range read remove \
    render replace require reset result rev run save send set setUp size sizeof skip some sort \
    split sprintf start starts_with startswith stop str strip strlen sum super take tearDown \
    test then toBe toEqual toString to_owned to_string to_vec trim tuple type unwrap unwrap_or \
    unwrap_or_default unwrap_or_else update upper value valueOf values write";

/// Names of types that many libraries define, so that another file may mean another type.
const WIDESPREAD: &str = "\
    action agent app args base block body builder button client command component context \
    controller cursor document element entity entry error event field file form group header id \
    input instance job kind label layer layout lexer line link logger manager message method \
    mode model module node object option options order output page params part path pattern \
    player plugin point pool position process property provider query queue range record \
    reference report request resource response role root route router row rule scope section \
    server service session settings slot source stack state status step storage store stream \
    style table target task template text theme thread time timer title token tree type user \
    util utils version view window worker";

/// Number of definitions of each name in the used files.
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

    /// Returns all names of functions and types, sorted.
    pub(super) fn defined(&self) -> impl Iterator<Item = &'a str> {
        self.defined.keys().copied()
    }

    pub(super) fn defines(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// Returns whether exactly one function or type has the name, and nothing else.
    pub(super) fn one_symbol(&self, name: &str) -> bool {
        self.defined.get(name) == Some(&1) && !self.constants.contains_key(name) && identifies(name)
    }

    pub(super) fn one_constant(&self, name: &str) -> bool {
        self.constants.get(name) == Some(&1) && !self.defined.contains_key(name) && identifies(name)
    }

    pub(super) fn one_test(&self, name: &str) -> bool {
        self.tests.get(name) == Some(&1)
    }
}

/// Returns whether a name is long and rare enough to identify one thing. In Go `New` is as common
/// as `new` elsewhere, so case does not count.
pub(super) fn identifies(name: &str) -> bool {
    name.chars().count() >= 3 && !is_among(COMMON, name)
}

/// Returns whether the name most likely has the same meaning in every file of a change.
pub(super) fn is_rare(name: &str) -> bool {
    identifies(name) && !is_among(WIDESPREAD, name)
}

fn is_among(names: &str, name: &str) -> bool {
    names
        .split(' ')
        .any(|other| other.eq_ignore_ascii_case(name))
}

/// Returns the names that occur more than once.
pub(super) fn repeated<'n>(names: impl Iterator<Item = &'n str>) -> BTreeSet<&'n str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}
