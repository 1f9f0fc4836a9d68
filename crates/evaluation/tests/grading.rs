//! Grading: the answer in a reply, and its grade.

use domain::vocabulary::Verdict;
use evaluation::grading::{confidence, grade};
use evaluation::probe::Grader;
use proptest::prelude::*;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn exact(accept: &[&str]) -> Grader {
    Grader::Exact {
        accept: strings(accept),
    }
}

fn set(items: &[&str]) -> Grader {
    Grader::Set {
        items: strings(items),
    }
}

fn choice() -> Grader {
    Grader::Choice {
        choices: strings(&["src/retry.rs", "src/queue.rs", "web/api.ts"]),
        right: 1,
    }
}

fn sequence() -> Grader {
    Grader::Sequence {
        items: strings(&["open", "read", "write", "close"]),
    }
}

fn corrected() -> Grader {
    Grader::Current {
        current: Some(strings(&["83 seconds", "83", "83s"])),
        replaced: strings(&["47 seconds", "47", "47s"]),
    }
}

fn retracted() -> Grader {
    Grader::Current {
        current: None,
        replaced: strings(&["47 seconds", "47"]),
    }
}

#[track_caller]
fn verdicts(grader: &Grader, expected: Verdict, replies: &[&str]) {
    for reply in replies {
        let grade = grade(grader, reply);
        assert_eq!(grade.verdict, expected, "{reply:?}");
        match expected {
            Verdict::Right => assert_eq!(grade.value, 1.0),
            Verdict::Partial => assert!(grade.value > 0.0 && grade.value < 1.0),
            Verdict::Wrong | Verdict::Stale | Verdict::Abstained | Verdict::Unreadable => {
                assert_eq!(grade.value, 0.0);
            }
        }
    }
}

#[test]
fn the_answer_is_found_in_any_format() {
    verdicts(
        &exact(&["src/retry.rs"]),
        Verdict::Right,
        &[
            "ANSWER: src/retry.rs",
            "answer: src/retry.rs",
            "**ANSWER:** src/retry.rs",
            "**Answer**: `src/retry.rs`",
            "**ANSWER: src/retry.rs**",
            "### Answer: src/retry.rs",
            "> ANSWER: \"src/retry.rs\"",
            "I think so.\n\nFinal answer: src/retry.rs.",
            "ANSWER:\nsrc/retry.rs",
            "ANSWER:\n\n- src/retry.rs",
            "ANSWER:\n```\nsrc/retry.rs\n```",
            "ANSWER: src/queue.rs\nNo, wait.\nANSWER: src/retry.rs",
            "ANSWER: src/retry.rs\n\nThe file was added by the change.",
            "src/retry.rs",
            "\n  `src/retry.rs`  \n",
            "ANSWER： src/retry.rs",
        ],
    );
}

#[test]
fn a_reply_of_several_lines_without_a_marked_answer_is_unreadable() {
    verdicts(
        &exact(&["src/retry.rs"]),
        Verdict::Unreadable,
        &[
            "",
            "   \n ",
            "ANSWER:",
            "ANSWER:   \n\n",
            "It is in\nsrc/retry.rs",
            "**ANSWER: **",
        ],
    );
}

#[test]
fn a_word_that_ends_in_answer_is_no_marker() {
    verdicts(
        &exact(&["x"]),
        Verdict::Unreadable,
        &["One line.\nThe preanswer: x"],
    );
}

#[test]
fn a_parameter_called_answer_belongs_to_the_answer() {
    verdicts(
        &exact(&["fn(answer: u8)"]),
        Verdict::Right,
        &["ANSWER: fn(answer: u8)"],
    );
}

#[test]
fn differences_that_do_not_change_a_value_are_ignored() {
    let cases = [
        ("src/retry.rs", "./src/retry.rs"),
        ("src/retry.rs", "repo/src/retry.rs"),
        ("test_delay", "test_delay()"),
        ("test_delay", "test_delay(self)"),
        ("Retry::delay", "Retry::delay(attempt: u32, max: u32)"),
        ("test_delay", "test\\_delay"),
        ("Result<(), Error>", "`Result<(),Error>`"),
        ("Vec<Job>", "Vec < Job >"),
        ("two words", "two   words."),
        ("a, b", "a,b"),
        ("*const u8", "*const u8"),
        ("...", "..."),
    ];
    for (expected, answer) in cases {
        verdicts(
            &exact(&[expected]),
            Verdict::Right,
            &[&format!("ANSWER: {answer}")],
        );
    }
}

