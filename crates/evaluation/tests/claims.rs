//! Free recall as claims, and the battery that tests judges.

mod support;

use domain::vocabulary::Dimension;
use evaluation::claims::{
    AtomicFact, FactKind, Finding, Recall, atomic_facts, invented, judge_deterministic,
};
use evaluation::judging::{
    BatteryKind, BatteryText, Exclusion, FACTS_AT_ONCE, FALSE_ACCEPT_LIMIT, Juror, aliases,
    battery, battery_version, exclusion, family, fence, gate, jury_findings, majority, read_reply,
    reply_schema, run_result, same_model, sample_facts, strip_identity,
};
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
fn an_order_of_calls_states_nothing_about_results() {
    let fact = AtomicFact {
        statement: "`add` returns `u32`.".to_owned(),
        subjects: vec!["add".to_owned()],
        values: vec!["u32".to_owned()],
        distractors: vec!["bool".to_owned()],
        kind: FactKind::Returns,
        ..AtomicFact::default()
    };
    let order = judge_deterministic(&fact, "calls in this order: empty -> add -> confirm");
    assert!(!order.claimed, "{order:?}");
    let signature = judge_deterministic(&fact, "add() -> u32");
    assert!(signature.claimed && signature.value_right, "{signature:?}");
    let wrong = judge_deterministic(&fact, "add() -> bool");
    assert!(wrong.claimed && !wrong.value_right, "{wrong:?}");
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
fn a_value_that_the_repository_has_nowhere_is_a_wrong_claim_too() {
    for wrong in [
        "MAX_RETRIES is 99",
        "MAX_RETRIES is 1700",
        "`MAX_RETRIES` = `99`",
        "The value of `MAX_RETRIES` was changed to 99.",
        "MAX_RETRIES is 17 or 99",
        "MAX_RETRIES is one of 14, 15, 16, 17, 18, 19",
    ] {
        assert_eq!(found(wrong), (true, false, false), "{wrong}");
    }
    for right in [
        "MAX_RETRIES was raised from 12 to 17.",
        "`MAX_RETRIES` (line 40 of `src/net.rs`) is 17",
        "3) `MAX_RETRIES: u32 = 17`, used 12 times",
        "MAX_RETRIES is 17 and `TIMEOUT` is 30",
    ] {
        assert_eq!(found(right), (true, true, false), "{right}");
    }
    for fact in sample_facts().iter().chain(&facts(3)) {
        let Some(wrong) = invented(fact) else {
            assert_eq!(fact.kind, FactKind::Status, "{fact:?}");
            continue;
        };
        let right = fact.values.first().unwrap();
        let text = fact
            .statement
            .replace(&format!("`{right}`"), &format!("`{wrong}`"));
        let finding = judge_deterministic(fact, &text);
        assert_eq!(
            (finding.claimed, finding.value_right),
            (fact.kind.is_exclusive(), false),
            "{text} for {fact:?}"
        );
    }
}

#[test]
fn a_value_with_the_word_of_another_relation_is_no_claim() {
    let facts = sample_facts();
    let of = |kind: FactKind| facts.iter().find(|fact| fact.kind == kind).unwrap();
    let check = |fact: &AtomicFact, text: &str, claimed: bool, right: bool| {
        let finding = judge_deterministic(fact, text);
        let found = (finding.claimed, finding.value_right);
        assert_eq!(found, (claimed, right), "{text} for {}", fact.statement);
    };
    let home = of(FactKind::Home);
    check(
        home,
        "`parse_header` is used in `src/wire/header.rs`.",
        false,
        false,
    );
    check(
        home,
        "`src/wire/header.rs` calls `parse_header`.",
        false,
        false,
    );
    check(
        home,
        "`src/wire/header.rs` defines `parse_header`, and `src/a.rs` uses it.",
        true,
        true,
    );
    check(
        home,
        "`parse_header` is defined in `src/wire/header.rs` and used in `src/a.rs`",
        true,
        true,
    );
    check(
        home,
        "`parse_header` is defined in `src/a.rs` and used in `src/wire/header.rs`",
        true,
        false,
    );
    check(
        home,
        "`parse_header` (`src/wire/header.rs`) returns `Header`",
        true,
        true,
    );
    let used = of(FactKind::Use);
    check(
        used,
        "`round_half_up` is defined in `src/billing/totals.rs`",
        false,
        false,
    );
    check(
        used,
        "`round_half_up` is used in `src/billing/totals.rs` and `other/place.rs`",
        true,
        true,
    );
    check(
        used,
        "Which files use `round_half_up`: src/billing/totals.rs",
        true,
        true,
    );
    let returns = of(FactKind::Returns);
    check(
        returns,
        "`open_ledger` takes a `Result<Ledger, StoreError>`",
        false,
        false,
    );
    check(
        returns,
        "`open_ledger` takes a `Path` and returns `Result<Ledger, StoreError>`",
        true,
        true,
    );
    check(
        returns,
        "`open_ledger` in `src/store.rs` returns `Ledger2`",
        true,
        false,
    );
}

#[test]
fn not_knowing_is_distinguished_from_silence() {
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
    let recall = Recall::from_findings(&[Some(right), Some(wrong), Some(silent), None]);
    assert_eq!((recall.facts, recall.graded, recall.ungraded), (4, 3, 1));
    assert_eq!(recall.precision, Some(0.5));
    assert_eq!(recall.recall, Some(1.0 / 3.0));
    let nothing = Recall::from_findings(&[None, None]);
    assert_eq!((nothing.precision, nothing.recall), (None, None));
    assert_eq!(Recall::from_findings(&[Some(silent)]).precision, None);
}

/// Returns the facts of a real sheet, with the teaching.
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
    let recall = Recall::from_findings(&findings);
    let missed: Vec<_> = facts
        .iter()
        .zip(&findings)
        .filter(|(_, finding)| !finding.is_some_and(|finding| finding.value_right))
        .collect();
    assert_eq!(recall.recall, Some(1.0), "{missed:#?}");
    assert_eq!(recall.precision, Some(1.0));
}

