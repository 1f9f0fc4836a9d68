//! Facts of an invented repository, so that a battery can be run for any judge without a task.

use crate::claims::{AtomicFact, FactKind};

/// Kind, subject, value, and wrong values of the same shape.
type Row = (
    FactKind,
    &'static str,
    &'static str,
    &'static [&'static str],
);

const FACTS: [Row; 24] = [
    (FactKind::Value, "MAX_RETRIES", "17", &["5", "170", "16"]),
    (
        FactKind::Home,
        "parse_header",
        "src/wire/header.rs",
        &["src/wire/body.rs", "src/header.rs"],
    ),
    (
        FactKind::Returns,
        "open_ledger",
        "Result<Ledger, StoreError>",
        &["Option<Ledger>", "Result<Account, StoreError>"],
    ),
    (
        FactKind::Test,
        "settle_invoice",
        "settles_in_full",
        &["settles_in_part", "refuses_to_settle"],
    ),
    (
        FactKind::Value,
        "GREETING",
        "good morning",
        &["good evening", "hello"],
    ),
    (
        FactKind::Agreed,
        "the time limit of the importer",
        "90 seconds",
        &["30 seconds", "9 seconds"],
    ),
    (
        FactKind::Use,
        "round_half_up",
        "src/billing/totals.rs",
        &["src/billing/taxes.rs", "src/report/lines.rs"],
    ),
    (
        FactKind::Status,
        "docs/upgrading.md",
        "added",
        &["deleted", "renamed"],
    ),
    (FactKind::Value, "BATCH_SIZE", "250", &["25", "500"]),
    (
        FactKind::Home,
        "LedgerEntry",
        "src/store/entry.rs",
        &["src/store/ledger.rs", "src/entry.rs"],
    ),
    (FactKind::Returns, "count_open", "usize", &["u64", "i64"]),
    (
        FactKind::Test,
        "merge_accounts",
        "keeps_the_older_account",
        &["keeps_the_newer_account", "settles_in_full"],
    ),
    (
        FactKind::Agreed,
        "src/importer",
        "the storage desk",
        &["the wire desk", "the release desk"],
    ),
    (
        FactKind::Use,
        "StoreError",
        "src/api/errors.rs",
        &["src/api/routes.rs", "src/cli/main.rs"],
    ),
    (FactKind::Value, "STRICT_DATES", "true", &["false"]),
    (
        FactKind::Status,
        "src/legacy/csv.rs",
        "deleted",
        &["modified", "added"],
    ),
    (FactKind::Value, "DEFAULT_SHARE", "0.25", &["0.5", "2.5"]),
    (
        FactKind::Home,
        "due_date",
        "lib/terms.py",
        &["lib/dates.py", "lib/invoice.py"],
    ),
    (
        FactKind::Returns,
        "find_customer",
        "Optional[Customer]",
        &["Account", "List[Account]"],
    ),
    (
        FactKind::Use,
        "normalise_iban",
        "lib/payments/sepa.py",
        &["lib/payments/cards.py", "lib/terms.py"],
    ),
    (
        FactKind::Agreed,
        "the prefix of new metrics",
        "ledger_",
        &["billing_", "importer_"],
    ),
    (
        FactKind::Test,
        "without_spaces",
        "test_spaces_are_dropped",
        &["test_letters_are_kept", "test_due_on_sunday"],
    ),
    (FactKind::Value, "LOCALE", "de_AT", &["de_DE", "en_GB"]),
    (
        FactKind::Agreed,
        "the number of reviewers",
        "3",
        &["2", "4"],
    ),
];

/// Returns facts of every kind, [`FACTS_AT_ONCE`](super::super::limits::FACTS_AT_ONCE) for each of
/// three requests.
pub fn sample_facts() -> Vec<AtomicFact> {
    let numbered = FACTS.iter().enumerate();
    numbered
        .map(|(at, &(kind, subject, value, wrong))| {
            let statement = match kind {
                FactKind::Status => format!("The file `{subject}` is {value} by the change."),
                FactKind::Home => format!("`{subject}` is defined in `{value}`."),
                FactKind::Value => format!("`{subject}` has the value `{value}`."),
                FactKind::Returns => format!("`{subject}` returns `{value}`."),
                FactKind::Test => format!("`{subject}` is covered by the test `{value}`."),
                FactKind::Use => format!("`{subject}` is used in `{value}`."),
                FactKind::Agreed => {
                    format!("In the review it was agreed for `{subject}`: `{value}`.")
                }
            };
            AtomicFact {
                id: format!("F{:02}", at + 1),
                statement,
                subjects: vec![subject.to_owned()],
                values: vec![value.to_owned()],
                distractors: wrong.iter().map(|&text| text.to_owned()).collect(),
                kind,
                also_true: Vec::new(),
            }
        })
        .collect()
}
