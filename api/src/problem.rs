//! One thing that is wrong with a request, in the shape that clients of the first service know.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A word for programs, such as `enum` or `int_parsing`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Where: `body`, `query`, `path` or `header`, then field names and list positions.
    #[schema(value_type = Vec<Value>)]
    pub(crate) loc: Vec<Value>,
    /// What is wrong, for people.
    pub(crate) msg: String,
    /// What was given.
    #[schema(value_type = Value)]
    pub(crate) input: Value,
    /// The limits that were crossed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) ctx: Option<Value>,
}

impl Problem {
    /// A problem without limits to name.
    pub(crate) fn new(
        kind: &'static str,
        loc: Vec<Value>,
        msg: impl Into<String>,
        input: Value,
    ) -> Self {
        Self {
            kind,
            loc,
            msg: msg.into(),
            input,
            ctx: None,
        }
    }

    /// A word that is none of those known.
    pub(crate) fn not_one_of(loc: Vec<Value>, known: &[&str], input: Value) -> Self {
        let expected = alternatives(known);
        Self {
            ctx: Some(json!({ "expected": expected })),
            ..Self::new("enum", loc, format!("Input should be {expected}"), input)
        }
    }
}

/// `'a', 'b' or 'c'`.
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        Some((last, _)) => last.clone(),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_listed_as_people_do() {
        assert_eq!(alternatives(&["a"]), "'a'");
        assert_eq!(alternatives(&["a", "b", "c"]), "'a', 'b' or 'c'");
    }
}
