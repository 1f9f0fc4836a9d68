//! Finds the answer in a reply, and in the answer its items, its letter, or the lack of an answer.
//!
//! The answer follows the last line with `ANSWER:`, in any case and emphasis, on the same line or,
//! if that is empty, on the next. If a line starts with `ANSWER:`, a second one in it belongs to
//! the answer, so that a parameter named `answer:` does no harm.

use std::sync::LazyLock;

use regex::Regex;

use crate::grading::sameness::bare;

/// Maximum extent of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// One line.
    Line,
    /// Several lines, if they are a list.
    List,
}

static MARKER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)(?:^|[^\p{L}\p{N}*_`])([*_`]*)answer([*_`]*)[ \t]*[:：]"));
static BULLET: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\s*(?:[-*+\u{2022}]|\(?\d{1,3}[.)])\s+"));
static ABSTENTION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:(?:sorry|hmm|honestly|unfortunately|well|i'm afraid|i am afraid)[,.!]?\s+)*",
        r"(?:(?:i\s+)?(?:(?:really|honestly|simply|just|truly)\s+)?",
        r"(?:do\s+not|don't|dont|cannot|can\s+not|can't|could\s+not|couldn't|no\s+longer)\s+",
        r"(?:(?:really|actually|quite)\s+)?(?:recall|remember|know)\b",
        r"|(?:i\s+have\s+)?no\s+(?:recollection|memory|idea)\b",
        r"|(?:i'm\s+|i\s+am\s+)?not\s+sure\b)",
    ))
});
static SHRUG: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?:unknown|not known|unsure|no answer|n/a|\?+)$"));
static WITHDRAWAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"\b(?:withdrawn|retracted|revoked|rescinded|taken back",
        r"|no longer (?:known|valid|set|defined|in force|applies|applicable))\b",
    ))
});
static HEDGE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(?:not|never|or|nor)\b|n't\b"));
static LETTER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?s)^(?i:option\s+|choice\s+)?\(?([A-Za-z])(?:[).:]+|\s+[-\u{2013}\u{2014}]|\s|$)(.*)$",
    )
});
static SET_BREAK: LazyLock<Regex> = LazyLock::new(|| pattern(r"[,;\n]|\s(?:and|&)\s"));
static STEP_BREAK: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"->|=>|[>\u{2192}\u{21d2},;\n]|\s\d{1,3}[.)]\s|\s(?:and\s+)?then\s"));
static GOES_ON: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:[,;>\u{2192}]|\band)\s*$"));

/// A line that states the agent's confidence, with any emphasis.
static CONFIDENCE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)^[\s*_`#>-]*confidence[*_`]*\s*[:：][*_`\s]*(\d{1,3}(?:\.\d+)?)\s*%?[*_`.\s]*$")
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are valid")
}

/// Returns the answer of a reply, trimmed and not empty. Returns `None` if there is no readable
/// answer.
pub(super) fn answer(reply: &str, extent: Extent) -> Option<String> {
    // The confidence is not part of the answer.
    let lines: Vec<&str> = reply
        .lines()
        .filter(|line| !CONFIDENCE.is_match(line))
        .collect();
    let marked = (0..lines.len())
        .rev()
        .find_map(|at| after_marker(lines[at]).map(|rest| (at, rest)));
    let Some((at, rest)) = marked else {
        let mut spoken = lines
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty());
        let only = spoken.next()?;
        return spoken.next().is_none().then(|| only.to_owned());
    };
    let below = lines[at + 1..]
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.starts_with("```"));
    let block: Vec<&str> = if rest.is_empty() {
        below
            .skip_while(|line| line.is_empty())
            .take_while(|line| !line.is_empty())
            .collect()
    } else {
        let mut block = vec![rest];
        for line in below {
            let last = block.last().copied().unwrap_or_default();
            let goes_on = GOES_ON.is_match(last) || BULLET.is_match(line);
            if line.is_empty() || !goes_on {
                break;
            }
            block.push(line);
        }
        block
    };
    let text = match extent {
        Extent::Line => without_bullet(block.first()?).to_owned(),
        Extent::List => block.join("\n"),
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns whether a line contains an `ANSWER:`.
pub(super) fn has_marker(line: &str) -> bool {
    MARKER.is_match(line)
}

/// Returns the confidence that a reply states, in `[0, 1]`: its last line with a number from 0 to
/// 100.
pub(super) fn confidence(reply: &str) -> Option<f64> {
    let captures = reply
        .lines()
        .rev()
        .find_map(|line| CONFIDENCE.captures(line))?;
    let percent: f64 = captures.get(1)?.as_str().parse().ok()?;
    (percent <= 100.0).then_some(percent / 100.0)
}

/// Returns the text of a line after its `ANSWER:`, without the emphasis around the marker.
fn after_marker(line: &str) -> Option<&str> {
    let found: Vec<_> = MARKER.captures_iter(line).collect();
    let opens = |captures: &regex::Captures<'_>| {
        captures.get(1).is_some_and(|open| {
            line[..open.start()]
                .chars()
                .all(|letter| letter.is_whitespace() || "#>-*_".contains(letter))
        })
    };
    let captures = found
        .iter()
        .find(|captures| opens(captures))
        .or(found.last())?;
    let open = captures.get(1).map_or("", |open| open.as_str());
    let closed = captures.get(2).is_some_and(|close| !close.is_empty());
    let end = captures.get(0).map_or(0, |whole| whole.end());
    let rest = line[end..].trim();
    if open.is_empty() || closed {
        return Some(rest);
    }
    let rest = rest
        .strip_prefix(open)
        .or_else(|| rest.strip_suffix(open))
        .unwrap_or(rest);
    Some(rest.trim())
}

