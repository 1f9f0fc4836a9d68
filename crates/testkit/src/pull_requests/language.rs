//! Languages of the fixtures.

/// A language of the fixtures. JavaScript and TypeScript count as one of the six, and so do C and
/// C++.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    Rust,
    Python,
    TypeScript,
    JavaScript,
    Go,
    Java,
    C,
    Cpp,
}