#[test]
fn differences_that_change_a_value_count() {
    let cases = [
        ("load", "Load"),
        ("test_delay", "test delay"),
        ("test_delay", "test_delay(a) or test_other(b)"),
        ("MAX_RETRY", "MAX_RETRY2"),
        ("Option<Job>", "Job"),
        ("u32", "i32"),
        ("10", "1.0"),
        ("src/retry.rs", "retry.rs"),
    ];
    for (expected, answer) in cases {
        verdicts(
            &exact(&[expected]),
            Verdict::Wrong,
            &[&format!("ANSWER: {answer}")],
        );
    }
}

#[test]
fn listing_many_values_is_not_right() {
    verdicts(
        &exact(&["7"]),
        Verdict::Wrong,
        &[
            "ANSWER: 5, 6, 7, 8",
            "ANSWER: 7 or 8",
            "ANSWER: 7 (or 8)",
            "ANSWER: 7. ANSWER: 8",
        ],
    );
}

#[test]
fn not_knowing_is_counted_apart() {
    let graders = [
        exact(&["x"]),
        set(&["x", "y"]),
        choice(),
        sequence(),
        corrected(),
        retracted(),
    ];
    for grader in &graders {
        verdicts(
            grader,
            Verdict::Abstained,
            &[
                "ANSWER: I don't recall",
                "ANSWER: I don\u{2019}t recall.",
                "**ANSWER:** *I do not recall*",
                "ANSWER: don't know",
                "ANSWER: Sorry, I really can't remember that.",
                "ANSWER: I no longer remember",
                "ANSWER: I don't recall whether it was withdrawn",
                "ANSWER: I don't know, maybe x",
                "ANSWER: I have no recollection of it",
                "ANSWER: not sure",
                "ANSWER: unknown",
                "ANSWER: N/A",
                "I don't recall",
            ],
        );
    }
}

#[test]
fn a_value_that_looks_like_a_shrug_is_a_value_where_it_is_right() {
    verdicts(&exact(&["unknown"]), Verdict::Right, &["ANSWER: unknown"]);
}

#[test]
fn a_set_is_worth_its_f1() {
    let grader = set(&["a.rs", "b.rs", "c.rs"]);
    verdicts(
        &grader,
        Verdict::Right,
        &[
            "ANSWER: a.rs, b.rs, c.rs",
            "ANSWER: c.rs; `a.rs` and b.rs",
            "ANSWER: a.rs, b.rs, and c.rs.",
            "ANSWER: a.rs, a.rs, b.rs, c.rs, c.rs",
            "ANSWER:\n- a.rs\n- b.rs\n- c.rs",
            "ANSWER: a.rs,\nb.rs,\nc.rs\n\nThat is all.",
            "ANSWER:\n1. ./a.rs\n2. repo/b.rs\n3. c.rs",
            "ANSWER: \"a.rs\", \"b.rs\", \"c.rs\"",
        ],
    );
    verdicts(
        &grader,
        Verdict::Wrong,
        &["ANSWER: d.rs", "ANSWER: a.py, b.py"],
    );
    let worth = |reply| grade(&grader, reply).value;
    assert_eq!(worth("ANSWER: a.rs"), 0.5);
    assert_eq!(worth("ANSWER: a.rs, b.rs"), 0.8);
    assert_eq!(
        worth("ANSWER: a.rs, b.rs, c.rs, d.rs, e.rs, f.rs"),
        6.0 / 9.0
    );
}

