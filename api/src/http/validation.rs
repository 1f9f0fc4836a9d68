//! Reads the fields of a request and gathers everything that is wrong with them, in the words and
//! the shape that clients of the first service know.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::http::error::ApiError;
use crate::http::error::Problem;

/// Largest page, so that one request cannot cost as much as a thousand.
const MAX_PAGE_SIZE: i64 = 1000;
/// Largest number of reported problems. A list of a million invalid words must not cause a response
/// a hundred times as large.
const MAX_PROBLEMS: usize = 100;

/// The fields of a request, as they are being read.
pub(crate) struct FieldReader {
    place: &'static str,
    values: Map<String, Value>,
    problems: Vec<Problem>,
    /// Whether more problems were found than are reported.
    more: bool,
}

impl FieldReader {
    fn new(place: &'static str, values: Map<String, Value>) -> Self {
        Self {
            place,
            values,
            problems: Vec::new(),
            more: false,
        }
    }

    /// Notes a problem.
    pub(crate) fn add_problem(&mut self, problem: Problem) {
        if self.is_full() {
            self.more = true;
        } else {
            self.problems.push(problem);
        }
    }

    /// Returns whether no further problem is reported.
    fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    /// Returns the location of a field.
    pub(crate) fn loc(&self, name: &str) -> Vec<Value> {
        vec![json!(self.place), json!(name)]
    }

    /// Returns the raw value of a field. `null` counts as not given.
    pub(crate) fn raw(&self, name: &str) -> Option<Value> {
        self.values
            .get(name)
            .filter(|value| !value.is_null())
            .cloned()
    }

