//! Twenty made-up pull requests in six languages: small programs before and after a change, the same
//! every time.
//!
//! Every program has constants, functions that call each other across files, and tests; every change
//! adds, modifies, renames and deletes files. What differs is the language, the subject, the names, the
//! sizes and the values.

mod languages;
mod programs;

use crate::repository::Files;

/// One pull request.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Such as `python-invoices`.
    pub name: String,
    pub language: Language,
    pub title: String,
    /// Path → text, before and after the change.
    pub before: Vec<(String, String)>,
    pub after: Vec<(String, String)>,
}

/// What a program is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    Python,
    Rust,
    TypeScript,
    Go,
    Java,
    C,
}

impl Language {
    /// All six.
    pub const ALL: [Self; 6] = [
        Self::Python,
        Self::Rust,
        Self::TypeScript,
        Self::Go,
        Self::Java,
        Self::C,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Rust => "rust",
            Self::TypeScript => "typescript",
            Self::Go => "go",
            Self::Java => "java",
            Self::C => "c",
        }
    }
}

impl Fixture {
    /// The two states, as commits take them.
    pub fn states(&self) -> [Files<'_>; 2] {
        [&self.before, &self.after].map(|files| {
            files
                .iter()
                .map(|(path, text)| (path.as_str(), text.as_bytes()))
                .collect()
        })
    }
}

/// All twenty.
pub fn all() -> Vec<Fixture> {
    programs::SUBJECTS
        .iter()
        .enumerate()
        .map(|(at, subject)| {
            let language = Language::ALL[at % Language::ALL.len()];
            let (before, after) = programs::program(subject, at);
            Fixture {
                name: format!("{}-{}", language.name(), subject.noun),
                language,
                title: subject.title.to_owned(),
                before: languages::write(language, &before),
                after: languages::write(language, &after),
            }
        })
        .collect()
}
