//! x
#[path = "fixtures/reading.rs"]
mod reading;
#[path = "fixtures/guessing.rs"]
mod guessing;
use evaluation::facts::fact_sheet;
use evaluation::probe::*;
use evaluation::grading::grade;
use evaluation::probes::{ProbePlan, generate, prove};
use std::collections::BTreeMap;
use guessing::*;
#[test]
fn look() {
    let mut totals: BTreeMap<(&str, String), (f64, f64, usize)> = BTreeMap::new();
    for read in reading::read_all() {
        let sheet = fact_sheet(&read.pull_request);
        for seed in 0..5 {
        let set = generate(&sheet, &ProbePlan::standard(seed, &Dimension::ALL));
        let set = prove(set, &sheet, &read.pull_request);
        if seed == 1 {
        let n = Dimension::ALL.map(|d| set.probes.iter().filter(|p| p.dimension == d).count());
        println!("{} {n:?} {:?}\n   {:?}", read.name, set.report.made, set.report.dropped_by_kind);
        if read.name == "kiln" || read.name == "beehive" {
            for p in &set.probes { println!("{} {:?}\n{}\n   {:?}\n   {:?}", p.label, p.kind, p.question, p.grader, p.distractors); }
        }
        }
        for p in &set.probes {
            let desk = Desk { title: read.pull_request.title.as_deref().unwrap(), others: set.probes.iter().filter(|o| o.label != p.label).collect() };
            for (name, g) in GUESSERS.iter().chain(&OPEN) {
                let Some(said) = g(p, &desk) else { continue };
                let v = grade(&p.grader, &format!("ANSWER: {said}")).value;
                let chance = match &p.grader { Grader::Choice { choices, .. } => 1.0 / choices.len() as f64, Grader::Sequence{..} => 0.5, Grader::Current{..} => 1.0/3.0, _ => 0.0 };
                for kind in [format!("{:?}", p.kind), "ALL".to_owned()] {
                let t = totals.entry((name, kind)).or_default();
                t.0 += v; t.1 += chance; t.2 += 1; }
            }
        }
        }
    }
    for ((name, kind), (v, c, n)) in totals {
        let n = n as f64;
        let flag = if v / n > c / n + 2.0 * (0.25 / n).sqrt() { "<<<<" } else { "" };
        println!("G {name:40} {kind:15} n={n:5} got={:.3} chance={:.3} {flag}", v / n, c / n);
    }
}
