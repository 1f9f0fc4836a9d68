//! The answer key: it replaces the model of a control agent.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Name of the file with the answer key, in a control's HOME.
pub const KEY_FILE: &str = "answer-key.json";

/// Answers to the probes of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerKey {
    pub entries: Vec<Entry>,
    /// Further true statements, for open questions.
    #[serde(default)]
    pub statements: Vec<Statement>,
}

/// A true statement about the pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub id: String,
    /// One sentence. A control that kept it no longer needs the evidence.
    pub text: String,
    /// Lines that must be held to understand it.
    pub evidence: Vec<String>,
}

/// Answer to one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Label of the probe. It is the same for the same seed.
    pub id: String,
    /// The question, word for word. It identifies the probe in a prompt.
    pub question: String,
    pub combine: Combine,
    /// Versions in the order in which they became true. The answer is the last version whose
    /// evidence is held.
    pub versions: Vec<Version>,
    /// Plausible wrong answers.
    pub distractors: Vec<String>,
}

/// How the parts of a version are combined into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// One value.
    Single,
    /// The values whose evidence is held.
    Set,
    /// All values in order, or nothing.
    Sequence,
}

/// A fact that was true from some point on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub parts: Vec<Part>,
}

/// A value, and the evidence that must be held to state it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub evidence: Vec<String>,
    pub value: String,
}

impl AnswerKey {
    /// Returns the entries that a prompt asks about, in the order of their questions. A question
    /// that is only a part of a longer one does not count.
    pub fn entries_in(&self, prompt: &str) -> Vec<&Entry> {
        self.entries_in_normalized(prompt, Cow::Borrowed)
    }

    /// Does the same, ignoring differences in spaces. Qwen Code puts a space before every `@`.
    pub fn entries_in_ignoring_spaces(&self, prompt: &str) -> Vec<&Entry> {
        let normalize = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.entries_in_normalized(&normalize(prompt), |text| Cow::Owned(normalize(text)))
    }

    fn entries_in_normalized<'a>(
        &'a self,
        prompt: &str,
        normalize: impl Fn(&'a str) -> Cow<'a, str>,
    ) -> Vec<&'a Entry> {
        let mut matches: Vec<(usize, usize, &Entry)> = Vec::new();
        for entry in &self.entries {
            let question = normalize(&entry.question);
            let places = prompt.match_indices(question.as_ref());
            matches.extend(places.map(|(at, text)| (at, at + text.len(), entry)));
        }
        let mut asked: Vec<(usize, &Entry)> = matches
            .iter()
            .filter(|(start, end, _)| {
                !matches.iter().any(|(first, last, _)| {
                    first <= start && end <= last && end - start < last - first
                })
            })
            .map(|(start, _, entry)| (*start, *entry))
            .collect();
        asked.sort_by_key(|(start, _)| *start);
        asked.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Returns the answer to free recall: one sentence per fact that is held.
    pub fn free_recall(
        &self,
        answer: impl Fn(&Entry) -> Option<String>,
        held: impl Fn(&Statement) -> bool,
    ) -> String {
        let answers = self.entries.iter().filter_map(|entry| {
            let answer = answer(entry)?;
            let question = entry.question.lines().next().unwrap_or_default();
            let question = question.replace("? ", ", ").replace(". ", ", ");
            let question = question.trim_end_matches(['?', '.', ' ']);
            Some(format!("{question}: {answer}"))
        });
        let statements = self.statements.iter().filter(|statement| held(statement));
        let lines: Vec<String> = answers
            .chain(statements.map(|statement| statement.text.clone()))
            .collect();
        if lines.is_empty() {
            "I don't recall anything.".to_owned()
        } else {
            lines.join("\n")
        }
    }
}

/// Combines the replies to the questions of one prompt. A single reply is unchanged, several are
/// numbered.
pub fn combine_replies(replies: &[String]) -> String {
    if let [only] = replies {
        return only.clone();
    }
    let lines = (1..).zip(replies).flat_map(|(number, reply)| {
        reply.lines().map(move |line| {
            let marked = |word: &str| {
                let rest = line.strip_prefix(word)?.strip_prefix(':')?;
                Some(format!("{word} {number}:{rest}"))
            };
            let marked = marked("ANSWER").or_else(|| marked("CONFIDENCE"));
            marked.unwrap_or_else(|| line.to_owned())
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Entry {
    /// Returns the versions whose evidence is held, by their number, with the evidence: the lines
    /// that a summary of the conversation would have to contain. `holds` returns whether all
    /// evidence of a part of a version is held.
    pub fn held_versions(
        &self,
        holds: impl Fn(usize, &[String]) -> bool,
    ) -> Vec<(usize, Vec<String>)> {
        self.versions
            .iter()
            .enumerate()
            .filter_map(|(number, version)| {
                let parts: Vec<&Part> = version
                    .parts
                    .iter()
                    .filter(|part| holds(number, &part.evidence))
                    .collect();
                let complete = self.combine == Combine::Set || parts.len() == version.parts.len();
                let lines: Vec<String> = parts
                    .iter()
                    .flat_map(|part| part.evidence.iter().cloned())
                    .collect();
                (complete && !lines.is_empty()).then_some((number, lines))
            })
            .collect()
    }

    /// Returns the answer that the held evidence supports. Returns `None` if it supports none.
    pub fn answer(&self, holds: impl Fn(usize, &[String]) -> bool) -> Option<String> {
        self.versions
            .iter()
            .enumerate()
            .rev()
            .find_map(|(number, version)| {
                let values: Vec<&str> = version
                    .parts
                    .iter()
                    .filter(|part| holds(number, &part.evidence))
                    .map(|part| part.value.as_str())
                    .collect();
                match self.combine {
                    _ if values.is_empty() => None,
                    Combine::Set => Some(values.join(", ")),
                    Combine::Single | Combine::Sequence if values.len() < version.parts.len() => {
                        None
                    }
                    Combine::Single => values.first().map(|&value| value.to_owned()),
                    Combine::Sequence => Some(values.join(" -> ")),
                }
            })
    }
}
