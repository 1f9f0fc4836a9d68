//! The answer key: what a control agent needs instead of a model.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// All entries for the probes of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerKey {
    pub entries: Vec<Entry>,
    /// What can be said beside the answers where an open question is asked.
    #[serde(default)]
    pub statements: Vec<Statement>,
}

/// Something true that can be said of the pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub id: String,
    /// One sentence. Who keeps it needs the evidence no longer.
    pub text: String,
    /// What must be held for it to be understood.
    pub evidence: Vec<String>,
}

/// How to answer one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The probe's label; the same for the same seed.
    pub id: String,
    /// The question, word for word: by it the probe is recognised in a prompt.
    pub question: String,
    pub combine: Combine,
    /// In the order in which they became true; the last one whose evidence is held is answered.
    pub versions: Vec<Version>,
    /// Plausible wrong answers.
    pub distractors: Vec<String>,
}

/// How the parts of a version make an answer.
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

/// What was true from some point on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub parts: Vec<Part>,
}

/// A value, and what must be held for it to be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub evidence: Vec<String>,
    pub value: String,
}

impl AnswerKey {
    /// The entries that a prompt asks for, in the order of their questions in it. A question that is
    /// only part of a longer one is not asked.
    pub fn asked(&self, prompt: &str) -> Vec<&Entry> {
        self.asked_as(prompt, Cow::Borrowed)
    }

    /// The same apart from spaces: Qwen Code puts some before every `@`.
    pub fn asked_apart_from_spaces(&self, prompt: &str) -> Vec<&Entry> {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.asked_as(&plain(prompt), |text| Cow::Owned(plain(text)))
    }

    fn asked_as<'a>(
        &'a self,
        prompt: &str,
        plain: impl Fn(&'a str) -> Cow<'a, str>,
    ) -> Vec<&'a Entry> {
        let mut found: Vec<(usize, usize, &Entry)> = Vec::new();
        for entry in &self.entries {
            let question = plain(&entry.question);
            let places = prompt.match_indices(question.as_ref());
            found.extend(places.map(|(at, text)| (at, at + text.len(), entry)));
        }
        let mut asked: Vec<(usize, &Entry)> = found
            .iter()
            .filter(|(start, end, _)| {
                !found.iter().any(|(first, last, _)| {
                    first <= start && end <= last && end - start < last - first
                })
            })
            .map(|(start, _, entry)| (*start, *entry))
            .collect();
        asked.sort_by_key(|(start, _)| *start);
        asked.into_iter().map(|(_, entry)| entry).collect()
    }

    /// What is said where much is asked for at once: one sentence per fact that is held.
    pub fn recited(
        &self,
        answer: impl Fn(&Entry) -> Option<String>,
        held: impl Fn(&Statement) -> bool,
    ) -> String {
        let answers = self.entries.iter().filter_map(|entry| {
            let answer = answer(entry)?;
            let asked = entry.question.lines().next().unwrap_or_default();
            let asked = asked.replace("? ", ", ").replace(". ", ", ");
            let asked = asked.trim_end_matches(['?', '.', ' ']);
            Some(format!("{asked}: {answer}"))
        });
        let statements = self.statements.iter().filter(|one| held(one));
        let lines: Vec<String> = answers
            .chain(statements.map(|one| one.text.clone()))
            .collect();
        if lines.is_empty() {
            "I don't recall anything.".to_owned()
        } else {
            lines.join("\n")
        }
    }
}

/// The replies to questions of one prompt as a single reply: one as it is, several with their numbers.
pub fn one_reply(replies: &[String]) -> String {
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
    /// The versions of which evidence is held, by their number, each with the evidence itself:
    /// what a summary of a conversation would have to carry on. `holds` tells whether all of the
    /// evidence of a part of a version is held.
    pub fn held(&self, holds: impl Fn(usize, &[String]) -> bool) -> Vec<(usize, Vec<String>)> {
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

    /// What may be said by one who holds so much; none where that is not enough for any answer.
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
