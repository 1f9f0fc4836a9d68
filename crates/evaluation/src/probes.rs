//! Generates the probes of a task from its fact sheet and a seed.
//!
//! One file per dimension turns facts into candidates. Here they are examined, chosen and labelled.
//! The teaching has up to four turns: facts that will be corrected, rules, labelling schemes,
//! corrections.

mod candidate;
mod checks;
mod forgetting;
mod kinds;
mod learning;
mod leaks;
mod likeness;
mod path_parts;
mod places;
mod rederiving;
mod retrieval;
mod schemes;
mod subjects;
mod understanding;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use domain::vocabulary::Dimension;
use sha2::{Digest, Sha256};

pub use self::checks::{failures, only_dimensions, prove, without};
pub(crate) use self::leaks::stem;
pub use self::leaks::{Leak, leaks};

use self::candidate::{Candidate, Draft, When};
use self::kinds::dimension_of;
use self::likeness::folded;
use self::words::Words;
use crate::facts::FactSheet;
use crate::probe::{GeneratorReport, Probe, ProbeKind, ProbeSet, Teaching};

/// Turn between facts and their corrections if no rules are taught.
const PAUSE: &str = "Keep what was agreed for this review in mind while you read on.";

/// Probes to generate.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    pub seed: u64,
    /// Maximum number of probes per dimension. A dimension that is not named gets none.
    pub at_most: BTreeMap<Dimension, usize>,
}

impl ProbePlan {
    /// Returns the default numbers (AR 12, TTL 6, LRU 8, SF 6) for the requested dimensions.
    pub fn standard(seed: u64, dimensions: &[Dimension]) -> Self {
        let at_most = dimensions
            .iter()
            .map(|&dimension| {
                let most = match dimension {
                    Dimension::Ar => 12,
                    Dimension::Ttl | Dimension::Sf => 6,
                    Dimension::Lru => 8,
                };
                (dimension, most)
            })
            .collect();
        Self { seed, at_most }
    }
}

/// Generates the probes. The same sheet and the same plan give the same probes, byte for byte.
///
/// The kinds of a dimension take turns, so that every kind with facts is included. Unfair probes
/// are dropped, and their reasons are counted in the report.
pub fn generate(sheet: &FactSheet, plan: &ProbePlan) -> ProbeSet {
    let mut builder = ProbeSetBuilder {
        set: ProbeSet {
            seed: plan.seed,
            probes: Vec::new(),
            teaching: Vec::new(),
            report: GeneratorReport::default(),
        },
        asked: BTreeSet::new(),
        answered: BTreeSet::new(),
    };
    let seed = seed_of(sheet, plan.seed);
    let mut words = Words::new(sheet);
    for dimension in Dimension::ALL {
        let most = plan.at_most.get(&dimension).copied().unwrap_or_default();
        if most == 0 {
            continue;
        }
        // Some candidates will be dropped. Considering all candidates of a large change would be a
        // waste.
        let looked_at = most * 4;
        let lists = match dimension {
            Dimension::Ar => retrieval::candidates(sheet, seed, looked_at),
            Dimension::Ttl => learning::candidates(sheet, seed, looked_at, &mut words),
            Dimension::Lru => understanding::candidates(sheet, seed, looked_at),
            Dimension::Sf => forgetting::candidates(sheet, seed, looked_at, &mut words),
        };
        builder.choose(
            dimension,
            kinds(dimension).iter().copied().zip(lists).collect(),
            most,
        );
        builder.set.explain_missing(dimension);
    }
    builder.set.report.facts = facts(sheet);
    builder.finish()
}

