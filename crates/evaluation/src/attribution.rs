//! Attribution of right answers: the source of an answer, decided from the recorded streams, never
//! from the agent's own statements.

mod held;
mod saying;
mod words;

use domain::vocabulary::{Attribution, Verdict};

use self::held::TextLines;
use self::saying::Statements;
use crate::grading::grade;
use crate::probe::{Grader, Part, Probe};

/// Recorded material that can explain an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The text that the compaction kept, if the program shows it.
    pub summary: Option<&'a str>,
    /// The texts that the program reinjected beside it.
    pub reinjected: &'a [String],
    /// Whether a tool was called in the turn of the answer.
    pub reread: bool,
    /// Whether the answer of the cold arm to the same probe is right.
    pub cold_right: bool,
}

/// Returns the source of a right answer to `probe`.
///
/// The first matching sign decides, in the order of [`Attribution`]. Signs that void a run come
/// first, and material that the agent was given comes before possible guesses. If the summary
/// carries only a part of an answer and the rest was reinjected, the summary alone was not enough:
/// the result is [`Attribution::Reinjected`].
pub fn attribute(probe: &Probe, sources: Sources<'_>) -> Attribution {
    if sources.reread {
        Attribution::Reread
    } else if sources.summary.is_some_and(|text| carries(text, probe)) {
        Attribution::Summary
    } else if carries(&handed(sources), probe) {
        Attribution::Reinjected
    } else if sources.cold_right {
        Attribution::Guessable
    } else {
        Attribution::Model
    }
}

/// Returns all text that the program gave to the agent.
fn handed(sources: Sources<'_>) -> String {
    // The reinjected texts come last: the name of a file applies up to the end of a text.
    let summary = sources.summary.into_iter();
    let all: Vec<&str> = summary
        .chain(sources.reinjected.iter().map(String::as_str))
        .collect();
    all.join("\n")
}

