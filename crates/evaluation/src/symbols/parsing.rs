//! Parses any text, with a stack of sufficient size and in a bounded number of steps.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::thread;

use tree_sitter::{Language, ParseOptions, ParseState, Parser, Tree};

/// Larger files are data or generated.
const LARGEST_SOURCE: usize = 1 << 20;

/// Stack of the parser per byte of the source. The parser merges readings of unmatched brackets
/// recursively: twenty thousand repetitions of `{[(<` take some 30 bytes of stack for each byte.
const STACK_PER_BYTE: usize = 128;

const SMALLEST_STACK: usize = 2 << 20;

/// Calls `read` with a stack that is large enough to parse the source. Returns `None` if the source
/// is too large, or if the system cannot start a thread.
pub(super) fn with_stack<T: Send>(
    source: &str,
    read: impl FnOnce() -> Option<T> + Send,
) -> Option<T> {
    if source.len() > LARGEST_SOURCE {
        return None;
    }
    // A separate thread, because a stack overflow ends the whole process.
    thread::scope(|scope| {
        let reader = thread::Builder::new()
            .stack_size(SMALLEST_STACK + source.len() * STACK_PER_BYTE)
            .spawn_scoped(scope, read)
            .ok()?;
        reader.join().unwrap_or_else(|fault| resume_unwind(fault))
    })
}

/// Parses within a bound that does not depend on a clock: the same source always gives the same
/// tree.
pub(super) fn parse(language: &Language, source: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(language).ok()?;
    // The parser calls back once in a hundred steps. A plain source takes a few steps per byte.
    let mut left = 1_000 + source.len() / 2;
    let mut go_on = |_: &ParseState| match left.checked_sub(1) {
        Some(fewer) => {
            left = fewer;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    };
    let options = ParseOptions::new().progress_callback(&mut go_on);
    let mut rest = |at: usize, _| source.as_bytes().get(at..).unwrap_or_default();
    parser.parse_with_options(&mut rest, None, Some(options))
}
