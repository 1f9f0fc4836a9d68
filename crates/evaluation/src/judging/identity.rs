//! Removes the identity of the author from a text: a judge must not know which agent it judges.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// Replacement for a removed name.
const REPLACEMENT: &str = "the agent";

/// For an agent, or a part of a model's name: its names among people and in the program itself, and
/// its maker.
const AGENT_NAMES: [(&str, &[&str]); 8] = [
    ("claude", &["Claude Code", "Claude", "Anthropic"]),
    (
        "gemini",
        &["Gemini CLI", "Gemini", "Google DeepMind", "Google"],
    ),
    ("codex", &["Codex CLI", "Codex", "ChatGPT", "OpenAI"]),
    ("gpt", &["ChatGPT", "GPT", "OpenAI"]),
    ("qwen", &["Qwen Code", "Qwen", "Alibaba Cloud", "Alibaba"]),
    ("iflow", &["iFlow CLI", "iFlow"]),
    ("kimi", &["Kimi", "Moonshot AI"]),
    ("glm", &["GLM", "Zhipu AI", "Z.ai"]),
];

/// Names of these families that are also other words, and so count only in this spelling.
const AS_WRITTEN: [&str; 2] = ["Google", "GPT"];

static INTRODUCTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?im)^[ \t>*#-]*(?:as (?:an? )?(?:the agent|[A-Z][\w.-]*(?: [A-Z][\w.-]*){0,2}|(?:AI|large) [\w ]{0,40}?(?:model|assistant|agent)),[ \t]+|(?:hello|hi)[,!.]?[ \t]*$)",
    )
    .expect("the pattern is valid")
});
/// A sentence that names the author of the text.
static SIGNATURE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?im)(^|[.!?]\s+)[ \t>*_#—–-]*(?:(?:i am|i'm|i’m|this is|my name is|hello, i am|hi, i'm)\s+(?:an? |the )?(?:the agent\b|AI\b|large language model\b|language model\b|coding (?:agent|assistant)\b)|(?:written|answered|generated|reviewed|signed)(?:,|:)?\s+(?:by|with)\s+(?:the agent|an AI)\b|(?:the agent here)\b|co-authored-by:)[^.!?\n`]*(?:[.!?]|$)",
    )
    .expect("the pattern is valid")
});
static FENCED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)```.*?```|`[^`\n]*`").expect("the pattern is valid"));

/// Returns the names that a text may use for an agent: its own name, those of its program and its
/// maker, and the model that it uses.
pub fn aliases(agent: &str, program: Option<&str>, model: Option<&str>) -> Vec<String> {
    let short = agent.split(':').next().unwrap_or(agent);
    let mut aliases: Vec<String> = [Some(short), program, model]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    if let Some((_, name)) = model.and_then(|model| model.rsplit_once('/')) {
        aliases.push(name.to_owned());
    }
    for (sign, names) in AGENT_NAMES {
        let of = |name: &str| name.to_lowercase().contains(sign);
        if of(short) || model.is_some_and(of) {
            aliases.extend(names.iter().map(|&name| name.to_owned()));
        }
    }
    aliases.retain(|name| name.len() > 2);
    // Longer names first: "Claude Code", not "the agent Code".
    aliases.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    aliases.dedup();
    aliases
}

/// Returns a text without the names of its author and without sentences that name the author.
///
/// Texts in backticks, and words that are part of a path or a longer name (`src/gemini/client.py`,
/// `gemini-client`), are facts and stay.
pub fn strip_identity(text: &str, names: &[String]) -> String {
    let mut stripped = text.to_owned();
    for name in names.iter().filter(|name| name.len() > 2) {
        let case = if AS_WRITTEN.contains(&name.as_str()) {
            ""
        } else {
            "(?i)"
        };
        let Ok(pattern) = Regex::new(&format!("{case}{}", regex::escape(name))) else {
            continue;
        };
        let kept: Vec<Range<usize>> = FENCED
            .find_iter(&stripped)
            .map(|found| found.range())
            .collect();
        let mut rest = String::with_capacity(stripped.len());
        let mut done = 0;
        for found in pattern.find_iter(&stripped) {
            let range = found.range();
            let in_code = kept
                .iter()
                .any(|kept| kept.start <= range.start && range.end <= kept.end);
            if in_code || !is_whole(&stripped, &range) {
                continue;
            }
            rest.push_str(&stripped[done..range.start]);
            rest.push_str(REPLACEMENT);
            done = range.end;
        }
        rest.push_str(&stripped[done..]);
        stripped = rest;
    }
    let stripped = SIGNATURE.replace_all(&stripped, "$1");
    INTRODUCTION.replace_all(&stripped, "").into_owned()
}

/// Returns whether no part of a path or of a longer name is adjacent.
fn is_whole(text: &str, range: &Range<usize>) -> bool {
    let before = text[..range.start].chars().next_back();
    let mut after = text[range.end..].chars();
    let (next, then) = (after.next(), after.next());
    let joins = |c: char| c.is_alphanumeric() || "_/\\-.@".contains(c);
    let goes_on = match next {
        None => false,
        Some('.' | ':' | '-') => then.is_some_and(char::is_alphanumeric),
        Some(c) => c.is_alphanumeric() || "_/\\@(".contains(c),
    };
    !before.is_some_and(joins) && !goes_on
}