/// Returns whether a text carries the answer to `probe`.
///
/// A text carries an answer if it contains the evidence, line by line and ignoring spaces, or if it
/// states the right answer in other words: see [`mod@saying`]. A set may be carried by both, item
/// by item.
///
/// A reinjected file has no `diff --git` line. If code proves an answer, the code below a line with
/// the name of its file counts as evidence: see [`mod@held`]. Only the diff proves that it touches
/// a file, and how.
pub fn carries(text: &str, probe: &Probe) -> bool {
    let held = TextLines::new(text);
    let is_right =
        |answer: &str| grade(&probe.grader, &format!("ANSWER: {answer}")).verdict == Verdict::Right;
    let said = Statements::new(text, probe);
    let follows = match probe.grader {
        Grader::Set { .. } => {
            let item = |part: &Part| held.part(part) || said.item(&part.value);
            probe.key.answer_of(item)
        }
        Grader::Exact { .. }
        | Grader::Choice { .. }
        | Grader::Sequence { .. }
        | Grader::Current { .. } => probe.key.answer_of(|part| held.part(part)),
    };
    follows.is_some_and(|answer| is_right(&answer)) || said.answer()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Combine, Key, Part, ProbeKind, Version};
    use domain::vocabulary::Dimension;

    fn constant() -> Probe {
        Probe {
            label: "AR-01".to_owned(),
            dimension: Dimension::Ar,
            kind: ProbeKind::ConstantValue,
            question: "What is the value of `MAX_RETRIES` after the change?".to_owned(),
            grader: Grader::Exact {
                accept: vec!["17".to_owned()],
            },
            distractors: Vec::new(),
            source: None,
            key: Key {
                combine: Combine::Single,
                versions: vec![Version {
                    parts: vec![Part {
                        evidence: vec!["+MAX_RETRIES = 17".to_owned()],
                        value: "17".to_owned(),
                    }],
                }],
            },
        }
    }

    #[test]
    fn evidence_is_found_behind_line_numbers_and_other_spaces() {
        assert!(carries("   12\t+MAX_RETRIES  = 17\n", &constant()));
        assert!(!carries("+MAX_RETRIES = 18", &constant()));
    }

    #[test]
    fn other_words_count_where_subject_and_value_stand_on_one_line() {
        assert!(carries("* `MAX_RETRIES` was raised to 17.", &constant()));
        for not in [
            "MAX_RETRIES was raised.\nThe limit is 17.",
            "MAX_RETRIES was raised to 170.",
            "OLD_MAX_RETRIES was raised to 17.",
            "",
        ] {
            assert!(!carries(not, &constant()), "{not:?}");
        }
    }

    #[test]
    fn a_value_that_only_begins_alike_is_not_the_fact() {
        let mut probe = constant();
        probe.key.versions[0].parts[0].evidence = vec!["LIMIT = 7".to_owned()];
        assert!(!carries("RETRY_LIMIT = 75", &probe));
        assert!(!carries("LIMIT = 7.5", &probe));
        assert!(carries("   3\tLIMIT = 7", &probe));
    }

    /// A probe for the file that defines a function whose signature takes two lines.
    fn symbol_file() -> Probe {
        let mut probe = constant();
        probe.kind = ProbeKind::SymbolFile;
        probe.question = "Which file of the diff defines the function `retry_later`?".to_owned();
        probe.grader = Grader::Exact {
            accept: vec!["src/store.py".to_owned()],
        };
        probe.key.versions[0].parts[0] = Part {
            evidence: [
                "diff --git a/src/store.py b/src/store.py",
                "def retry_later(",
                "job, delay):",
            ]
            .map(str::to_owned)
            .to_vec(),
            value: "src/store.py".to_owned(),
        };
        probe
    }

    #[test]
    fn a_file_that_was_read_again_needs_no_line_of_the_diff() {
        let text = "import time\n\ndef retry_later(\n    job, delay):\n    pass\n";
        for name in [
            "file: src/store.py",
            "file: /tmp/w/repo/src/store.py (from line 1)",
            "### `src/store.py`",
        ] {
            let put_back = [format!("{name}\n{text}")];
            let sources = Sources {
                reinjected: &put_back,
                cold_right: true,
                ..Sources::default()
            };
            assert_eq!(
                attribute(&symbol_file(), sources),
                Attribution::Reinjected,
                "{name}"
            );
        }
        for not in [
            text.to_owned(),
            format!("file: lib/src/store.py\n{text}"),
            format!("file: src/store.py\nfile: src/queue.py\n{text}"),
            "file: src/store.py\ndef retry_later(job):".to_owned(),
        ] {
            assert!(!carries(&not, &symbol_file()), "{not:?}");
        }
    }

    #[test]
    fn a_reinjected_file_does_not_show_that_the_diff_changes_it() {
        let mut probe = symbol_file();
        probe.kind = ProbeKind::ChangedFiles;
        probe.question = "Which files does the diff of this pull request change?".to_owned();
        probe.grader = Grader::Set {
            items: vec!["src/store.py".to_owned()],
        };
        probe.key.combine = Combine::Set;
        probe.key.versions[0].parts[0].evidence.truncate(1);
        assert!(!carries("file: src/store.py\nimport time", &probe));
        assert!(carries(
            "diff --git a/src/store.py b/src/store.py\n",
            &probe
        ));
    }

    #[test]
    fn a_choice_is_carried_by_its_text_if_no_other_choice_is_named() {
        let mut probe = symbol_file();
        probe.question = "Which of these files defines the function `retry_later`?\n\n\
                          A) src/queue.py\nB) src/store.py"
            .to_owned();
        probe.grader = Grader::Choice {
            choices: vec!["src/queue.py".to_owned(), "src/store.py".to_owned()],
            right: 1,
        };
        assert!(carries("`retry_later` is in src/store.py", &probe));
        for not in [
            "`retry_later` is in src/queue.py",
            "`retry_later` is in src/queue.py or src/store.py",
            "`retry_later` is in lib/src/store.py",
            "`retry_later` waits.\nsrc/store.py keeps jobs.",
        ] {
            assert!(!carries(not, &probe), "{not:?}");
        }
    }

    /// A probe for the two files that use a function.
    fn users() -> Probe {
        let mut probe = symbol_file();
        probe.kind = ProbeKind::SymbolUsers;
        probe.question = "In which files does the diff show a use of `retry_later`?".to_owned();
        let paths = ["src/queue.py", "src/main.py"];
        probe.grader = Grader::Set {
            items: paths.map(str::to_owned).to_vec(),
        };
        probe.key = Key {
            combine: Combine::Set,
            versions: vec![Version {
                parts: paths
                    .map(|path| Part {
                        evidence: vec![
                            format!("diff --git a/{path} b/{path}"),
                            format!("retry_later(job)  # {path}"),
                        ],
                        value: path.to_owned(),
                    })
                    .to_vec(),
            }],
        };
        probe
    }

    #[test]
    fn a_set_is_carried_as_a_list_or_line_by_line() {
        for says in [
            "retry_later is used in src/main.py and src/queue.py.",
            "Users of `retry_later`:\n\n- src/queue.py\n- `src/main.py` (at start)\n",
            "src/queue.py calls retry_later.\nsrc/main.py calls retry_later too.",
        ] {
            assert!(carries(says, &users()), "{says:?}");
        }
        for not in [
            "Users of `retry_later`:\n- src/queue.py\n\nAlso changed:\n- src/main.py",
            "retry_later is used in src/queue.py.",
        ] {
            assert!(!carries(not, &users()), "{not:?}");
        }
    }

    #[test]
    fn a_set_half_in_the_summary_is_where_the_rest_of_it_is() {
        let put_back = ["file: src/main.py\nretry_later(job)  # src/main.py\n".to_owned()];
        let sources = Sources {
            summary: Some("retry_later is used in src/queue.py."),
            reinjected: &put_back,
            ..Sources::default()
        };
        assert_eq!(attribute(&users(), sources), Attribution::Reinjected);
        let rest = Sources {
            reinjected: &[],
            ..sources
        };
        assert_eq!(attribute(&users(), rest), Attribution::Model);
    }

    #[test]
    fn the_changed_files_are_carried_by_a_list_of_exactly_these() {
        let mut probe = users();
        probe.kind = ProbeKind::ChangedFiles;
        probe.question =
            "Which files directly in the folder `src/` does the diff change?".to_owned();
        assert!(carries(
            "Changed files:\n- src/queue.py\n- src/main.py\n- web/a.ts",
            &probe
        ));
        for not in [
            "Changed files: src/queue.py, src/main.py, src/store.py",
            "I read src/queue.py.\nThen src/main.py.",
        ] {
            assert!(!carries(not, &probe), "{not:?}");
        }
    }

    #[test]
    fn a_rule_is_carried_by_words_that_its_question_does_not_contain() {
        let mut probe = constant();
        probe.kind = ProbeKind::TaughtRule;
        probe.question = "Under which tag is fault 431 in `drain` filed?".to_owned();
        probe.grader = Grader::Exact {
            accept: vec!["velmor-431".to_owned()],
        };
        assert!(carries(
            "Faults in `drain` are filed as velmor-NUMBER.",
            &probe
        ));
        assert!(!carries("Fault 431 in `drain` is filed.", &probe));
    }

    #[test]
    fn an_older_version_is_not_the_fact() {
        let mut probe = constant();
        probe.grader = Grader::Current {
            current: Some(vec!["17".to_owned()]),
            replaced: vec!["5".to_owned()],
        };
        let part = |line: &str, value: &str| Version {
            parts: vec![Part {
                evidence: vec![line.to_owned()],
                value: value.to_owned(),
            }],
        };
        probe.key.versions = vec![part("the limit is 5", "5"), part("the limit is 17", "17")];
        assert!(!carries("the limit is 5", &probe));
        assert!(carries("the limit is 5\nthe limit is 17", &probe));
    }

    #[test]
    fn the_first_sign_decides() {
        let probe = constant();
        let carrying = "+MAX_RETRIES = 17";
        let put_back = [carrying.to_owned()];
        let all = Sources {
            summary: Some(carrying),
            reinjected: &put_back,
            reread: true,
            cold_right: true,
        };
        assert_eq!(attribute(&probe, all), Attribution::Reread);
        let all = Sources {
            reread: false,
            ..all
        };
        assert_eq!(attribute(&probe, all), Attribution::Summary);
        let all = Sources {
            summary: Some("nothing"),
            ..all
        };
        assert_eq!(attribute(&probe, all), Attribution::Reinjected);
        let all = Sources {
            reinjected: &[],
            ..all
        };
        assert_eq!(attribute(&probe, all), Attribution::Guessable);
        let all = Sources {
            cold_right: false,
            ..all
        };
        assert_eq!(attribute(&probe, all), Attribution::Model);
    }
}
