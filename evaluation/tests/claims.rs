//! Free recall as claims, and the battery that judges are tried with.

mod support;

use evaluation::claims::{AtomicFact, Finding, Recall, atomic_facts, judge_deterministic};
use evaluation::judging::{
    BatteryKind, FALSE_ACCEPT_LIMIT, battery, family, fence, gate, majority, read_reply,
    reply_schema, run_result, sample_facts, strip_identity,
};
use evaluation::probe::Dimension;
use evaluation::probes::{ProbePlan, generate};
use proptest::prelude::*;

fn retries() -> AtomicFact {
    sample_facts().remove(0)
}

fn found(text: &str) -> (bool, bool, bool) {
    let finding = judge_deterministic(&retries(), text);
    (finding.claimed, finding.value_right, finding.abstained)
}

#[test]
fn a_claim_names_subject_and_value_in_one_sentence() {
    for right in [
        "MAX_RETRIES is 17",
        "* `MAX_RETRIES` was raised to `17`.",
        "Nothing else. MAX_RETRIES = 17; that is all.",
    ] {
        assert_eq!(found(right), (true, true, false), "{right}");
    }
    for nothing in [
        "MAX_RETRIES was raised.\n17 is the limit.",
        "MAX_RETRIES is large.",
        "OLD_MAX_RETRIES is 17",
        "MAX_RETRIES is 1700",
        "MAX_RETRIES is not 17.",
        "",
    ] {
        assert_eq!(found(nothing), (false, false, false), "{nothing}");
    }
}

#[test]
fn a_wrong_value_and_both_values_are_claims_that_are_not_right() {
    for wrong in [
        "MAX_RETRIES is 5",
        "MAX_RETRIES is 17 or 170",
        "MAX_RETRIES is 17.\nMAX_RETRIES is 5.",
    ] {
        assert_eq!(found(wrong), (true, false, false), "{wrong}");
    }
}

#[test]
fn not_knowing_is_told_apart_from_silence() {
    assert_eq!(found("I don't recall."), (false, false, true));
    assert_eq!(
        found("The change is about retries.\nI do not remember MAX_RETRIES."),
        (false, false, true)
    );
    assert_eq!(
        found("The change is about retries. I do not remember more."),
        (false, false, false)
    );
}

#[test]
fn figures_that_are_not_defined_are_missing() {
    let right = Finding {
        claimed: true,
        value_right: true,
        abstained: false,
    };
    let wrong = Finding {
        value_right: false,
        ..right
    };
    let silent = Finding::default();
    let recall = Recall::of(&[Some(right), Some(wrong), Some(silent), None]);
    assert_eq!((recall.facts, recall.graded, recall.ungraded), (4, 3, 1));
    assert_eq!(recall.precision, Some(0.5));
    assert_eq!(recall.recall, Some(1.0 / 3.0));
    let nothing = Recall::of(&[None, None]);
    assert_eq!((nothing.precision, nothing.recall), (None, None));
    assert_eq!(Recall::of(&[Some(silent)]).precision, None);
}

/// The facts of a real sheet, with what was taught.
fn facts(seed: u64) -> Vec<AtomicFact> {
    let sheet = support::sheet();
    let set = generate(&sheet, &ProbePlan::standard(seed, &Dimension::ALL));
    atomic_facts(&sheet, &set, seed, 40)
}

#[test]
fn facts_are_the_same_for_the_same_seed_and_prove_themselves() {
    assert_eq!(facts(3), facts(3));
    assert_ne!(facts(3), facts(4));
    let facts = facts(3);
    assert!(facts.len() >= 10, "{} facts", facts.len());
    for fact in &facts {
        let finding = judge_deterministic(fact, &fact.statement);
        assert!(finding.value_right, "{fact:?}");
        for wrong in &fact.distractors {
            let text = format!("`{}`: {wrong}", fact.subjects.join("`, `"));
            let finding = judge_deterministic(fact, &text);
            assert!(
                finding.claimed && !finding.value_right,
                "{text} for {fact:?}"
            );
        }
    }
}

#[test]
fn the_statements_of_all_facts_together_are_all_right() {
    let facts = facts(3);
    let all: Vec<&str> = facts.iter().map(|fact| fact.statement.as_str()).collect();
    let text = all.join("\n");
    let findings: Vec<_> = facts
        .iter()
        .map(|fact| Some(judge_deterministic(fact, &text)))
        .collect();
    let recall = Recall::of(&findings);
    let missed: Vec<_> = facts
        .iter()
        .zip(&findings)
        .filter(|(_, finding)| !finding.is_some_and(|finding| finding.value_right))
        .collect();
    assert_eq!(recall.recall, Some(1.0), "{missed:#?}");
    assert_eq!(recall.precision, Some(1.0));
}

/// What a judge of a simple character finds of the whole battery.
fn tried(
    facts: &[AtomicFact],
    judge: impl Fn(&AtomicFact, &str) -> Option<Finding>,
) -> evaluation::judging::BatteryResult {
    let cases = battery(facts, 1);
    let findings: Vec<_> = cases
        .iter()
        .map(|case| judge(&case.fact, &case.text))
        .collect();
    run_result(&cases, &findings)
}

