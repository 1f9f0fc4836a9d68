//! Question banks: the probes of a task as JSON lines, so that others can check and reuse them.
//!
//! The first line describes the subject of the questions. Then follows a line per probe and per
//! lesson:
//!
//! ```json
//! {"question_bank": 1, "repo": "acme/shop", "base": "…", "head": "…", "seed": 7, "hash": "…", …}
//! {"probe": {"label": "AR-01", …}}
//! {"teaching": {"turn": 0, …}}
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::probe::{GeneratorReport, Probe, ProbeSet, Teaching};

/// Version of the written format.
pub const FORMAT: u32 = 1;

/// Maximum number of probes in a bank. Each is asked three times in every run.
const MOST_PROBES: usize = 500;

/// Subject of the questions of a bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format: [`FORMAT`].
    pub question_bank: u32,
    pub repo: String,
    /// Full commit ids. The questions are about this change only.
    pub base: String,
    pub head: String,
    pub seed: u64,
    pub instrument_version: String,
    /// The hash of the probes ([`ProbeSet::hash`]). A changed bank has another.
    pub hash: String,
}

/// A question bank.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionBank {
    pub header: Header,
    pub probes: ProbeSet,
}

/// Reason for which a text is not a question bank.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the question bank: {problem}")]
pub struct BankError {
    /// Number of the line, from 1.
    pub line: usize,
    pub problem: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Probe(Probe),
    Teaching(Teaching),
}

impl QuestionBank {
    /// Creates a bank from the probes of a task.
    pub fn new(repo: &str, base: &str, head: &str, probes: ProbeSet) -> Self {
        Self {
            header: Header {
                question_bank: FORMAT,
                repo: repo.to_owned(),
                base: base.to_owned(),
                head: head.to_owned(),
                seed: probes.seed,
                instrument_version: crate::INSTRUMENT_VERSION.to_owned(),
                hash: probes.hash(),
            },
            probes,
        }
    }

    /// Returns the bank as JSON lines.
    ///
    /// # Errors
    ///
    /// Fails for a number that JSON cannot represent. No generated probe has one.
    pub fn write(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(&self.header)?;
        let probes = self.probes.probes.iter().cloned().map(Line::Probe);
        let teaching = self.probes.teaching.iter().cloned().map(Line::Teaching);
        for line in probes.chain(teaching) {
            text.push('\n');
            text.push_str(&serde_json::to_string(&line)?);
        }
        text.push('\n');
        Ok(text)
    }

    /// Parses JSON lines. [`crate::probes::prove`] decides whether the probes can be used.
    ///
    /// # Errors
    ///
    /// Reports the first invalid line, or a missing part of the bank.
    pub fn read(text: &str) -> Result<Self, BankError> {
        let wrong = |line: usize, problem: String| BankError { line, problem };
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim().is_empty());
        let (at, first) = lines
            .next()
            .ok_or_else(|| wrong(1, "it is empty".to_owned()))?;
        let header: Header =
            serde_json::from_str(first).map_err(|error| wrong(at, error.to_string()))?;
        if header.question_bank != FORMAT {
            let problem = format!(
                "format {} is not known, only {FORMAT}",
                header.question_bank
            );
            return Err(wrong(at, problem));
        }
        let mut probes = ProbeSet {
            seed: header.seed,
            probes: Vec::new(),
            teaching: Vec::new(),
            report: GeneratorReport::default(),
        };
        let mut labels = BTreeSet::new();
        let mut last = at;
        for (at, line) in lines {
            last = at;
            let line: Line =
                serde_json::from_str(line).map_err(|error| wrong(at, error.to_string()))?;
            match line {
                Line::Probe(probe) => {
                    if !labels.insert(probe.label.clone()) {
                        return Err(wrong(at, format!("{} is there twice", probe.label)));
                    }
                    if labels.len() > MOST_PROBES {
                        return Err(wrong(at, format!("more than {MOST_PROBES} probes")));
                    }
                    *probes.report.made.entry(probe.kind).or_default() += 1;
                    probes.probes.push(probe);
                }
                Line::Teaching(lesson) => probes.teaching.push(lesson),
            }
        }
        if probes.probes.is_empty() {
            return Err(wrong(last, "it holds no probe".to_owned()));
        }
        if probes.hash() != header.hash {
            let problem =
                "the probes are not those that the first line speaks of (hash): write its \
                           hash anew if you changed them on purpose"
                    .to_owned();
            return Err(wrong(1, problem));
        }
        Ok(Self { header, probes })
    }
}