#[test]
fn a_choice_is_named_by_letter_or_text_or_both() {
    verdicts(
        &choice(),
        Verdict::Right,
        &[
            "ANSWER: B",
            "ANSWER: b",
            "ANSWER: (b)",
            "ANSWER: B)",
            "ANSWER: **B**",
            "ANSWER: B.",
            "ANSWER: Option B",
            "ANSWER: B) src/queue.rs",
            "ANSWER: (B) `src/queue.rs`",
            "ANSWER: B - src/queue.rs",
            "ANSWER: **B)** src/queue.rs",
            "ANSWER: src/queue.rs",
            "ANSWER: SRC/QUEUE.RS",
        ],
    );
    verdicts(
        &choice(),
        Verdict::Wrong,
        &[
            "ANSWER: A",
            "ANSWER: A, B",
            "ANSWER: A or B",
            "ANSWER: B or C",
            "ANSWER: B) src/retry.rs",
            "ANSWER: AB",
            "ANSWER: Z",
            "ANSWER: src/queue.rs, src/retry.rs",
            "ANSWER: a file",
        ],
    );
}

#[test]
fn a_sequence_is_worth_its_ordered_pairs() {
    verdicts(
        &sequence(),
        Verdict::Right,
        &[
            "ANSWER: open -> read -> write -> close",
            "ANSWER: open → `read` → write() → close",
            "ANSWER: open > read > write > close",
            "ANSWER: open, read, write, close",
            "ANSWER: open, then read, then write and then close",
            "ANSWER:\n1. open\n2. read\n3. write\n4. close",
            "ANSWER: 1. open 2. read 3. write 4. close",
        ],
    );
    let worth = |reply| grade(&sequence(), reply).value;
    assert_eq!(worth("ANSWER: open -> write -> read -> close"), 5.0 / 6.0);
    assert_eq!(worth("ANSWER: close -> write -> read -> open"), 0.0);
    assert_eq!(worth("ANSWER: open -> read -> write"), 3.0 / 6.0);
    assert_eq!(
        worth("ANSWER: open -> read -> write -> close -> sync"),
        6.0 / 10.0
    );
    assert_eq!(
        worth("ANSWER: open -> read -> write -> close -> open"),
        3.0 / 6.0
    );
    assert_eq!(worth("ANSWER: open"), 0.0);
}

#[test]
fn a_replaced_value_is_stale() {
    verdicts(
        &corrected(),
        Verdict::Right,
        &["ANSWER: 83 seconds", "ANSWER: 83", "ANSWER: `83s`."],
    );
    verdicts(
        &corrected(),
        Verdict::Stale,
        &["ANSWER: 47 seconds", "ANSWER: 47"],
    );
    verdicts(
        &corrected(),
        Verdict::Wrong,
        &[
            "ANSWER: 47 or 83",
            "ANSWER: first 47 seconds, now 83 seconds",
            "ANSWER: 65",
            "ANSWER: withdrawn",
        ],
    );
}

#[test]
fn a_withdrawn_fact_is_answered_by_saying_so() {
    verdicts(
        &retracted(),
        Verdict::Right,
        &[
            "ANSWER: withdrawn",
            "ANSWER: Withdrawn.",
            "ANSWER: **withdrawn**",
            "ANSWER: it was retracted",
            "ANSWER: no longer known",
            "ANSWER: That is no longer valid",
        ],
    );
    verdicts(&retracted(), Verdict::Stale, &["ANSWER: 47 seconds"]);
    verdicts(
        &retracted(),
        Verdict::Wrong,
        &[
            "ANSWER: 65",
            "ANSWER: not withdrawn",
            "ANSWER: withdrawn or 65",
            "ANSWER: 47 seconds, if not withdrawn",
            "ANSWER: withdrawn, before that 47",
        ],
    );
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{2,9}(\\.[a-z]{2}|::[A-Z][a-z]{2})?"
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(name(), 2..7).prop_map(|names| names.into_iter().collect())
}