    /// A text of one line.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.text_without(name, char::is_control)
    }

    /// A text of one line and at least one letter, of at most `longest` letters.
    pub(crate) fn short_text(&mut self, name: &str, longest: usize) -> Option<String> {
        let text = self.text(name)?;
        let (kind, msg) = if text.is_empty() {
            (
                "string_too_short",
                "String should have at least 1 character".to_owned(),
            )
        } else if text.chars().count() > longest {
            let msg = format!("String should have at most {longest} characters");
            ("string_too_long", msg)
        } else {
            return Some(text);
        };
        let loc = self.loc(name);
        self.add_problem(Problem::new(kind, loc, msg, text.into()));
        None
    }

    /// A text of any number of lines.
    pub(crate) fn multiline_text(&mut self, name: &str) -> Option<String> {
        let ends = |letter: char| matches!(letter, '\n' | '\r' | '\t');
        self.text_without(name, |letter| letter.is_control() && !ends(letter))
    }

    fn text_without(&mut self, name: &str, refused: impl Fn(char) -> bool) -> Option<String> {
        let value = self.raw(name)?;
        let (kind, msg) = match value.as_str() {
            // No database accepts all control characters, and no URL, path or name contains them.
            Some(text) if text.contains(refused) => (
                "value_error",
                "Input should be a string without control characters",
            ),
            Some(text) => return Some(text.to_owned()),
            None => ("string_type", "Input should be a valid string"),
        };
        let loc = self.loc(name);
        self.add_problem(Problem::new(kind, loc, msg, value));
        None
    }

    /// Notes that a field is missing.
    pub(crate) fn missing(&mut self, name: &str) {
        let loc = self.loc(name);
        let input = Value::Object(self.values.clone());
        self.add_problem(Problem::new("missing", loc, "Field required", input));
    }

    /// A whole number; text that is one will do.
    pub(crate) fn integer(&mut self, name: &str, from: i64, to: i64) -> Option<i64> {
        let value = self.raw(name)?;
        match whole(&value) {
            Ok(number) => self.within(name, number, from, to, value),
            Err((kind, msg)) => {
                let loc = self.loc(name);
                self.add_problem(Problem::new(kind, loc, msg, value));
                None
            }
        }
    }

    /// Reads the size of a page: at least 1. More than 1000 counts as 1000.
    pub(crate) fn page_size(&mut self, usual: i64) -> i64 {
        let asked = self.integer("page_size", 1, i64::MAX);
        asked.unwrap_or(usual).min(MAX_PAGE_SIZE)
    }

    /// A number.
    pub(crate) fn number(&mut self, name: &str, from: f64, to: f64) -> Option<f64> {
        let value = self.raw(name)?;
        let parsed = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match parsed.filter(|number: &f64| number.is_finite()) {
            Some(number) => self.within(name, number, from, to, value),
            None => {
                let loc = self.loc(name);
                let msg = "Input should be a valid number";
                self.add_problem(Problem::new("float_type", loc, msg, value));
                None
            }
        }
    }

    fn within<N>(&mut self, name: &str, number: N, from: N, to: N, value: Value) -> Option<N>
    where
        N: PartialOrd + std::fmt::Display + Serialize,
    {
        let (kind, words, key, limit) = if number < from {
            ("greater_than_equal", "greater", "ge", from)
        } else if number > to {
            ("less_than_equal", "less", "le", to)
        } else {
            return Some(number);
        };
        let msg = format!("Input should be {words} than or equal to {limit}");
        let loc = self.loc(name);
        self.add_problem(Problem {
            ctx: Some(json!({ key: limit })),
            ..Problem::new(kind, loc, msg, value)
        });
        None
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.raw(name)?;
        if let Value::Bool(flag) = value {
            return Some(flag);
        }
        // In a query everything is text.
        match value.as_str() {
            Some("true" | "1") => return Some(true),
            Some("false" | "0") => return Some(false),
            Some(_) | None => {}
        }
        let loc = self.loc(name);
        let msg = "Input should be a valid boolean";
        self.add_problem(Problem::new("bool_type", loc, msg, value));
        None
    }

    /// A time with its offset from UTC (RFC 3339).
    pub(crate) fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let text = self.text(name)?;
        match DateTime::parse_from_rfc3339(&text) {
            Ok(time) => Some(time.with_timezone(&Utc)),
            Err(_) => {
                let loc = self.loc(name);
                let msg = "Input should be a valid datetime, such as 2026-11-23T00:00:00Z";
                self.add_problem(Problem::new("datetime_parsing", loc, msg, text.into()));
                None
            }
        }
    }

    /// A list of texts, each with its position.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.raw(name)?;
        let Value::Array(items) = value else {
            let loc = self.loc(name);
            let msg = "Input should be a valid list";
            self.add_problem(Problem::new("list_type", loc, msg, value));
            return None;
        };
        let mut texts = Vec::new();
        for (position, item) in items.into_iter().enumerate() {
            if let Value::String(text) = item {
                texts.push(text);
            } else {
                let mut loc = self.loc(name);
                loc.push(json!(position));
                let msg = "Input should be a valid string";
                self.add_problem(Problem::new("string_type", loc, msg, item));
            }
            if self.more {
                break;
            }
        }
        Some(texts)
    }

    /// A word of a closed vocabulary.
    pub(crate) fn word<T: std::str::FromStr>(&mut self, name: &str, known: &[&str]) -> Option<T> {
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let loc = self.loc(name);
            self.add_problem(Problem::not_one_of(loc, known, json!(text)));
        }
        parsed
    }

    /// Reads comma-separated words of a vocabulary. Empty if the field is not given.
    pub(crate) fn words<T: std::str::FromStr>(&mut self, name: &str, known: &[&str]) -> Vec<T> {
        let Some(text) = self.text(name) else {
            return Vec::new();
        };
        let mut words = Vec::new();
        for word in text.split(',').map(str::trim) {
            if let Ok(word) = word.parse() {
                words.push(word);
            } else {
                let loc = self.loc(name);
                self.add_problem(Problem::not_one_of(loc, known, json!(word)));
            }
            if self.more {
                break;
            }
        }
        words
    }

    /// Everything that was wrong, if anything was.
    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        if self.more {
            let msg = format!("Too many errors; showing the first {MAX_PROBLEMS}");
            let loc = vec![json!(self.place)];
            self.problems
                .push(Problem::new("too_many_problems", loc, msg, Value::Null));
        }
        Err(ApiError::Invalid(self.problems))
    }
}

/// Below this every whole number is one that a floating one can be.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Returns the integer of a value, or the problem with it.
#[expect(clippy::cast_possible_truncation, reason = "the size was checked")]
fn whole(value: &Value) -> Result<i64, (&'static str, &'static str)> {
    const NO_INTEGER: (&str, &str) = ("int_type", "Input should be a valid integer");
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(whole),
            (None, Some(_)) if number.is_u64() => Ok(i64::MAX),
            // 206.0 is a whole number, however it is written.
            (None, Some(number)) if number.fract() == 0.0 && number.abs() < EXACT => {
                Ok(number as i64)
            }
            (None, _) => Err((
                "int_from_float",
                "Input should be a valid integer, got a number with a fractional part",
            )),
        },
        Value::String(text) => text.trim().parse().map_err(|_| {
            (
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer",
            )
        }),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(NO_INTEGER),
    }
}

