//! Replies to several questions of one prompt: each question gets its own part only.

use domain::vocabulary::Verdict;
use evaluation::grading::{confidence, grade, numbered_parts};
use evaluation::probe::Grader;
use proptest::prelude::*;

fn exact(value: &str) -> Grader {
    Grader::Exact {
        accept: vec![value.to_owned()],
    }
}

#[test]
fn every_question_gets_its_own_answer_and_confidence() {
    let reply = "Let me think: the answer to 1 may be 9.\n\nANSWER 1: 7\nCONFIDENCE 1: 80\n\
                 **ANSWER 2:** `Basket`\n**CONFIDENCE 2:** 60\nANSWER 3: I don't recall\nCONFIDENCE 3: 10\n";
    let parts = numbered_parts(reply, 3);
    let graded = |at: usize, value: &str| grade(&exact(value), &parts[at]).verdict;
    assert_eq!(graded(0, "7"), Verdict::Right);
    assert_eq!(graded(1, "Basket"), Verdict::Right);
    assert_eq!(graded(2, "7"), Verdict::Abstained);
    let sure: Vec<_> = parts.iter().map(|part| confidence(part)).collect();
    assert_eq!(sure, [Some(0.8), Some(0.6), Some(0.1)]);
}

#[test]
fn a_missing_part_is_unreadable_and_borrows_nothing() {
    for reply in [
        "ANSWER 1: 7\nCONFIDENCE 1: 80\nCONFIDENCE 2: 80",
        "ANSWER 1: 7\nCONFIDENCE 1: 80\nANSWER: 7\nCONFIDENCE: 80",
        "ANSWER 1: 7\nANSWER 3: 7\nANSWER 02x: 7",
        "ANSWER: 7\nANSWER 1: 7\nfor question 2. ANSWER: 7",
        "ANSWER 1: 7 ANSWER 2: 7",
    ] {
        let parts = numbered_parts(reply, 2);
        assert_eq!(parts[1], "", "{reply}");
        assert_eq!(grade(&exact("7"), &parts[1]).verdict, Verdict::Unreadable);
        assert_eq!(confidence(&parts[1]), None);
    }
    // Text without a number does not belong to the first answer either.
    let parts = numbered_parts("ANSWER 1: 9\nANSWER: 7", 1);
    assert_eq!(grade(&exact("7"), &parts[0]).verdict, Verdict::Wrong);
    let parts = numbered_parts("ANSWER 1: 9\n2. ANSWER: 7", 2);
    assert_eq!(grade(&exact("7"), &parts[0]).verdict, Verdict::Wrong);
}

#[test]
fn a_list_goes_on_until_the_next_number() {
    let items = ["src/a.rs", "src/b.rs", "src/c.rs"].map(str::to_owned);
    let reply = "ANSWER 1:\n- src/a.rs\n- src/b.rs\nCONFIDENCE 1: 90\nANSWER 2: src/c.rs";
    let parts = numbered_parts(reply, 2);
    let of = |items: &[String], part: &str| {
        let grader = Grader::Set {
            items: items.to_vec(),
        };
        grade(&grader, part).verdict
    };
    assert_eq!(of(&items[..2], &parts[0]), Verdict::Right);
    assert_eq!(of(&items[2..], &parts[1]), Verdict::Right);
}

#[test]
fn an_answer_given_twice_is_the_last_one() {
    let parts = numbered_parts("ANSWER 1: 9\nANSWER 2: 8\nNo:\nANSWER 1: 7", 2);
    assert_eq!(grade(&exact("7"), &parts[0]).verdict, Verdict::Right);
    assert_eq!(grade(&exact("8"), &parts[1]).verdict, Verdict::Right);
}

proptest! {
    /// For any answers in any order, with any missing: a question gets the text under its number.
    #[test]
    fn parts_are_never_mixed(
        answers in prop::collection::vec(prop::option::of("[a-z]{1,8}"), 1..20),
        order in any::<prop::sample::Index>(),
        thinking in "[a-z .]{0,40}",
    ) {
        let mut lines: Vec<String> = answers
            .iter()
            .enumerate()
            .filter_map(|(at, answer)| {
                let answer = answer.as_ref()?;
                Some(format!("ANSWER {0}: v{0}{answer}\nCONFIDENCE {0}: {0}", at + 1))
            })
            .collect();
        if !lines.is_empty() {
            let by = order.index(lines.len());
            lines.rotate_left(by);
        }
        let reply = format!("{thinking}\n{}", lines.join("\n"));
        let parts = numbered_parts(&reply, answers.len());
        prop_assert_eq!(parts.len(), answers.len());
        for (at, (part, answer)) in parts.iter().zip(&answers).enumerate() {
            let number = at + 1;
            match answer {
                Some(answer) => {
                    let right = grade(&exact(&format!("v{number}{answer}")), part);
                    prop_assert_eq!(right.verdict, Verdict::Right, "{}", part);
                    prop_assert_eq!(confidence(part), Some(number as f64 / 100.0));
                }
                None => prop_assert_eq!(part, ""),
            }
        }
    }

    /// For any text: as many parts as questions, each made of lines of the text, and no line in two
    /// parts.
    #[test]
    fn any_reply_can_be_split(
        lines in prop::collection::vec(
            prop_oneof![
                "\\PC{0,20}",
                "(ANSWER|Confidence|\\*\\*answer)( ?#?[0-9]{1,4})?:[ a-z0-9]{0,6}",
            ],
            0..30,
        ),
        questions in 1_usize..21,
    ) {
        // The end of a line identifies it.
        let reported: Vec<String> = lines.iter().enumerate().map(|(at, line)| format!("{line} <{at}>")).collect();
        let parts = numbered_parts(&reported.join("\n"), questions);
        prop_assert_eq!(parts.len(), questions);
        let mut ends: Vec<&str> = parts
            .iter()
            .flat_map(|part| part.lines())
            .filter_map(|line| line.rsplit_once(" <").map(|(_, end)| end))
            .collect();
        let all = ends.len();
        ends.sort_unstable();
        ends.dedup();
        prop_assert_eq!(ends.len(), all);
    }
}
