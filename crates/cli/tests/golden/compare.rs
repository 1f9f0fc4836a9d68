//! Comparison of parsed documents: same keys, same figures.

use serde_json::{Map, Value};

/// Fields whose text may be reworded: compared for presence only. Reviewed apart.
const PROSE: &[&str] = &[
    "assumes",
    "caption",
    "description",
    "detail",
    "error",
    "error_message",
    "fix",
    "hint",
    "last_error",
    "message",
    "note",
    "problem",
    "spreads",
    "stderr",
    "title",
    "void_reason",
    "warning",
    "why",
    "why_unranked",
];

/// Objects whose keys are reasons in words: their values are compared without the keys.
const PROSE_KEYED: &[&str] = &["dropped", "left_out", "rejected", "unused", "void"];

/// Fields that were renamed: recorded name, new name. A document may carry both names as long as the
/// old one is deprecated.
const ALIASES: &[(&str, &str)] = &[("doorbells", "notifications")];

/// Returns one line for each difference: the path, the recorded value and the new one.
pub(crate) fn differences(recorded: &Value, produced: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(recorded, produced, "", "", &mut found);
    found
}

fn compare(recorded: &Value, produced: &Value, key: &str, path: &str, found: &mut Vec<String>) {
    if PROSE.contains(&key) {
        if is_present(recorded) != is_present(produced) {
            differ(recorded, produced, path, found);
        }
        return;
    }
    match (recorded, produced) {
        (Value::Object(recorded), Value::Object(produced)) if PROSE_KEYED.contains(&key) => {
            compare_values(recorded, produced, path, found);
        }
        (Value::Object(recorded), Value::Object(produced)) => {
            compare_objects(recorded, produced, path, found);
        }
        (Value::Array(old), Value::Array(new)) => {
            if old.len() != new.len() {
                found.push(format!(
                    "{path}: recorded {} entries, now {}",
                    old.len(),
                    new.len()
                ));
            }
            for (number, (old, new)) in old.iter().zip(new).enumerate() {
                compare(old, new, key, &format!("{path}/{number}"), found);
            }
        }
        (Value::Number(old), Value::Number(new)) if old == new => {}
        (Value::Number(old), Value::Number(new)) => {
            let near = old
                .as_f64()
                .zip(new.as_f64())
                .is_some_and(|(old, new)| (old - new).abs() <= 1e-12 * old.abs().max(1.0));
            if !near {
                differ(recorded, produced, path, found);
            }
        }
        (Value::String(old), Value::String(new)) if is_sentence(key, old) => {
            if numbers(old) != numbers(new) {
                differ(recorded, produced, path, found);
            }
        }
        (old, new) if old == new => {}
        (old, new) => differ(old, new, path, found),
    }
}

fn compare_objects(
    recorded: &Map<String, Value>,
    produced: &Map<String, Value>,
    path: &str,
    found: &mut Vec<String>,
) {
    for (name, old) in recorded {
        let path = format!("{path}/{name}");
        let alias = ALIASES
            .iter()
            .find(|(old, _)| old == name)
            .map(|(_, new)| *new);
        let values: Vec<&Value> = [Some(name.as_str()), alias]
            .into_iter()
            .flatten()
            .filter_map(|name| produced.get(name))
            .collect();
        if values.is_empty() {
            found.push(format!("{path}: recorded, and missing now"));
        }
        for new in values {
            compare(old, new, name, &path, found);
        }
    }
    for name in produced.keys() {
        let renamed = ALIASES
            .iter()
            .any(|(old, new)| new == name && recorded.contains_key(*old));
        if !recorded.contains_key(name) && !renamed {
            found.push(format!("{path}/{name}: not recorded, and there now"));
        }
    }
}

/// Compares the values of objects whose keys may be reworded.
fn compare_values(
    recorded: &Map<String, Value>,
    produced: &Map<String, Value>,
    path: &str,
    found: &mut Vec<String>,
) {
    let sorted = |object: &Map<String, Value>| {
        let mut values: Vec<String> = object.values().map(Value::to_string).collect();
        values.sort();
        values
    };
    if sorted(recorded) != sorted(produced) {
        let value = |object: &Map<String, Value>| Value::Object(object.clone());
        differ(&value(recorded), &value(produced), path, found);
    }
}

fn differ(recorded: &Value, produced: &Value, path: &str, found: &mut Vec<String>) {
    let short = |value: &Value| {
        let text = value.to_string();
        let cut: String = text.chars().take(200).collect();
        if cut.len() < text.len() {
            format!("{cut}…")
        } else {
            text
        }
    };
    found.push(format!(
        "{path}: recorded {}, now {}",
        short(recorded),
        short(produced)
    ));
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    }
}

/// Whether a cell of a report is several words: then its figures are compared, not its words.
fn is_sentence(key: &str, text: &str) -> bool {
    ["cells", "fact"].contains(&key) && text.trim().contains(' ')
}

/// Returns the numbers of a text, in order.
pub(crate) fn numbers(text: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut current = String::new();
    for letter in text.chars().chain([' ']) {
        let continues = letter.is_ascii_digit() || (letter == '.' && !current.is_empty());
        if continues {
            current.push(letter);
        } else if !current.is_empty() {
            numbers.push(current.trim_end_matches('.').to_owned());
            current.clear();
        }
    }
    numbers
}
