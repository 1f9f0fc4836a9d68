//! Rules of the answers: they depend only on the request and the answer key.

use agents::control::Behaviour;
use agents::control::key::{AnswerKey, Statement, combine_replies};
use serde::Serialize;
use serde_json::{Value, json};

use super::configuration::Keep;
use super::conversation::{Block, Conversation, strings_of};

/// Purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Turn,
    /// A summary of the conversation.
    Compaction,
    /// A token count.
    Count,
    /// Not a request to a model.
    Other,
}

/// Answer of the stub.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Value,
}

/// Maximum number of tool calls in one message.
const MAX_CALLS: usize = 20;
/// Maximum length of a repeated tool result, in characters.
const MAX_REPEATED_CHARS: usize = 200;
/// Phrase that identifies free recall and open questions.
const RECALL: &str = "from memory alone";
/// Phrase that identifies an open question.
const OPEN: &str = "an open question";
/// Answer without any content.
const NOTED: &str = "Noted.";

/// Phrases that identify the programs' own requests for a summary, in a prompt.
const SUMMARY_PROMPTS: [&str; 5] = [
    // Claude Code, Qwen Code and iFlow CLI.
    "detailed summary of the conversation",
    "<state_snapshot>",
    // Codex.
    "CONTEXT CHECKPOINT",
    "handoff summary",
    "summary of the conversation so far",
];
/// Phrases that identify the programs' own requests for a summary, in a system prompt.
const SUMMARY_SYSTEM_PROMPTS: [&str; 2] = ["<state_snapshot>", "summarizes"];

/// Returns the purpose of a request.
pub(super) fn purpose(conversation: &Conversation) -> Purpose {
    let prompt = conversation.prompt().map_or("", |(_, prompt)| prompt);
    let by_prompt = SUMMARY_PROMPTS.iter().any(|mark| prompt.contains(mark));
    // A separate summariser has no tools. The agent's system prompt may mention summaries, too.
    let by_system = conversation.tools.is_empty()
        && SUMMARY_SYSTEM_PROMPTS
            .iter()
            .any(|mark| conversation.system.contains(mark));
    if by_prompt || by_system {
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
        return reply(summary(conversation, key, keep));
    }
    let Some((at, prompt)) = conversation.prompt() else {
        return reply(NOTED.to_owned());
    };
    if let Some(text) = directive(prompt, "REPEAT: ") {
        return reply(text.to_owned());
    }
    if let Some(prefix) = directive(prompt, "RECALL: ") {
        return reply(words_with(conversation, at, prefix));
    }
    if let Some(path) = directive(prompt, "READ: ") {
        return read_one(conversation, at, path);
    }
    let entries = key.entries_in_ignoring_spaces(prompt);
    if !entries.is_empty() {
        let replies: Vec<String> = entries
            .iter()
            .map(|entry| {
                let answer = entry.answer(|_, evidence| holds(conversation, at, evidence));
                let answer = answer.unwrap_or_else(|| "I don't recall".to_owned());
                format!("ANSWER: {answer}\nCONFIDENCE: 100")
            })
            .collect();
        return reply(combine_replies(&replies));
    }
    if prompt.contains(RECALL) {
        return reply(key.free_recall(
            |entry| entry.answer(|_, evidence| holds(conversation, at, evidence)),
            |statement| prompt.contains(OPEN) && can_state(conversation, at, statement),
        ));
    }
    read_listed(conversation, at, prompt)
}

fn reply(text: String) -> Reply {
    Reply {
        text,
        calls: Vec::new(),
    }
}

/// Returns the text after a directive on its line.
fn directive<'a>(prompt: &'a str, name: &str) -> Option<&'a str> {
    prompt
        .lines()
        .find_map(|line| line.trim().strip_prefix(name))
}

/// Returns whether each of these lines is in the request outside the prompt.
fn holds(conversation: &Conversation, prompt: usize, evidence: &[String]) -> bool {
    !evidence.is_empty()
        && evidence.iter().all(|line| {
            conversation
                .texts_without(Some(prompt))
                .any(|text| text.contains(line.as_str()))
        })
}