impl ProbeSet {
    /// Records in the report why a requested dimension has no probe.
    fn explain_missing(&mut self, dimension: Dimension) {
        if self.probes.iter().any(|probe| probe.dimension == dimension) {
            return;
        }
        let report = &mut self.report;
        let is_own = |kind: &&ProbeKind| dimension_of(**kind) == dimension;
        let found: usize = report
            .candidates
            .iter()
            .filter(|(kind, _)| is_own(kind))
            .map(|(_, count)| count)
            .sum();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        let dropped = report.dropped_by_kind.iter();
        for (reason, count) in dropped
            .filter(|(kind, _)| is_own(kind))
            .flat_map(|(_, by)| by)
        {
            *reasons.entry(reason).or_default() += count;
        }
        let commonest = reasons.into_iter().max_by_key(|&(_, count)| count);
        let why = match commonest {
            Some((reason, count)) => {
                let all = found.max(count);
                format!("none of {all} candidates can be used; of {count}: {reason}")
            }
            None => "the diff shows nothing of what it asks about".to_owned(),
        };
        report.without.insert(dimension.as_str().to_owned(), why);
    }
}

/// Returns the seed of a change. With one seed for all tasks, the right choice of each first
/// question would be at the same place.
fn seed_of(sheet: &FactSheet, seed: u64) -> u64 {
    let digest = Sha256::digest(format!("{seed}/{}/{}", sheet.base, sheet.head));
    digest
        .iter()
        .take(8)
        .fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

/// Returns the kinds of the lists that the generator of a dimension returns, in their order.
fn kinds(dimension: Dimension) -> &'static [ProbeKind] {
    match dimension {
        Dimension::Ar => &[
            ProbeKind::ChangedFiles,
            ProbeKind::SymbolFile,
            ProbeKind::SymbolSignature,
            ProbeKind::ConstantValue,
            ProbeKind::CoveringTest,
            ProbeKind::FileStatus,
        ],
        Dimension::Ttl => &[ProbeKind::HunkLabel, ProbeKind::TaughtRule],
        Dimension::Lru => &[
            ProbeKind::SymbolUsers,
            ProbeKind::FlowOrder,
            ProbeKind::ChangeTogether,
            ProbeKind::BehaviourHunk,
        ],
        // Two to one: always answering "withdrawn" earns a third of the points.
        Dimension::Sf => &[
            ProbeKind::CorrectedFact,
            ProbeKind::CorrectedFact,
            ProbeKind::RetractedFact,
        ],
    }
}

fn facts(sheet: &FactSheet) -> BTreeMap<String, usize> {
    [
        ("files", sheet.files.len()),
        ("symbols", sheet.symbols.len()),
        ("constants", sheet.constants.len()),
        ("tests", sheet.tests.len()),
        ("uses", sheet.uses.len()),
        ("flows", sheet.flows.len()),
        ("hunks", sheet.hunks.len()),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), count))
    .collect()
}

/// A probe set under construction.
struct ProbeSetBuilder {
    set: ProbeSet,
    /// Kinds and subjects of the chosen probes.
    asked: BTreeSet<(ProbeKind, String)>,
    /// Kinds and answers of the chosen probes, for the kinds of [`is_drawn_from_few`].
    answered: BTreeSet<(ProbeKind, String)>,
}

/// Returns whether the answers of a kind come from so few values that the most common one is a good
/// guess. For such kinds no answer is right twice.
fn is_drawn_from_few(kind: ProbeKind) -> bool {
    match kind {
        ProbeKind::SymbolSignature | ProbeKind::ConstantValue | ProbeKind::FileStatus => true,
        ProbeKind::ChangedFiles
        | ProbeKind::SymbolFile
        | ProbeKind::CoveringTest
        | ProbeKind::HunkLabel
        | ProbeKind::TaughtRule
        | ProbeKind::SymbolUsers
        | ProbeKind::FlowOrder
        | ProbeKind::ChangeTogether
        | ProbeKind::BehaviourHunk
        | ProbeKind::CorrectedFact
        | ProbeKind::RetractedFact => false,
    }
}