fn verdict(right: bool) -> Option<Finding> {
    Some(Finding {
        claimed: right,
        value_right: right,
        abstained: false,
    })
}

#[test]
fn the_deterministic_judge_makes_no_mistake_in_its_battery() {
    for facts in [sample_facts(), facts(3), facts(4)] {
        let result = tried(&facts, |fact, text| Some(judge_deterministic(fact, text)));
        assert_eq!(result.false_accept.hits, 0, "{result:#?}");
        assert_eq!(result.false_reject.hits, 0, "{result:#?}");
        assert!(result.false_accept.of > result.false_reject.of);
        assert_eq!(result.by_kind.len(), 8);
        assert!(gate(&result, FALSE_ACCEPT_LIMIT).may_rank);
    }
}

#[test]
fn the_gate_keeps_out_who_accepts_too_much_who_rejects_everything_and_who_cannot_be_read() {
    let facts = sample_facts();
    let lenient = tried(&facts, |fact, text| {
        verdict(text.contains(&fact.subjects[0]))
    });
    let kept_out = gate(&lenient, FALSE_ACCEPT_LIMIT);
    assert!(!kept_out.may_rank);
    assert!(
        kept_out
            .why
            .unwrap()
            .contains("wrong claims that it accepts")
    );
    assert_eq!(lenient.by_kind[&BatteryKind::Vague].share, Some(1.0));
    assert_eq!(lenient.false_reject.hits, 0);

    let strict = tried(&facts, |_, _| verdict(false));
    assert_eq!(strict.false_accept.hits, 0);
    let kept_out = gate(&strict, FALSE_ACCEPT_LIMIT);
    assert!(
        kept_out
            .why
            .unwrap()
            .contains("right claims that it rejects")
    );

    let silent = tried(&facts, |_, _| None);
    assert_eq!(silent.false_accept.share, None);
    assert!(!gate(&silent, FALSE_ACCEPT_LIMIT).may_rank);
}

#[test]
fn a_jury_says_what_most_of_it_say_and_no_where_it_is_split() {
    let yes = verdict(true);
    let no = verdict(false);
    assert_eq!(majority(&[yes, yes, no]), yes);
    assert_eq!(majority(&[yes, no]), no);
    assert_eq!(majority(&[yes, None, None]), yes);
    assert_eq!(majority(&[None, None]), None);
    assert_eq!(majority(&[]), None);
}

#[test]
fn a_reply_is_read_strictly() {
    let facts = sample_facts();
    let line = |id: &str, claimed: bool, right: bool| {
        format!(
            "{{\"id\": \"{id}\", \"claimed\": {claimed}, \"value_right\": {right}, \"abstained\": false}}"
        )
    };
    let reply = format!(
        "```json\n{{\"findings\": [{}, {}, {}, {}]}}\n```",
        line("F01", true, true),
        line("F02", false, true),
        line("F03", true, false),
        line("F03", true, true),
    );
    let read = read_reply(&reply, &facts);
    assert_eq!(read[0], verdict(true));
    // Contradicts itself; is said twice; is missing.
    assert_eq!((read[1], read[2], read[3]), (None, None, None));
    for garbage in ["", "yes", "{\"findings\": 1}", "Sure! {\"findings\": []}"] {
        assert!(read_reply(garbage, &facts).iter().all(Option::is_none));
    }
    assert_eq!(reply_schema()["required"][0], "findings");
}

#[test]
fn a_judge_does_not_learn_whom_it_judges() {
    let text = strip_identity(
        "Claude Code here: claude says 17. claudette",
        &["claude code", "claude"],
    );
    assert_eq!(text, "the agent here: the agent says 17. claudette");
    assert_eq!(family("claude-opus-4-1"), Some("claude"));
    assert_eq!(family("gpt-5-codex"), Some("gpt"));
    assert_eq!(family("a-model-of-tomorrow"), None);
}

proptest! {
    #[test]
    fn no_text_makes_a_finding_that_contradicts_itself(text in "[A-Z_a-z0-9`'. \n;]{0,200}") {
        let finding = judge_deterministic(&retries(), &text);
        prop_assert!(finding.claimed || !finding.value_right);
        prop_assert!(!(finding.claimed && finding.abstained));
    }

    #[test]
    fn no_text_can_end_its_fence(text in "[a-z]{0,300}", seed: u64) {
        prop_assert!(!text.contains(&fence(&text, seed)));
    }

    #[test]
    fn any_reply_is_read_without_an_accident(reply in ".{0,300}") {
        prop_assert_eq!(read_reply(&reply, &sample_facts()).len(), sample_facts().len());
    }

    #[test]
    fn shares_are_shares(flags in prop::collection::vec(prop::option::of((any::<bool>(), any::<bool>())), 0..40)) {
        let findings: Vec<_> = flags
            .iter()
            .map(|flags| flags.map(|(claimed, right)| Finding {
                claimed,
                value_right: claimed && right,
                abstained: false,
            }))
            .collect();
        let recall = Recall::of(&findings);
        for share in [recall.precision, recall.recall].into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&share));
        }
        prop_assert_eq!(recall.graded + recall.ungraded, recall.facts);
    }
}