fn findings_of(
    texts: &[BatteryText],
    judge: impl Fn(&AtomicFact, &str) -> Option<Finding>,
) -> Vec<Option<Finding>> {
    let cases = texts.iter().flat_map(|text| {
        let cases = text.cases.iter();
        cases.map(|case| judge(&case.fact, &text.text))
    });
    cases.collect()
}

/// Returns the findings of a simple judge for the whole battery.
fn tried(
    facts: &[AtomicFact],
    judge: impl Fn(&AtomicFact, &str) -> Option<Finding>,
) -> evaluation::judging::BatteryResult {
    let texts = battery(facts, 1);
    run_result(&texts, &findings_of(&texts, judge))
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
        let mistakes: Vec<_> = battery(&facts, 1)
            .into_iter()
            .flat_map(|text| {
                text.cases
                    .into_iter()
                    .map(move |case| (text.text.clone(), case))
            })
            .filter(|(text, case)| judge_deterministic(&case.fact, text).value_right != case.right)
            .collect();
        assert_eq!(mistakes, [], "{result:#?}");
        assert_eq!((result.false_accept.hits, result.false_reject.hits), (0, 0));
        assert!(result.false_accept.of > result.false_reject.of);
        assert_eq!(result.by_kind.len(), 10);
        assert!(gate(&result, FALSE_ACCEPT_LIMIT).may_rank);
    }
}

