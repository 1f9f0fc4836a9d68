//! Access to loosely typed JSON, as programs write it.

use serde_json::Value;

use super::MAX_TARGET_CHARS;

/// Returns the elements of an array. Any other value has none.
pub(in crate::adapters) fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns a text. Any other value is an empty text.
pub(in crate::adapters) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the values of a file of JSON lines. Lines that cannot be parsed are skipped: a program
/// that was stopped leaves half a line.
pub(in crate::adapters) fn lines(file: &[u8]) -> impl Iterator<Item = Value> {
    file.split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}

/// Parses a line of a stream. Returns `None` for blank lines and for other text, which is counted.
pub(in crate::adapters) fn stream_line(line: &[u8], unreadable: &mut u32) -> Option<Value> {
    let value = serde_json::from_slice(line).ok();
    if value.is_none() && !line.iter().all(u8::is_ascii_whitespace) {
        *unreadable += 1;
    }
    value
}

/// Returns the target of a tool call, for people: the first of the named arguments that is a text,
/// or all arguments.
pub(in crate::adapters) fn tool_target(arguments: &Value, names: &[&str]) -> String {
    let target = names.iter().find_map(|name| arguments.get(*name)?.as_str());
    match target {
        Some(target) => shorten(target, MAX_TARGET_CHARS),
        None => shorten(&arguments.to_string(), MAX_TARGET_CHARS),
    }
}

/// Cuts a text to a number of characters.
pub(in crate::adapters) fn shorten(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}
