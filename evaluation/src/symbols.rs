//! The symbols that a source file defines and uses, by tree-sitter, or by text where there is no
//! grammar for the language.