/// Returns whether the request contains a statement or its evidence.
fn can_state(conversation: &Conversation, prompt: usize, statement: &Statement) -> bool {
    holds(conversation, prompt, std::slice::from_ref(&statement.text))
        || holds(conversation, prompt, &statement.evidence)
}

/// Returns a summary with the kept evidence, in the form that the program asks for.
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
    // Statements instead of their evidence, which would answer more probes than are kept.
    for statement in &key.statements {
        if can_state(conversation, at, statement) && behaviour.keeps(&statement.id, 1, seed, 0) > 0
        {
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

/// Returns every word with a prefix, outside the prompt.
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

/// Calls a reading tool once and repeats its result.
fn read_one(conversation: &Conversation, prompt: usize, path: &str) -> Reply {
    if let Some(result) = results_after(conversation, prompt).last() {
        let beginning: String = result.chars().take(MAX_REPEATED_CHARS).collect();
        return reply(format!("READ RESULT: {beginning}"));
    }
    match reading_call(conversation, path.trim()) {
        Some(call) => Reply {
            text: String::new(),
            calls: vec![call],
        },
        None => reply("NO TOOL".to_owned()),
    }
}

/// Calls a reading tool for every file that a list item of the prompt names and that was not yet
/// read.
fn read_listed(conversation: &Conversation, prompt: usize, text: &str) -> Reply {
    let read: Vec<String> = conversation.blocks[prompt..]
        .iter()
        .filter_map(|block| match block {
            Block::Call { args } => Some(strings_of(args)),
            Block::Text { .. } | Block::Result { .. } => None,
        })
        .collect();
    let calls: Vec<Call> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- `")?.split('`').next())
        .filter(|path| !read.iter().any(|args| args.contains(path)))
        .take(MAX_CALLS)
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

/// Returns a call of the tool that reads a file, if one is offered.
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
    // A shell can read files, too.
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

/// Returns the path below the working folder that the program states.
fn absolute(conversation: &Conversation, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    match working_folder(conversation) {
        Some(folder) => format!("{}/{path}", folder.trim_end_matches('/')),
        None => path.to_owned(),
    }
}

/// Returns the working folder, which programs state on a line of its own.
fn working_folder(conversation: &Conversation) -> Option<&str> {
    const PHRASES: [&str; 5] = [
        "orking directory: ",
        "orking in the directory: ",
        "<cwd>",
        "orkspace Directories:\n  - ",
        "orking directory is ",
    ];
    conversation.texts_without(None).find_map(|text| {
        PHRASES.iter().find_map(|phrase| {
            let rest = &text[text.find(phrase)? + phrase.len()..];
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

    fn answer_to(read: &str, prompt: &str) -> String {
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
    fn several_questions_are_answered_with_their_numbers() {
        let prompt = "Question 1:\nWhich value has `B`?\n\nQuestion 2:\nWhich value has `C`?\n\n\
                      Question 3:\nWhich value has `A`?";
        assert_eq!(
            answer_to("+A = 7\n+B = 8", prompt),
            "ANSWER 1: 8\nCONFIDENCE 1: 100\nANSWER 2: I don't recall\nCONFIDENCE 2: 100\n\
             ANSWER 3: 7\nCONFIDENCE 3: 100"
        );
        let one = answer_to("+A = 7", "Which value has `A`?");
        assert_eq!(one, "ANSWER: 7\nCONFIDENCE: 100");
    }

    #[test]
    fn free_recall_returns_everything_that_is_held() {
        let prompt = "Answer an open question from memory alone.";
        let all = answer_to("+A = 7", prompt);
        assert_eq!(all, "Which value has `A`: 7\nThe change adds `A`.");
        // A summary keeps the statement, not the evidence that would answer a probe.
        let kept = answer_to("[purpose-F01] The change adds `A`.", prompt);
        assert_eq!(kept, "The change adds `A`.");
        let recall = answer_to("+A = 7", "Tell all, from memory alone.");
        assert_eq!(recall, "Which value has `A`: 7");
        assert_eq!(answer_to("nothing", prompt), "I don't recall anything.");
    }
}
