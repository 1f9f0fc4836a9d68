//! The bounded memory of a control agent.

use serde::{Deserialize, Serialize};

use super::behaviour::Behaviour;
use super::key::{AnswerKey, Entry, Statement};

/// Characters per token, the usual rule of thumb.
const CHARS_PER_TOKEN: u64 = 4;
/// The share of the window, in percent, beyond which nothing is taken in without a compaction.
const FULL_AT: u64 = 80;

/// What a session holds; this is its file on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) session: String,
    /// In tokens.
    pub(super) window: u64,
    /// What was said and read since the last compaction, in order.
    pub(super) messages: Vec<String>,
    /// What the last compaction kept.
    pub(super) notes: Vec<Note>,
    /// The statements that it kept, word for word.
    #[serde(default)]
    pub(super) said: Vec<String>,
    pub(super) compactions: u32,
}

/// What is kept of one entry: the evidence of each version that was kept, word for word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) entry: String,
    /// By the version's number.
    pub(super) lines: Vec<(usize, Vec<String>)>,
}

/// What a compaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compacted {
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

    /// Tokens in the context.
    pub(super) fn tokens(&self) -> u64 {
        let notes: u64 = self.notes.iter().map(|note| length(&note.text())).sum();
        let said: u64 = self.said.iter().map(|text| length(text)).sum();
        let messages: u64 = self.messages.iter().map(|message| length(message)).sum();
        (notes + said + messages).div_ceil(CHARS_PER_TOKEN)
    }

    fn full(&self) -> u64 {
        self.window * FULL_AT / 100
    }

    /// Takes something in, compacting first where it would not fit.
    pub(super) fn take_in(
        &mut self,
        text: String,
        key: &AnswerKey,
        behaviour: Behaviour,
        seed: u64,
    ) -> Option<Compacted> {
        let needed = length(&text).div_ceil(CHARS_PER_TOKEN);
        let compacted = (self.tokens() + needed > self.full() && !self.messages.is_empty())
            .then(|| self.compact(key, behaviour, seed));
        // What is larger than the window on its own is cut, as the real tools do.
        let room = self
            .full()
            .saturating_sub(self.tokens())
            .saturating_mul(CHARS_PER_TOKEN);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        match text.char_indices().nth(room) {
            Some((end, _)) => self.messages.push(format!("{} [cut]", &text[..end])),
            None => self.messages.push(text),
        }
        compacted
    }

    /// Replaces everything by notes.
    pub(super) fn compact(
        &mut self,
        key: &AnswerKey,
        behaviour: Behaviour,
        seed: u64,
    ) -> Compacted {
        let tokens_before = self.tokens();
        let notes = key
            .entries
            .iter()
            .filter_map(|entry| {
                let held = self.held(entry);
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
            .filter(|one| self.can_say(one))
            .filter(|one| behaviour.keeps(&one.id, 1, seed, self.compactions) > 0)
            .map(|one| one.text.clone())
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
        Compacted {
            tokens_before,
            tokens_after: self.tokens(),
            summary,
        }
    }

    /// The versions of an entry of which evidence is held, each with the evidence itself.
    fn held(&self, entry: &Entry) -> Vec<(usize, Vec<String>)> {
        entry.held(|version, evidence| self.holds(entry, version, evidence))
    }

    /// Whether each of these lines is in the context: in the entry's own note, or in what was said
    /// and read.
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

    /// Whether a statement was kept, or follows from what was said and read since.
    pub(super) fn can_say(&self, statement: &Statement) -> bool {
        let holds = |line: &String| self.messages.iter().any(|message| message.contains(line));
        self.said.contains(&statement.text)
            || !statement.evidence.is_empty() && statement.evidence.iter().all(holds)
    }

    /// What the context allows to be said of an entry.
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
