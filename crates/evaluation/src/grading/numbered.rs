//! Splits a reply to several questions of one prompt: `ANSWER 2:` and `CONFIDENCE 2:` belong to the
//! second question.
//!
//! A part has the form of a reply to a single question, so that one rule reads both. Parts are
//! independent: a missing part is empty, and text without the number of a question belongs to none.

use std::sync::LazyLock;

use regex::Regex;

use super::reading::has_marker;

/// A line that starts with a marker: text before the word, the word, its number, and the rest.
static MARK: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^([\s*_`#>-]*)(answer|confidence)[ \t]*(?:[#(\[]?(\d{1,3})[)\]]?)?([*_`]*[ \t]*[:\u{ff1a}].*)$",
    )
});
/// A numbered marker anywhere in a line.
static INSIDE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)\b(?:answer|confidence)[ \t]*[#(\[]?\d{1,3}[)\]]?[*_`]*[ \t]*[:\u{ff1a}]")
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are valid")
}

/// Returns the part of a reply that answers each question, in order. Of repeated answers the last
/// one counts, as in a reply to one question.
pub(super) fn parts(reply: &str, questions: usize) -> Vec<String> {
    let mut answers: Vec<Option<String>> = vec![None; questions];
    let mut confidences: Vec<Option<String>> = vec![None; questions];
    let mut open: Option<usize> = None;
    for line in reply.lines() {
        let Some(mark) = MARK.captures(line) else {
            if INSIDE.is_match(line) || has_marker(line) {
                open = None;
            }
            if let Some(answer) = open.and_then(|at| answers[at].as_mut()) {
                answer.push('\n');
                answer.push_str(line);
            }
            continue;
        };
        open = None;
        let number = mark.get(3).and_then(|number| number.as_str().parse().ok());
        let Some(at) = number.and_then(|number: usize| number.checked_sub(1)) else {
            continue;
        };
        if at >= questions {
            continue;
        }
        let plain = format!("{}{}{}", &mark[1], &mark[2], &mark[4]);
        if mark[2].eq_ignore_ascii_case("answer") {
            answers[at] = Some(plain);
            open = Some(at);
        } else {
            confidences[at] = Some(plain);
        }
    }
    answers
        .into_iter()
        .zip(confidences)
        .map(|(answer, confidence)| match (answer, confidence) {
            (None, None | Some(_)) => String::new(),
            (Some(answer), None) => answer.trim_end().to_owned(),
            (Some(answer), Some(confidence)) => format!("{}\n{confidence}", answer.trim_end()),
        })
        .collect()
}