fn grader() -> impl Strategy<Value = Grader> {
    prop_oneof![
        prop::collection::vec(".{0,12}", 0..3).prop_map(|accept| Grader::Exact { accept }),
        prop::collection::vec(".{0,12}", 0..4).prop_map(|items| Grader::Set { items }),
        (prop::collection::vec(".{0,12}", 0..4), 0..5_usize)
            .prop_map(|(choices, right)| Grader::Choice { choices, right }),
        prop::collection::vec(".{0,12}", 0..4).prop_map(|items| Grader::Sequence { items }),
        (
            prop::option::of(prop::collection::vec(".{0,12}", 0..3)),
            prop::collection::vec(".{0,12}", 0..3),
        )
            .prop_map(|(current, replaced)| Grader::Current { current, replaced }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_reply_to_any_grader_has_a_grade_that_fits_its_verdict(
        grader in grader(),
        reply in r"(?s)((ANSWER|Answer|\*\*answer\*\*):? ?)?[\PC\n]{0,60}",
    ) {
        let grade = grade(&grader, &reply);
        match grade.verdict {
            Verdict::Right => prop_assert_eq!(grade.value, 1.0),
            Verdict::Partial => prop_assert!(grade.value > 0.0 && grade.value < 1.0),
            Verdict::Wrong | Verdict::Stale | Verdict::Abstained | Verdict::Unreadable => {
                prop_assert_eq!(grade.value, 0.0);
            }
        }
    }

    #[test]
    fn the_right_answer_is_right(names in names(), talk in "[A-Za-z ,.\n]{0,80}") {
        let say = |answer: &str| format!("{talk}\nANSWER: {answer}");
        let first = Grader::Exact { accept: vec![names[0].clone()] };
        prop_assert_eq!(grade(&first, &say(&names[0])).verdict, Verdict::Right);
        let all = Grader::Set { items: names.clone() };
        prop_assert_eq!(grade(&all, &say(&names.join(", "))).verdict, Verdict::Right);
        let order = Grader::Sequence { items: names.clone() };
        prop_assert_eq!(grade(&order, &say(&names.join(" -> "))).verdict, Verdict::Right);
        let one = Grader::Choice { choices: names.clone(), right: 1 };
        prop_assert_eq!(grade(&one, &say(&names[1])).verdict, Verdict::Right);
        prop_assert_eq!(grade(&one, &say("B")).verdict, Verdict::Right);
        prop_assert_eq!(grade(&one, &say("A")).verdict, Verdict::Wrong);
    }

    #[test]
    fn the_order_of_a_set_does_not_matter(
        names in names(),
        given in prop::collection::vec(name(), 1..6),
    ) {
        let grader = Grader::Set { items: names.clone() };
        let mut mixed: Vec<String> = given;
        mixed.extend(names.iter().take(2).cloned());
        let there = grade(&grader, &format!("ANSWER: {}", mixed.join(", ")));
        mixed.reverse();
        let back = grade(&grader, &format!("ANSWER: {}", mixed.join(", ")));
        prop_assert_eq!(there, back);
    }

    #[test]
    fn abstaining_is_never_worth_anything(
        grader in grader(),
        tail in "[A-Za-z0-9 ,.]{0,40}",
    ) {
        let grade = grade(&grader, &format!("ANSWER: I don't recall {tail}"));
        prop_assert_eq!((grade.value, grade.verdict), (0.0, Verdict::Abstained));
    }

    #[test]
    fn naming_everything_is_not_right(names in names()) {
        let grader = Grader::Exact { accept: vec![names[0].clone()] };
        let all = format!("ANSWER: {}", names.join(", "));
        prop_assert_eq!(grade(&grader, &all).verdict, Verdict::Wrong);
        let letters = Grader::Choice { choices: names, right: 0 };
        prop_assert_eq!(grade(&letters, "ANSWER: A, B").verdict, Verdict::Wrong);
    }
}

#[test]
fn how_sure_an_agent_is_is_read_apart_from_its_answer() {
    let grader = exact(&["17"]);
    for (reply, sure) in [
        ("ANSWER: 17\nCONFIDENCE: 80", Some(0.8)),
        ("ANSWER: 17\n**Confidence:** 80%", Some(0.8)),
        ("CONFIDENCE: 12.5\nANSWER: 17", Some(0.125)),
        ("ANSWER:\n17\nCONFIDENCE: 100", Some(1.0)),
        ("ANSWER: 17\nCONFIDENCE: high", None),
        ("ANSWER: 17\nCONFIDENCE: 101", None),
        ("ANSWER: 17", None),
    ] {
        assert_eq!(confidence(reply), sure, "{reply}");
        assert_eq!(grade(&grader, reply).verdict, Verdict::Right, "{reply}");
    }
    // A list does not include the line below it.
    let set = Grader::Set {
        items: vec!["a".to_owned(), "b".to_owned()],
    };
    let reply = "ANSWER: a,\nb\nCONFIDENCE: 3";
    assert_eq!(grade(&set, reply).verdict, Verdict::Right);
}