impl ProbeSetBuilder {
    /// Chooses up to `most` drafts, one of each list in turn.
    fn choose(
        &mut self,
        dimension: Dimension,
        lists: Vec<(ProbeKind, Vec<Candidate>)>,
        most: usize,
    ) {
        for (kind, list) in &lists {
            *self.set.report.candidates.entry(*kind).or_default() += list.len();
        }
        let mut lists: Vec<_> = lists
            .into_iter()
            .map(|(kind, list)| (kind, list.into_iter()))
            .collect();
        let mut taken = 0;
        while taken < most && !lists.is_empty() {
            lists.retain_mut(|(kind, list)| {
                while taken < most {
                    let Some(candidate) = list.next() else {
                        return false;
                    };
                    match candidate.and_then(|draft| self.add(dimension, taken + 1, draft)) {
                        Ok(()) => {
                            taken += 1;
                            return true;
                        }
                        Err(reason) => {
                            let report = &mut self.set.report;
                            *report.dropped.entry(reason.to_owned()).or_default() += 1;
                            let by_kind = report.dropped_by_kind.entry(*kind).or_default();
                            *by_kind.entry(reason.to_owned()).or_default() += 1;
                        }
                    }
                }
                false
            });
        }
    }

    fn add(
        &mut self,
        dimension: Dimension,
        number: usize,
        mut draft: Draft,
    ) -> Result<(), &'static str> {
        if let Some(reason) = draft.examine() {
            return Err(reason);
        }
        if !draft.lessons.is_empty() && self.is_said_elsewhere(&draft) {
            return Err("another probe says the same sentence");
        }
        if !self.asked.insert((draft.kind, folded(&draft.subject))) {
            return Err("the same is asked twice");
        }
        if is_drawn_from_few(draft.kind) && !self.answered.insert((draft.kind, draft.right())) {
            return Err("another question has the same answer");
        }
        let label = format!("{}-{number:02}", dimension.as_str());
        for lesson in &draft.lessons {
            self.set.teaching.push(Teaching {
                turn: lesson.when.turn(),
                probes: vec![label.clone()],
                text: lesson.text.clone(),
            });
        }
        *self.set.report.made.entry(draft.kind).or_default() += 1;
        self.set.probes.push(Probe {
            label,
            dimension,
            kind: draft.kind,
            question: draft.question(),
            grader: draft.grader,
            distractors: draft.distractors,
            source: draft.source,
            key: draft.key,
        });
        Ok(())
    }

    /// Returns whether a sentence that proves the draft is in another lesson or question, or the
    /// reverse. Then one could be known without its own lesson.
    fn is_said_elsewhere(&self, draft: &Draft) -> bool {
        let question = draft.question();
        let taught = |text: &str| {
            self.set
                .teaching
                .iter()
                .any(|lesson| lesson.text.contains(text))
        };
        let asked = |text: &str| {
            self.set
                .probes
                .iter()
                .any(|probe| probe.question.contains(text))
        };
        let evidence: Vec<&str> = draft.evidence().collect();
        let mut others = self
            .set
            .probes
            .iter()
            .filter(|probe| probe.source.is_none())
            .flat_map(|probe| &probe.key.versions)
            .flat_map(|version| &version.parts)
            .flat_map(|part| &part.evidence);
        evidence.iter().any(|text| taught(text) || asked(text))
            || others.any(|text| {
                question.contains(text)
                    || draft
                        .lessons
                        .iter()
                        .any(|lesson| lesson.text.contains(text))
            })
    }

    /// Orders the teaching, with a turn between facts and their corrections.
    fn finish(mut self) -> ProbeSet {
        let turns: BTreeSet<usize> = self.set.teaching.iter().map(|lesson| lesson.turn).collect();
        let facts = [When::First, When::Correction].map(When::turn);
        if turns.iter().copied().eq(facts) {
            self.set.teaching.push(Teaching {
                turn: When::Rules.turn(),
                probes: Vec::new(),
                text: PAUSE.to_owned(),
            });
        }
        self.set.teaching.sort_by_key(|lesson| lesson.turn);
        self.set
    }
}