/// The fields of a JSON body. Unknown fields are ignored.
pub(crate) struct Body(pub(crate) FieldReader);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .map(|value| value.trim().to_ascii_lowercase())
            .is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"));
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| ApiError::TooLarge)?;
        let problem = |problem| Err(ApiError::Invalid(vec![problem]));
        let loc = || vec![json!("body")];
        if bytes.is_empty() {
            return problem(Problem::new(
                "missing",
                loc(),
                "Field required",
                Value::Null,
            ));
        }
        // Other content types need no preflight, so any web page could send them.
        if !is_json {
            return Err(ApiError::NotJson);
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(values)) => Ok(Self(FieldReader::new("body", values))),
            Ok(other) => problem(Problem::new(
                "model_attributes_type",
                loc(),
                "Input should be a valid dictionary or object to extract fields from",
                other,
            )),
            Err(error) => problem(Problem {
                ctx: Some(json!({ "error": error.to_string() })),
                ..Problem::new(
                    "json_invalid",
                    vec![json!("body"), json!(offset(&bytes, &error))],
                    "JSON decode error",
                    json!({}),
                )
            }),
        }
    }
}

/// The fields of an optional JSON body. Without a body no field is given.
pub(crate) struct OptionalBody(pub(crate) FieldReader);

impl<S: Send + Sync> FromRequest<S> for OptionalBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state)
            .await
            .map_err(|_| ApiError::TooLarge)?;
        if bytes.is_empty() {
            return Ok(Self(FieldReader::new("body", Map::new())));
        }
        if bytes.as_ref() == b"null" {
            return Ok(Self(FieldReader::new("body", Map::new())));
        }
        let request = Request::from_parts(parts, axum::body::Body::from(bytes));
        Body::from_request(request, state)
            .await
            .map(|Body(fields)| Self(fields))
    }
}

/// Returns the byte offset of a JSON error.
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let before: usize = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + error.column().saturating_sub(1)
}

/// The fields of the query.
pub(crate) struct Query(pub(crate) FieldReader);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let values = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
            .collect();
        Ok(Self(FieldReader::new("query", values)))
    }
}

/// The variable parts of the path, in order.
pub(crate) struct Path<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: serde::de::DeserializeOwned + Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Segments that are not UTF-8, or cannot be stored, match no resource.
        if parts.uri.path().contains("%00") {
            return Err(ApiError::NoSuchRoute);
        }
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| ApiError::NoSuchRoute)
    }
}

/// Parses the id in the path parameter `name`.
pub(crate) fn id<T>(name: &str, text: &str) -> Result<T, ApiError>
where
    T: std::str::FromStr<Err = uuid::Error>,
{
    text.parse().map_err(|error: uuid::Error| {
        let error = error.to_string();
        let loc = vec![json!("path"), json!(name)];
        let msg = format!("Input should be a valid UUID, {error}");
        ApiError::Invalid(vec![Problem {
            ctx: Some(json!({ "error": error })),
            ..Problem::new("uuid_parsing", loc, msg, json!(text))
        }])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_json_error_is_counted_from_the_start_of_the_body() {
        let body = b"{\"a\": 1,\n oops}";
        let error = serde_json::from_slice::<Value>(body).unwrap_err();
        assert_eq!(offset(body, &error), 10);
    }

    #[test]
    fn a_number_beyond_every_range_is_out_of_range_and_no_crash() {
        let values = json!({ "n": u64::MAX, "f": 1.5, "t": "12", "b": true });
        let Value::Object(values) = values else {
            panic!("no object")
        };
        let mut fields = FieldReader::new("body", values);
        assert_eq!(fields.integer("n", 1, 10), None);
        assert_eq!(fields.integer("f", 1, 10), None);
        assert_eq!(fields.integer("t", 1, 100), Some(12));
        assert_eq!(fields.integer("b", 1, 10), None);
        let kinds: Vec<_> = fields.problems.iter().map(|problem| problem.kind).collect();
        assert_eq!(kinds, ["less_than_equal", "int_from_float", "int_type"]);
    }
}
