//! What the stub answers: nothing but what follows from the request and the answer key.

use agents::control::Behaviour;
use agents::control::key::{AnswerKey, Statement, combine_replies};
use serde::Serialize;
use serde_json::{Value, json};

use super::Keep;
use super::conversation::{Block, Conversation};

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Turn,
    /// A summary of the conversation is asked for.
    Compaction,
    /// Tokens are to be counted.
    Count,
    /// Nothing that a model is for.
    Other,
}

/// What the stub says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
}

/// A tool that is to be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Value,
}

/// Calls in one message, at most.
const MOST_CALLS: usize = 20;
/// How much of a tool's result is repeated.
const REPEATED: usize = 200;
/// The words by which free recall and open questions are known.
const RECALL: &str = "from memory alone";
/// The words by which an open question is told from free recall.
const OPEN: &str = "an open question";
/// What is said when there is nothing to say.
const NOTED: &str = "Noted.";

/// The words by which the programs' own requests for a summary are known, in the prompt that asks
/// for it or in a system prompt that speaks of nothing else.
const IN_PROMPT: [&str; 5] = [
    // Claude Code; Qwen Code and iFlow CLI come from the same school.
    "detailed summary of the conversation",
    "<state_snapshot>",
    // Codex.
    "CONTEXT CHECKPOINT",
    "handoff summary",
    "summary of the conversation so far",
];
const IN_SYSTEM: [&str; 2] = ["<state_snapshot>", "summarizes"];

/// What a request is for.
pub(super) fn purpose(conversation: &Conversation) -> Purpose {
    let prompt = conversation.prompt().map_or("", |(_, prompt)| prompt);
    let asked = IN_PROMPT.iter().any(|mark| prompt.contains(mark));
    // A summariser of its own has no tools; the agent's own system prompt may speak of summaries.
    let own = conversation.tools.is_empty()
        && IN_SYSTEM
            .iter()
            .any(|mark| conversation.system.contains(mark));
    if asked || own {
        Purpose::Compaction
    } else {
        Purpose::Turn
    }
}

/// Answers a request.
pub(super) fn answer(
    conversation: &Conversation,
    purpose: Purpose,
    key: &AnswerKey,
    keep: Keep,
) -> Reply {
    if purpose == Purpose::Compaction {
        return said(summary(conversation, key, keep));
    }
    let Some((at, prompt)) = conversation.prompt() else {
        return said(NOTED.to_owned());
    };
    if let Some(text) = directive(prompt, "REPEAT: ") {
        return said(text.to_owned());
    }
    if let Some(prefix) = directive(prompt, "RECALL: ") {
        return said(words_with(conversation, at, prefix));
    }
    if let Some(path) = directive(prompt, "READ: ") {
        return read_one(conversation, at, path);
    }
    let asked = key.entries_in_ignoring_spaces(prompt);
    if !asked.is_empty() {
        let replies: Vec<String> = asked
            .iter()
            .map(|entry| {
                let answer = entry.answer(|_, evidence| holds(conversation, at, evidence));
                let answer = answer.unwrap_or_else(|| "I don't recall".to_owned());
                format!("ANSWER: {answer}\nCONFIDENCE: 100")
            })
            .collect();
        return said(combine_replies(&replies));
    }
    if prompt.contains(RECALL) {
        return said(key.free_recall(
            |entry| entry.answer(|_, evidence| holds(conversation, at, evidence)),
            |statement| prompt.contains(OPEN) && can_say(conversation, at, statement),
        ));
    }
    read_listed(conversation, at, prompt)
}

fn said(text: String) -> Reply {
    Reply {
        text,
        calls: Vec::new(),
    }
}

/// What follows a directive on its line.
fn directive<'a>(prompt: &'a str, name: &str) -> Option<&'a str> {
    prompt
        .lines()
        .find_map(|line| line.trim().strip_prefix(name))
}

/// Whether each of these lines stands somewhere else than in the prompt.
fn holds(conversation: &Conversation, prompt: usize, evidence: &[String]) -> bool {
    !evidence.is_empty()
        && evidence.iter().all(|line| {
            conversation
                .texts_without(Some(prompt))
                .any(|text| text.contains(line.as_str()))
        })
}

/// Whether a statement stands somewhere, or follows from what does.
fn can_say(conversation: &Conversation, prompt: usize, statement: &Statement) -> bool {
    holds(conversation, prompt, std::slice::from_ref(&statement.text))
        || holds(conversation, prompt, &statement.evidence)
}

