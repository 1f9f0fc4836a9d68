//! The bounded memory of a control agent.

use serde::{Deserialize, Serialize};

use super::behaviour::Behaviour;
use super::key::{AnswerKey, Entry, Statement};

/// Estimated characters per token.
const CHARS_PER_TOKEN: u64 = 4;
/// Share of the window, in percent, above which a new message causes a compaction.
const FULL_PERCENT: u64 = 80;

/// Memory of a session, which is also its file on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) session: String,
    /// In tokens.
    pub(super) window: u64,
    /// Prompts, answers and files since the last compaction, in order.
    pub(super) messages: Vec<String>,
    /// Entries that the last compaction kept.
    pub(super) notes: Vec<Note>,
    /// Statements that the last compaction kept, word for word.
    #[serde(default)]
    pub(super) said: Vec<String>,
    pub(super) compactions: u32,
}

/// Evidence of one entry, word for word, for each version that was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) entry: String,
    /// Lines by the number of the version.
    pub(super) lines: Vec<(usize, Vec<String>)>,
}

/// Result of a compaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CompactionResult {
    pub(super) tokens_before: u64,
    pub(super) tokens_after: u64,
    pub(super) summary: String,
}

impl Memory {
    pub(super) fn new(session: String, window: u64) -> Self {
        Self {
            session,
            window,
            messages: Vec::new(),
            notes: Vec::new(),
            said: Vec::new(),
            compactions: 0,
        }
    }

    /// Returns the number of tokens in the context.
    pub(super) fn tokens(&self) -> u64 {
        let notes: u64 = self.notes.iter().map(|note| length(&note.text())).sum();
        let said: u64 = self.said.iter().map(|text| length(text)).sum();
        let messages: u64 = self.messages.iter().map(|message| length(message)).sum();
        (notes + said + messages).div_ceil(CHARS_PER_TOKEN)
    }

    fn full_tokens(&self) -> u64 {
        self.window * FULL_PERCENT / 100
    }

    /// Adds a message. Compacts first if the message would not fit.
    pub(super) fn add(
        &mut self,
        text: String,
        key: &AnswerKey,
        behaviour: Behaviour,
        seed: u64,
    ) -> Option<CompactionResult> {
        let needed = length(&text).div_ceil(CHARS_PER_TOKEN);
        let compacted = (self.tokens() + needed > self.full_tokens() && !self.messages.is_empty())
            .then(|| self.compact(key, behaviour, seed));
        // A message that is larger than the window is cut, as in real tools.
        let free = self
            .full_tokens()
            .saturating_sub(self.tokens())
            .saturating_mul(CHARS_PER_TOKEN);
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        match text.char_indices().nth(free) {
            Some((end, _)) => self.messages.push(format!("{} [cut]", &text[..end])),
            None => self.messages.push(text),
        }
        compacted
    }

    /// Replaces all messages by notes.
    pub(super) fn compact(
        &mut self,
        key: &AnswerKey,
        behaviour: Behaviour,
        seed: u64,
    ) -> CompactionResult {
        let tokens_before = self.tokens();
        let notes = key
            .entries
            .iter()
            .filter_map(|entry| {
                let held = self.held_versions(entry);
                let kept = behaviour.keeps(&entry.id, held.len(), seed, self.compactions);
                let lines: Vec<_> = held.into_iter().take(kept).collect();
                (!lines.is_empty()).then(|| Note {
                    entry: entry.id.clone(),
                    lines,
                })
            })
            .collect();
        let said = key
            .statements
            .iter()
            .filter(|statement| self.can_state(statement))
            .filter(|statement| behaviour.keeps(&statement.id, 1, seed, self.compactions) > 0)
            .map(|statement| statement.text.clone())
            .collect();
        self.messages.clear();
        self.notes = notes;
        self.said = said;
        self.compactions += 1;
        let summary = self
            .notes
            .iter()
            .map(Note::text)
            .chain(self.said.iter().cloned())
            .collect::<Vec<_>>()
            .join("\n");
        CompactionResult {
            tokens_before,
            tokens_after: self.tokens(),
            summary,
        }
    }

    /// Returns the versions of an entry whose evidence is held, with the evidence.
    fn held_versions(&self, entry: &Entry) -> Vec<(usize, Vec<String>)> {
        entry.held_versions(|version, evidence| self.holds(entry, version, evidence))
    }

    /// Returns whether each of these lines is in the context: in the entry's own note, or in a
    /// message.
    fn holds(&self, entry: &Entry, version: usize, evidence: &[String]) -> bool {
        let note = self
            .notes
            .iter()
            .filter(|note| note.entry == entry.id)
            .flat_map(|note| &note.lines)
            .find(|(number, _)| *number == version);
        !evidence.is_empty()
            && evidence.iter().all(|line| {
                note.is_some_and(|(_, lines)| lines.contains(line))
                    || self
                        .messages
                        .iter()
                        .any(|message| message.contains(line.as_str()))
            })
    }

    /// Returns whether a statement was kept, or follows from the messages since.
    pub(super) fn can_state(&self, statement: &Statement) -> bool {
        let holds = |line: &String| self.messages.iter().any(|message| message.contains(line));
        self.said.contains(&statement.text)
            || !statement.evidence.is_empty() && statement.evidence.iter().all(holds)
    }

    /// Returns the answer to an entry that the context supports.
    pub(super) fn answer(&self, entry: &Entry) -> Option<String> {
        entry.answer(|version, evidence| self.holds(entry, version, evidence))
    }
}

impl Note {
    fn text(&self) -> String {
        let lines: Vec<&str> = self
            .lines
            .iter()
            .flat_map(|(_, lines)| lines)
            .map(String::as_str)
            .collect();
        format!("[{}] {}", self.entry, lines.join("\n"))
    }
}

fn length(text: &str) -> u64 {
    text.chars().count() as u64
}
