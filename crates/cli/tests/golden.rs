//! Golden documents: from a recorded database the program makes the recorded documents.
//!
//! `golden/` holds the rows of a small service (see its README), and the documents that an earlier
//! version made of them: answers of the API, output of the command line, reports. The rows are
//! loaded into each engine, the same documents are made through the public interfaces, and compared
//! as parsed documents: same keys, same figures. Texts that may be reworded are compared for presence
//! only; `golden/compare.rs` lists them, and the aliases of renamed fields.
//!
//! `GOLDEN_RECORD=1 cargo test -p cli --test golden` records all documents anew, and
//! `GOLDEN_RECORD="report --across"` those whose name starts so.

#[path = "golden/fixture.rs"]
mod fixture;
#[path = "golden/compare.rs"]
mod compare;
#[path = "golden/parse.rs"]
mod parse;
#[path = "golden/service.rs"]
mod service;
#[path = "golden/documents.rs"]
mod documents;
#[path = "golden/boards.rs"]
mod boards;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::database::{TestDatabase, on_both_engines};

use compare::differences;
use fixture::{Fixture, decompressed};
use service::Installation;

/// The documents of the recorded database.
const DATABASE: &str = "documents.json.gz";
/// The result of a small evaluation.
const SAMPLE: &str = "sample.json.gz";

/// The folder of the recordings.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Returns which documents are to be recorded: those whose name starts with `GOLDEN_RECORD`, or all of
/// them if it is `1`.
fn recorded_prefix() -> Option<String> {
    match std::env::var("GOLDEN_RECORD").ok()?.as_str() {
        "" => None,
        "1" => Some(String::new()),
        prefix => Some(prefix.to_owned()),
    }
}

/// Documents by name.
type Documents = BTreeMap<String, Value>;

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_database_gives_the_recorded_documents_on_every_engine() {
    let fixture = Fixture::read().expect("the recorded database");
    let make = async |database: &TestDatabase| -> Documents {
        let installation = Installation::new(&fixture, database).await;
        let installation = installation.expect("a loaded database");
        documents::all(&fixture, &installation)
            .await
            .expect("documents")
    };
    if let Some(prefix) = recorded_prefix() {
        let database = TestDatabase::sqlite().await.expect("a database");
        record(DATABASE, &prefix, make(&database).await);
    }
    on_both_engines(async |database| {
        let found = changes(DATABASE, &make(database).await);
        assert!(
            found.is_empty(),
            "{:?}: {}",
            database.engine(),
            found.join("\n")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_of_the_sample_gives_the_recorded_result() {
    let installation = Installation::without_database().expect("a folder");
    let made = documents::sample(&installation).await.expect("a result");
    if let Some(prefix) = recorded_prefix() {
        record(SAMPLE, &prefix, made.clone());
    }
    let found = changes(SAMPLE, &made);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Returns one line for each difference from the recorded documents.
fn changes(name: &str, made: &Documents) -> Vec<String> {
    let recorded: Documents = decompressed(name).expect("the recorded documents");
    differences(&json!(recorded), &json!(made))
}

/// Writes the documents whose name starts with `prefix`; the others stay as they were recorded.
fn record(name: &str, prefix: &str, made: Documents) {
    let mut documents = if prefix.is_empty() {
        Documents::new()
    } else {
        decompressed(name).expect("the recorded documents")
    };
    documents.retain(|name, _| !name.starts_with(prefix));
    let made = made.into_iter();
    documents.extend(made.filter(|(name, _)| name.starts_with(prefix)));
    let path = folder().join(name);
    let text = serde_json::to_string(&documents).expect("JSON");
    let file = std::fs::File::create(&path).expect("a file for the recording");
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    file.write_all(text.as_bytes())
        .expect("the recording is written");
    file.finish().expect("the recording is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn api_command_line_and_reports_print_the_same_board_over_all_tasks() {
    let fixture = Fixture::read().expect("the recorded database");
    on_both_engines(async |database| {
        let installation = Installation::of_one_organisation(&fixture, database).await;
        let installation = installation.expect("a loaded database");
        let found = boards::disagreements(&installation).await;
        let found = found.expect("the boards");
        assert!(
            found.is_empty(),
            "{:?}: the boards disagree:\n{}",
            database.engine(),
            found.join("\n")
        );
    })
    .await;
}

#[test]
fn a_changed_figure_a_missing_key_and_a_new_key_are_found_and_a_reworded_text_is_not() {
    let recorded = json!({
        "leaderboard": [{"agent": "control-perfect", "score": {"mean": 0.5, "low": null}}],
        "left_out": {"the model was a stub": 2}, "error_message": "it failed",
        "table": {"rows": [{"cells": ["control-lossy:0.5", "0.50 [0.20, 0.80]", "claimed by 3 runs"]}]},
    });
    assert!(differences(&recorded, &recorded).is_empty());
    let changed = |pointer: &str, value: Value| {
        let mut document = recorded.clone();
        *document.pointer_mut(pointer).expect("a value") = value;
        differences(&recorded, &document)
    };
    let found = changed("/leaderboard/0/score/mean", json!(0.500_000_1));
    assert_eq!(
        found,
        ["/leaderboard/0/score/mean: recorded 0.5, now 0.5000001"]
    );
    assert!(changed("/leaderboard/0/score/mean", json!(0.500_000_000_000_000_1)).is_empty());
    assert_eq!(changed("/leaderboard/0/score/low", json!(0)).len(), 1);
    assert_eq!(
        changed("/leaderboard/0/agent", json!("control-stale")).len(),
        1
    );
    assert_eq!(
        changed("/leaderboard/0/score", json!({"mean": 0.5})).len(),
        1
    );
    assert_eq!(changed("/leaderboard", json!([])).len(), 1);
    assert_eq!(
        changed("/left_out", json!({"the model was a stub": 3})).len(),
        1
    );
    assert!(changed("/left_out", json!({"asked a model stub": 2})).is_empty());
    assert!(changed("/error_message", json!("could not start")).is_empty());
    assert_eq!(changed("/error_message", Value::Null).len(), 1);
    assert_eq!(
        changed("/table/rows/0/cells/1", json!("0.51 [0.20, 0.80]")).len(),
        1
    );
    assert_eq!(
        changed("/table/rows/0/cells/0", json!("control-lossy:0.6")).len(),
        1
    );
    assert!(changed("/table/rows/0/cells/2", json!("3 runs claim it")).is_empty());
    let mut longer = recorded.clone();
    longer["note_of_yesterday"] = json!(1);
    assert_eq!(
        differences(&recorded, &longer),
        ["/note_of_yesterday: not recorded, and there now"]
    );
}