/// A summary that carries the evidence that is kept, in the form that the program asks for.
fn summary(conversation: &Conversation, key: &AnswerKey, keep: Keep) -> String {
    let prompt = conversation.prompt();
    let at = prompt.map_or(usize::MAX, |(at, _)| at);
    let behaviour = match keep {
        Keep::Everything => Behaviour::Perfect,
        Keep::Nothing => Behaviour::Amnesiac,
        Keep::Share { share, .. } => Behaviour::Lossy(share),
    };
    let seed = match keep {
        Keep::Share { seed, .. } => seed,
        Keep::Everything | Keep::Nothing => 0,
    };
    let mut text = "A pull request is being reviewed.".to_owned();
    for entry in &key.entries {
        let held = entry.held_versions(|_, evidence| holds(conversation, at, evidence));
        let kept = behaviour.keeps(&entry.id, held.len(), seed, 0);
        for line in held.iter().take(kept).flat_map(|(_, lines)| lines) {
            text.push_str(&format!("\n[{}] {line}", entry.id));
        }
    }
    // Statements in their own words: their evidence would answer more probes than are kept.
    for statement in &key.statements {
        if can_say(conversation, at, statement) && behaviour.keeps(&statement.id, 1, seed, 0) > 0 {
            text.push_str(&format!("\n[{}] {}", statement.id, statement.text));
        }
    }
    let asks_for = |tag: &str| {
        conversation.system.contains(tag) || prompt.is_some_and(|(_, prompt)| prompt.contains(tag))
    };
    if asks_for("<state_snapshot>") {
        format!("<state_snapshot>\n{text}\n</state_snapshot>")
    } else if asks_for("<summary>") {
        format!("<analysis>\nIt is short.\n</analysis>\n\n<summary>\n{text}\n</summary>")
    } else {
        text
    }
}

/// Every word with a prefix that stands anywhere but in the prompt.
fn words_with(conversation: &Conversation, prompt: usize, prefix: &str) -> String {
    let mut words: Vec<&str> = conversation
        .texts_without(Some(prompt))
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_'))
        .filter(|word| word.starts_with(prefix.trim()))
        .collect();
    words.sort_unstable();
    words.dedup();
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(" ")
    }
}

fn results_after(conversation: &Conversation, prompt: usize) -> Vec<&str> {
    conversation.blocks[prompt..]
        .iter()
        .filter_map(|block| match block {
            Block::Result { text } => Some(text.as_str()),
            Block::Text { .. } | Block::Call { .. } => None,
        })
        .collect()
}

/// Uses a reading tool once and repeats what it answered.
fn read_one(conversation: &Conversation, prompt: usize, path: &str) -> Reply {
    if let Some(result) = results_after(conversation, prompt).last() {
        let beginning: String = result.chars().take(REPEATED).collect();
        return said(format!("READ RESULT: {beginning}"));
    }
    match reading_call(conversation, path.trim()) {
        Some(call) => Reply {
            text: String::new(),
            calls: vec![call],
        },
        None => said("NO TOOL".to_owned()),
    }
}

/// Uses a reading tool on every file that an item of a list in the prompt names, where one is
/// offered and it was not read since.
fn read_listed(conversation: &Conversation, prompt: usize, text: &str) -> Reply {
    let read: Vec<String> = conversation.blocks[prompt..]
        .iter()
        .filter_map(|block| match block {
            Block::Call { args } => Some(strings_of_args(args)),
            Block::Text { .. } | Block::Result { .. } => None,
        })
        .collect();
    let calls: Vec<Call> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- `")?.split('`').next())
        .filter(|path| !read.iter().any(|args| args.contains(path)))
        .take(MOST_CALLS)
        .filter_map(|path| reading_call(conversation, path))
        .collect();
    Reply {
        text: if calls.is_empty() {
            NOTED.to_owned()
        } else {
            String::new()
        },
        calls,
    }
}

fn strings_of_args(args: &Value) -> String {
    super::conversation::strings_of(args)
}

