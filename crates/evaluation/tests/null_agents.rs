//! Agents that know nothing and answer anyway must get no retention.

#[path = "fixtures/mod.rs"]
mod fixtures;

use domain::vocabulary::{Arm, Dimension};
use evaluation::grading::{ABSTENTION, WITHDRAWN, grade};
use evaluation::probe::{Probe, ProbeSet};
use evaluation::scoring::{Graded, RunScore, score_run};

use crate::fixtures::MADE;

type Agent = fn(&Probe) -> String;

/// Agents whose answers cannot be right.
const SILENT: [(&str, Agent); 4] = [
    ("empty", |_| String::new()),
    ("empty after the marker", |_| "ANSWER:".to_owned()),
    ("vague", |_| {
        "This pull request improves the structure of the code and its tests in several files.\n\n\
         ANSWER: it depends on the surrounding code, which was adapted accordingly"
            .to_owned()
    }),
    ("never recalls", |_| format!("ANSWER: {ABSTENTION}")),
];

/// Agents that always give the same kind of answer.
const FIXED: [(&str, Agent); 4] = [
    ("a plausible wrong answer", |probe| {
        format!("ANSWER: {}", probe.distractors[0])
    }),
    ("always A", |_| "ANSWER: A".to_owned()),
    ("always withdrawn", |_| format!("ANSWER: {WITHDRAWN}")),
    ("always modified", |_| "ANSWER: modified".to_owned()),
];

fn graded(set: &ProbeSet, arm: Arm, agent: Agent) -> impl Iterator<Item = Graded> {
    set.probes.iter().map(move |probe| {
        let grade = grade(&probe.grader, &agent(probe));
        Graded {
            probe: probe.label.clone(),
            dimension: probe.dimension,
            arm,
            grade: grade.value,
            verdict: grade.verdict,
        }
    })
}

fn run(set: &ProbeSet, cold: Agent, agent: Agent) -> RunScore {
    let answers: Vec<Graded> = graded(set, Arm::Cold, cold)
        .chain(graded(set, Arm::Baseline, agent))
        .chain(graded(set, Arm::Post, agent))
        .collect();
    score_run(&Dimension::ALL, &answers, 0.5, true)
}

#[test]
fn a_silent_agent_scores_nothing_and_has_no_retention() {
    for made in MADE.iter() {
        for (name, agent) in SILENT {
            let run = run(&made.set, agent, agent);
            for (dimension, score) in &run.dimensions {
                let reported = format!("{name} {} {dimension:?}", made.name);
                assert!(score.n >= 3, "{reported}");
                assert_eq!(score.post, Some(0.0), "{reported}");
                assert_eq!(
                    (score.retention, score.item_retention),
                    (None, None),
                    "{reported}"
                );
            }
            assert_eq!((run.overall_score, run.passed), (Some(0.0), Some(false)));
        }
    }
}

#[test]
fn a_fixed_answer_has_no_retention() {
    for made in MADE.iter() {
        for (name, agent) in FIXED {
            let run = run(&made.set, agent, agent);
            for (dimension, score) in &run.dimensions {
                assert_eq!(score.retention, None, "{name} {} {dimension:?}", made.name);
            }
            assert_eq!(run.passed, Some(false), "{name} {}", made.name);
        }
    }
}

/// The cold arm usually uses the same agent. If it answers nothing, which favours the agent most, a
/// fixed answer is still far from passing by luck.
#[test]
fn a_fixed_answer_does_not_pass_beside_a_silent_cold_arm() {
    let mut best: f64 = 0.0;
    let mut all = Vec::new();
    for made in MADE.iter() {
        for (name, agent) in FIXED {
            let run = run(&made.set, SILENT[0].1, agent);
            assert_eq!(run.passed, Some(false), "{name} {}", made.name);
            let score = run.overall_score.expect("there was a break");
            best = best.max(score);
            all.push(score);
        }
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    assert!(best < 0.35 && mean < 0.12, "{best} {mean}");
}

#[test]
fn always_withdrawn_earns_at_most_a_third_of_selective_forgetting() {
    for made in MADE.iter() {
        let (_, withdrawn) = FIXED[2];
        let run = run(&made.set, SILENT[0].1, withdrawn);
        for (dimension, score) in &run.dimensions {
            let most = if *dimension == Dimension::Sf {
                1.0 / 3.0
            } else {
                0.0
            };
            let post = score.post.expect("there was a break");
            assert!(post <= most + 1e-9, "{} {dimension:?} {post}", made.name);
        }
    }
}
