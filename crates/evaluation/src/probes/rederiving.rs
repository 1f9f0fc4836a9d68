//! Derives the answers of the closed questions about a repository again, from its facts alone.
//!
//! It knows how each kind of question names its subject, but not how the question was drawn.

use domain::vocabulary::Verdict;

use crate::facts::{FactSheet, SymbolFact};
use crate::grading::grade;
use crate::probe::{Grader, Probe, ProbeKind};
use crate::probes::leaks::stem;
use crate::probes::retrieval::{ASKS_PARAMETERS, ASKS_RETURN, file_sets, state};
use crate::probes::understanding::{ASKS_HUNK, Way};

/// Returns whether the facts lead to an answer that the probe's grader accepts. True for facts that
/// only the conversation defines.
pub(super) fn follows(probe: &Probe, sheet: &FactSheet) -> bool {
    let quoted: Vec<&str> = stem(probe).split('`').skip(1).step_by(2).collect();
    let subject = quoted.first().copied().unwrap_or_default();
    let right =
        |answer: &str| grade(&probe.grader, &format!("ANSWER: {answer}")).verdict == Verdict::Right;
    let symbol = || sheet.symbols.iter().find(|symbol| symbol.name == subject);
    match probe.kind {
        ProbeKind::HunkLabel
        | ProbeKind::TaughtRule
        | ProbeKind::CorrectedFact
        | ProbeKind::RetractedFact => true,
        // Words define the set of files: those of one of the generator's questions. Otherwise it
        // cannot be decided whether the set is complete.
        ProbeKind::ChangedFiles => file_sets(sheet).iter().any(|(question, files)| {
            let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            begins(stem(probe), question) && right(&paths.join(", "))
        }),
        ProbeKind::SymbolFile => symbol().is_some_and(|symbol| {
            right(&symbol.file) && accepts_only(&probe.grader, |text| *text == symbol.file)
        }),
        ProbeKind::SymbolSignature => symbol().is_some_and(|symbol| {
            signature(symbol, stem(probe)).is_some_and(|answer| {
                right(&answer) && accepts_only(&probe.grader, |text| bare(text) == bare(&answer))
            })
        }),
        ProbeKind::ConstantValue => sheet.constants.iter().any(|constant| {
            let plain = |text: &str| text.replace('_', "");
            constant.name == subject
                && quoted.get(1).is_none_or(|file| constant.file == *file)
                && right(&constant.value)
                && accepts_only(&probe.grader, |text| plain(text) == plain(&constant.value))
        }),
        ProbeKind::CoveringTest => {
            let covers = |name: &str| {
                let mut tests = sheet.tests.iter();
                tests.any(|test| test.symbol == subject && test.test == name)
            };
            let answer = probe.key.answer(|_| true);
            answer.is_some_and(|answer| covers(&answer))
                && accepts_only(&probe.grader, |text| covers(text))
        }
        ProbeKind::FileStatus => sheet
            .files
            .iter()
            .any(|file| file.path == subject && right(state(file.status))),
        ProbeKind::SymbolUsers => sheet.uses.iter().any(|fact| {
            let users: Vec<&str> = fact.used_in.iter().map(|(path, _)| path.as_str()).collect();
            fact.symbol == subject && right(&users.join(", "))
        }),
        ProbeKind::ChangeTogether => sheet.uses.iter().any(|fact| {
            let used = |path: &str| fact.used_in.iter().any(|(user, _)| user == path);
            let concerned = |path: &String| used(path) || fact.defined_in == *path;
            fact.symbol == subject
                && fact.used_in.iter().any(|(path, _)| right(path))
                && offers_one(&probe.grader, concerned)
        }),
        ProbeKind::FlowOrder => sheet.flows.iter().any(|flow| {
            let asked = |way: &Way| {
                let is_quoted = |name: &str| quoted[1..].contains(&name);
                way.through.as_deref().is_none_or(is_quoted) && right(&way.names().join(" -> "))
            };
            flow.function == subject && Way::all(sheet, flow).any(|way| asked(&way))
        }),
        ProbeKind::BehaviourHunk => sheet.hunks.iter().any(|hunk| {
            let does = |name: &&str| hunk.does.iter().any(|(done, _)| done == name);
            begins(stem(probe), ASKS_HUNK)
                && !quoted.is_empty()
                && quoted.iter().all(does)
                && right(&format!("{} {}", hunk.file, hunk.header))
        }),
    }
}

/// Returns whether a question begins with this text, ignoring case.
fn begins(stem: &str, start: &str) -> bool {
    stem.to_lowercase().starts_with(&start.to_lowercase())
}

/// Returns the part of a signature that a question asks for. Returns `None` if it asks for none.
fn signature(symbol: &SymbolFact, stem: &str) -> Option<String> {
    if begins(stem, ASKS_RETURN) {
        return symbol.returns.clone();
    }
    let names = symbol.parameters.as_ref()?;
    begins(stem, ASKS_PARAMETERS).then(|| names.join(", "))
}

/// Returns a part of a signature without optional signs.
fn bare(text: &str) -> String {
    let text = text.strip_prefix("-> ").unwrap_or(text);
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    inner.unwrap_or(text).replace(" and ", ", ")
}

/// Returns whether every accepted answer is right.
fn accepts_only(grader: &Grader, is_right: impl Fn(&String) -> bool) -> bool {
    match grader {
        Grader::Exact { accept } => accept.iter().all(is_right),
        Grader::Choice { choices, .. } => choices.iter().filter(|text| is_right(text)).count() == 1,
        Grader::Set { .. } | Grader::Sequence { .. } | Grader::Current { .. } => true,
    }
}

/// Returns whether exactly one of the choices could be right.
fn offers_one(grader: &Grader, could_be: impl Fn(&String) -> bool) -> bool {
    match grader {
        Grader::Choice { choices, .. } => choices.iter().filter(|text| could_be(text)).count() == 1,
        Grader::Exact { .. }
        | Grader::Set { .. }
        | Grader::Sequence { .. }
        | Grader::Current { .. } => true,
    }
}