/// A use of the tool that reads a file, if there is one.
fn reading_call(conversation: &Conversation, path: &str) -> Option<Call> {
    for name in ["Read", "read_file"] {
        let Some(tool) = conversation.tools.iter().find(|tool| tool.name == name) else {
            continue;
        };
        let properties = tool.schema.get("properties")?.as_object()?;
        let field = ["file_path", "absolute_path", "path"]
            .into_iter()
            .find(|field| properties.contains_key(*field))?;
        return Some(Call {
            name: tool.name.clone(),
            args: json!({ field: absolute(conversation, path) }),
        });
    }
    // A shell reads too.
    let tool = conversation.tools.iter().find(|tool| {
        ["shell", "shell_command", "exec_command", "local_shell"].contains(&tool.name.as_str())
    })?;
    let quoted = format!("'{}'", path.replace('\'', "'\\''"));
    let properties = tool.schema.get("properties");
    let has = |field: &str| properties.and_then(|properties| properties.get(field));
    let args = if has("cmd").is_some() {
        json!({ "cmd": format!("cat -- {quoted}") })
    } else if has("command")
        .and_then(|command| command.get("type"))
        .is_some_and(|kind| kind == "string")
    {
        json!({ "command": format!("cat -- {quoted}") })
    } else {
        json!({ "command": ["cat", "--", path] })
    };
    Some(Call {
        name: tool.name.clone(),
        args,
    })
}

/// The path below the folder that the program says it works in.
fn absolute(conversation: &Conversation, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    match working_folder(conversation) {
        Some(folder) => format!("{}/{path}", folder.trim_end_matches('/')),
        None => path.to_owned(),
    }
}

/// Programs tell the folder in a line of their own, in these words.
fn working_folder(conversation: &Conversation) -> Option<&str> {
    const WORDS: [&str; 5] = [
        "orking directory: ",
        "orking in the directory: ",
        "<cwd>",
        "orkspace Directories:\n  - ",
        "orking directory is ",
    ];
    conversation.texts_without(None).find_map(|text| {
        WORDS.iter().find_map(|words| {
            let rest = &text[text.find(words)? + words.len()..];
            let end = rest.find(['\n', '<', '`']).unwrap_or(rest.len());
            let folder = rest[..end].trim();
            folder.starts_with('/').then_some(folder)
        })
    })
}

#[cfg(test)]
mod tests {
    use agents::control::key::{Combine, Entry, Part, Version};

    use super::super::conversation::Role;
    use super::*;

    fn key() -> AnswerKey {
        let entry = |name: &str, line: &str, value: &str| Entry {
            id: name.to_owned(),
            question: format!("Which value has `{name}`?"),
            combine: Combine::Single,
            versions: vec![Version {
                parts: vec![Part {
                    evidence: vec![line.to_owned()],
                    value: value.to_owned(),
                }],
            }],
            distractors: Vec::new(),
        };
        AnswerKey {
            entries: vec![
                entry("A", "A = 7", "7"),
                entry("B", "B = 8", "8"),
                entry("C", "C = 9", "9"),
            ],
            statements: vec![Statement {
                id: "purpose-F01".to_owned(),
                text: "The change adds `A`.".to_owned(),
                evidence: vec!["A = 7".to_owned()],
            }],
        }
    }

    fn said_to(read: &str, prompt: &str) -> String {
        let block = |text: &str| Block::Text {
            role: Role::User,
            text: text.to_owned(),
        };
        let conversation = Conversation {
            blocks: vec![block(read), block(prompt)],
            ..Conversation::default()
        };
        answer(&conversation, Purpose::Turn, &key(), Keep::Everything).text
    }

    #[test]
    fn several_questions_are_answered_by_their_numbers_each_by_the_same_rule() {
        let prompt = "Question 1:\nWhich value has `B`?\n\nQuestion 2:\nWhich value has `C`?\n\n\
                      Question 3:\nWhich value has `A`?";
        assert_eq!(
            said_to("+A = 7\n+B = 8", prompt),
            "ANSWER 1: 8\nCONFIDENCE 1: 100\nANSWER 2: I don't recall\nCONFIDENCE 2: 100\n\
             ANSWER 3: 7\nCONFIDENCE 3: 100"
        );
        let one = said_to("+A = 7", "Which value has `A`?");
        assert_eq!(one, "ANSWER: 7\nCONFIDENCE: 100");
    }

    #[test]
    fn what_is_asked_from_memory_alone_gets_all_that_is_held() {
        let prompt = "Answer an open question from memory alone.";
        let all = said_to("+A = 7", prompt);
        assert_eq!(all, "Which value has `A`: 7\nThe change adds `A`.");
        // As a summary keeps it: the statement, and not what would answer a probe.
        let kept = said_to("[purpose-F01] The change adds `A`.", prompt);
        assert_eq!(kept, "The change adds `A`.");
        let recall = said_to("+A = 7", "Tell all, from memory alone.");
        assert_eq!(recall, "Which value has `A`: 7");
        assert_eq!(said_to("nothing", prompt), "I don't recall anything.");
    }
}