fn without_bullet(text: &str) -> &str {
    BULLET
        .find(text)
        .map_or(text, |bullet| &text[bullet.end()..])
}

/// Returns whether an answer states that the agent does not know, whatever it adds.
pub(super) fn abstains(answer: &str) -> bool {
    ABSTENTION.is_match(&plain(answer))
}

/// Returns whether an answer is a word that means "I do not know", unless it is the expected value.
pub(super) fn shrugs(answer: &str) -> bool {
    SHRUG.is_match(&plain(answer))
}

/// Returns whether an answer states briefly and without hedging that a fact was withdrawn.
pub(super) fn says_withdrawn(answer: &str) -> bool {
    let answer = plain(answer);
    let brief = answer.split_whitespace().count() <= 12;
    brief && WITHDRAWAL.is_match(&answer) && !HEDGE.is_match(&answer)
}

fn plain(answer: &str) -> String {
    answer
        .trim_matches(|letter: char| {
            letter.is_whitespace() || "*_`\"'.\u{201c}\u{201d}".contains(letter)
        })
        .replace('\u{2019}', "'")
        .to_lowercase()
}

/// Returns the alphabet position of the letter at the start of an answer, and the text after it.
pub(super) fn letter(answer: &str) -> Option<(usize, Option<String>)> {
    let bare = bare(answer);
    let bare = bare.trim_start_matches(['*', '`', '"', '\'']);
    let captures = LETTER.captures(bare)?;
    let letter = captures.get(1)?.as_str().bytes().next()?;
    let rest = captures.get(2).map_or("", |rest| rest.as_str());
    let rest = rest.trim().trim_start_matches("**").trim();
    let at = usize::from(letter.to_ascii_uppercase() - b'A');
    Some((at, (!rest.is_empty()).then(|| rest.to_owned())))
}

/// Returns the items of a set, split at commas, semicolons, line ends and "and".
pub(super) fn set_items(answer: &str) -> Vec<String> {
    items(answer, &SET_BREAK)
}

/// Returns the items of a sequence, split at arrows, commas, semicolons, line ends, numbers and
/// "then".
pub(super) fn sequence_items(answer: &str) -> Vec<String> {
    items(answer, &STEP_BREAK)
}

fn items(answer: &str, breaks: &Regex) -> Vec<String> {
    breaks
        .split(answer)
        .map(|item| {
            let item = without_bullet(item).trim();
            let item = item.strip_prefix("and ").unwrap_or(item);
            item.strip_prefix("then ").unwrap_or(item).trim()
        })
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}
