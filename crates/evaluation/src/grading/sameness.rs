//! Decides whether two texts are the same value.
//!
//! Both texts are normalized. Surrounding quotes, backticks and emphasis do not count, nor does a
//! full stop, comma, semicolon or colon at the end, nor a leading `./` or `repo/` (the folder in
//! which agents find the repository), nor spaces beside punctuation. Other runs of white space are
//! one space, and `\_` is `_`. Case counts.

/// Delimiters that may surround a value.
const WRAPPERS: [(&str, &str); 7] = [
    ("**", "**"),
    ("*", "*"),
    ("`", "`"),
    ("\"", "\""),
    ("'", "'"),
    ("\u{201c}", "\u{201d}"),
    ("\u{2018}", "\u{2019}"),
];

/// Returns whether an answer is the expected value. The parentheses of a call, directly after a
/// name, are ignored.
pub(super) fn same(expected: &str, answer: &str) -> bool {
    if normal(expected) == normal(answer) {
        return true;
    }
    let expected = bare(expected);
    is_name(&expected)
        && bare(answer)
            .strip_prefix(&expected)
            .is_some_and(is_one_group)
}

/// Returns the normalized form of a value. Returns the bare text if nothing would remain.
pub(super) fn normal(text: &str) -> String {
    without_idle_space(&bare(text))
}

/// Returns a text without surrounding delimiters. Its inner spaces stay.
pub(super) fn bare(text: &str) -> String {
    let unescaped = text.replace("\\_", "_");
    let mut rest = unescaped.trim();
    loop {
        let before = rest;
        rest = rest.trim_end_matches(['.', ',', ';', ':']).trim();
        for (open, close) in WRAPPERS {
            let inner = rest
                .strip_prefix(open)
                .and_then(|tail| tail.strip_suffix(close));
            if let Some(inner) = inner.filter(|inner| !inner.is_empty()) {
                rest = inner.trim();
            }
        }
        for prefix in ["./", "repo/"] {
            rest = rest.strip_prefix(prefix).unwrap_or(rest);
        }
        if rest == before {
            break;
        }
    }
    if rest.is_empty() {
        rest = unescaped.trim();
    }
    rest.to_owned()
}

/// Does the same as [`normal`], without case.
pub(super) fn folded(text: &str) -> String {
    normal(text).to_lowercase()
}

/// Returns whether a text names a value anywhere, as whole words and ignoring case.
pub(super) fn names(text: &str, value: &str) -> bool {
    let text = folded(text);
    let value = folded(value);
    if value.is_empty() {
        return false;
    }
    text.match_indices(&value).any(|(start, found)| {
        let before = text[..start].chars().next_back();
        let after = text[start + found.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && text
            .chars()
            .all(|letter| is_word(letter) || letter == ':' || letter == '.')
}

/// Returns whether the text is `(…)` whose first parenthesis is closed by its last.
fn is_one_group(text: &str) -> bool {
    let mut depth = 0_u32;
    let mut letters = text.chars().peekable();
    if letters.peek() != Some(&'(') {
        return false;
    }
    while let Some(letter) = letters.next() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return letters.next().is_none();
        }
    }
    false
}

fn without_idle_space(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut spaced = false;
    for letter in text.chars() {
        if letter.is_whitespace() {
            spaced = true;
            continue;
        }
        if spaced && is_word(letter) && out.chars().next_back().is_some_and(is_word) {
            out.push(' ');
        }
        spaced = false;
        out.push(letter);
    }
    out
}