#[test]
fn the_gate_excludes_judges_that_accept_too_much_reject_everything_or_are_unreadable() {
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
fn a_jury_finds_what_its_majority_finds_and_no_for_a_tie() {
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
    // One finding contradicts itself, one is repeated, one is missing.
    assert_eq!((read[1], read[2], read[3]), (None, None, None));
    for garbage in ["", "yes", "{\"findings\": 1}", "Sure! {\"findings\": []}"] {
        assert!(read_reply(garbage, &facts).iter().all(Option::is_none));
    }
    assert_eq!(reply_schema()["required"][0], "findings");
}

#[test]
fn a_battery_asks_as_judges_are_asked() {
    let texts = battery(&sample_facts(), 1);
    let mixed = |text: &&BatteryText| {
        let kinds: std::collections::BTreeSet<_> =
            text.cases.iter().map(|case| case.kind).collect();
        kinds.len() > 4
    };
    assert!(texts.iter().all(|text| text.cases.len() <= FACTS_AT_ONCE));
    assert!(texts.iter().filter(mixed).count() >= 27, "{}", texts.len());
    let cases: Vec<_> = texts.iter().flat_map(|text| &text.cases).collect();
    assert!(cases.iter().filter(|case| !case.right).count() >= 190);
    assert!(cases.iter().filter(|case| case.right).count() >= 48);
    assert_eq!(
        battery_version(&texts),
        battery_version(&battery(&sample_facts(), 1))
    );
    assert_ne!(
        battery_version(&texts),
        battery_version(&battery(&sample_facts(), 2))
    );
}

/// Computes the probability that a judge with independent errors passes: the sum of the binomial,
/// by logarithms.
#[test]
fn a_lenient_judge_rarely_passes_by_luck() {
    let cases: Vec<_> = battery(&sample_facts(), 1)
        .into_iter()
        .flat_map(|text| text.cases)
        .filter(|case| !case.right)
        .collect();
    let n = cases.len();
    let passes = |rate: f64| -> f64 {
        let most = (n as f64 * FALSE_ACCEPT_LIMIT) as usize;
        let mut choose = 0.0_f64;
        let mut total = 0.0;
        for hits in 0..=most {
            let (k, rest) = (hits as f64, (n - hits) as f64);
            total += (choose + k * rate.ln() + rest * (1.0 - rate).ln()).exp();
            choose += (rest / (k + 1.0)).ln();
        }
        total
    };
    assert!(passes(0.2) < 1e-6, "{} of {n}", passes(0.2));
    assert!(passes(0.1) < 0.02, "{} of {n}", passes(0.1));
    assert!(passes(0.02) > 0.98, "{} of {n}", passes(0.02));
}

#[test]
fn a_jury_is_tested_by_the_majority_of_its_findings() {
    let texts = battery(&sample_facts(), 1);
    let honest = findings_of(&texts, |fact, text| Some(judge_deterministic(fact, text)));
    let lenient = findings_of(&texts, |fact, text| {
        verdict(text.contains(&fact.subjects[0]))
    });
    let result = |members: &[&[Option<Finding>]]| run_result(&texts, &jury_findings(members));
    let most_honest = result(&[&honest, &lenient, &honest]);
    assert!(gate(&most_honest, FALSE_ACCEPT_LIMIT).may_rank);
    let most_lenient = result(&[&lenient, &honest, &lenient]);
    assert!(!gate(&most_lenient, FALSE_ACCEPT_LIMIT).may_rank);
    assert!(most_lenient.false_accept.share > Some(0.3));
}

#[test]
fn the_identity_of_the_author_is_removed() {
    let claude = aliases("claude", Some("Claude Code"), Some("claude-sonnet-4-5"));
    for (said, stripped) in [
        (
            "Claude Code was here: claude says 17. claudette",
            "the agent was here: the agent says 17. claudette",
        ),
        (
            "As Claude, I recall that `A` is 7.",
            "I recall that `A` is 7.",
        ),
        (
            "I am Claude Code, made by Anthropic. `A` is 7.",
            "`A` is 7.",
        ),
        (
            "`A` is 7.\nI'm claude-sonnet-4-5 by Anthropic.",
            "`A` is 7.\n",
        ),
    ] {
        let found = strip_identity(said, &claude);
        assert_eq!(found.trim(), stripped.trim(), "{said}");
    }
    let gemini = aliases("gemini", None, Some("gemini-2.5-pro"));
    let introduced = strip_identity(
        "I am Gemini CLI, a large language model. `A` is 7.",
        &gemini,
    );
    assert_eq!(introduced.trim(), "`A` is 7.");
}

#[test]
fn taking_a_name_out_leaves_facts_alone() {
    let gemini = aliases("gemini", Some("Gemini CLI"), Some("gemini-2.5-pro"));
    for facts in [
        "`connect` is defined in `src/gemini/client.py`.",
        "connect is defined in src/gemini/client.py",
        "The flag `gemini` is read by gemini_client and gemini-client.",
        "google.auth is imported by lib/google.py",
        "```\nlet gemini = 1;\n```",
    ] {
        assert_eq!(strip_identity(facts, &gemini), facts);
    }
}

#[test]
fn a_juror_does_not_judge_its_own_family() {
    for (model, of) in [
        ("claude-opus-4-1", "claude"),
        ("gpt-5-codex", "gpt"),
        ("o3", "gpt"),
        ("openai/o4-mini", "gpt"),
        ("z-ai/glm-4.6", "glm"),
        ("grok-4", "grok"),
        ("mistral-large", "mistral"),
        ("MiniMax-M2", "minimax"),
        ("qwen3-coder-plus", "qwen"),
        ("llama3.3", "llama"),
        ("control-perfect", "control"),
    ] {
        assert_eq!(family(model), Some(of), "{model}");
    }
    for unknown in ["a-model-of-tomorrow", "foo3", "solo1"] {
        assert_eq!(family(unknown), None, "{unknown}");
    }
    assert!(same_model("z-ai/glm-4.6:free", "GLM-4.6"));
    let juror = |model| Juror {
        model,
        family: family(model),
    };
    let kept = |model, agent, asks| exclusion(juror(model), agent, asks);
    assert_eq!(kept("o3", "codex", None), Some(Exclusion::SameFamily));
    assert_eq!(
        kept("o3", "codex", Some("gpt-5")),
        Some(Exclusion::SameFamily)
    );
    assert_eq!(
        kept("glm-4.6", "claude", Some("glm-4.6")),
        Some(Exclusion::SameModel)
    );
    assert_eq!(
        kept("glm-4.5", "claude", Some("z-ai/glm-4.6")),
        Some(Exclusion::SameFamily)
    );
    // An agent that uses a foreign model is judged as that model.
    assert_eq!(kept("claude-haiku-4-5", "claude", Some("glm-4.6")), None);
    assert_eq!(kept("gemini-2.5-pro", "claude", None), None);
    assert_eq!(kept("m-1", "claude", None), None);
    assert_eq!(
        kept("m-1", "claude", Some("m-2")),
        Some(Exclusion::FamiliesUnknown)
    );
    assert_eq!(
        kept("m-1", "an-agent", None),
        Some(Exclusion::FamiliesUnknown)
    );
    let reported = Juror {
        model: "m-1",
        family: Some("gpt"),
    };
    assert_eq!(
        exclusion(reported, "codex", None),
        Some(Exclusion::SameFamily)
    );
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
        // The word that would be drawn first, inserted by an author that can guess the seed.
        let text = format!("{text}{}", fence("", seed));
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
        let recall = Recall::from_findings(&findings);
        for share in [recall.precision, recall.recall].into_iter().flatten() {
            prop_assert!((0.0..=1.0).contains(&share));
        }
        prop_assert_eq!(recall.graded + recall.ungraded, recall.facts);
    }
}
