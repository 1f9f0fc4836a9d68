//! Redaction removes secrets and nothing else.

use platform::redaction::{REDACTED, Redactor};
use proptest::prelude::*;
use serde_json::json;

fn redacted(text: &str) -> String {
    Redactor::default().redact(text).into_owned()
}

#[test]
fn text_that_looks_like_a_key_is_removed() {
    let random = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8";
    let keys = [
        format!("sk-{random}"),
        format!("sk-ant-api03-{random}-_x"),
        format!("sk-proj-{random}"),
        format!("AIza{random}"),
        format!("ghp_{random}"),
        format!("gho_{random}"),
        format!("github_pat_{random}_x"),
        format!("glpat-{random}"),
        format!("xoxb-1234567890-{random}"),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{random}"),
    ];
    for key in keys {
        assert_eq!(redacted(&key), REDACTED, "{key}");
        assert_eq!(
            redacted(&format!("KEY=\"{key}\"\n")),
            format!("KEY=\"{REDACTED}\"\n")
        );
    }
}

#[test]
fn a_private_key_goes_whole() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n".repeat(20);
    for kind in ["", "RSA ", "EC ", "OPENSSH "] {
        let key =
            format!("-----BEGIN {kind}PRIVATE KEY-----\n{body}-----END {kind}PRIVATE KEY-----");
        assert_eq!(
            redacted(&format!("a\n{key}\nb")),
            format!("a\n{REDACTED}\nb")
        );
        let escaped = key.replace('\n', "\\n");
        assert_eq!(
            redacted(&format!("{{\"k\":\"{escaped}\"}}")),
            format!("{{\"k\":\"{REDACTED}\"}}")
        );
        let cut_off = &key[..key.len() - 40];
        assert!(!redacted(cut_off).contains("MIIEvQ"));
    }
}

#[test]
fn the_name_of_a_header_stays_and_its_value_goes() {
    for (text, expected) in [
        (
            "Authorization: Bearer abcdefgh.ijkl",
            "Authorization: Bearer [redacted]",
        ),
        (
            "{\"authorization\":\"Basic dXNlcjpwYXNzd29yZA==\"}",
            "{\"authorization\":\"Basic [redacted]\"}",
        ),
        ("x-api-key: 0123456789", "x-api-key: [redacted]"),
        (
            "curl -H 'bearer 0123456789abcdefghijklmn'",
            "curl -H 'bearer [redacted]'",
        ),
        (
            "postgres://me:s3cret@db.example/app?x=1",
            "postgres://[redacted]@db.example/app?x=1",
        ),
        (
            "git clone https://oauth2token0123456789@forge.example/a.git",
            "git clone https://[redacted]@forge.example/a.git",
        ),
    ] {
        assert_eq!(redacted(text), expected);
    }
}

#[test]
fn innocent_text_stays_as_it_is() {
    for text in [
        "",
        "the task-management-system-of-tomorrow and sk-learn-compatible-estimators",
        "https://example.com:8080/path?mail=me@example.com",
        "Authorization: Bearer ${TOKEN}",
        "the bearer of this letter",
        "see -----BEGIN CERTIFICATE-----",
        "3f786850e387550fdab836ed7e6dc881de23001b",
        "let ghp_len = 4; // AKIA",
        "git@github.com:acme/shop.git",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn a_known_secret_is_removed_in_every_encoding() {
    let redactor = Redactor::new(["p\"a s/s\\wörd".to_owned(), "short".to_owned()]);
    for (text, expected) in [
        ("x p\"a s/s\\wörd y", "x [redacted] y"),
        (r#"{"k":"p\"a s/s\\wörd"}"#, r#"{"k":"[redacted]"}"#),
        ("?k=p%22a+s%2Fs%5Cw%C3%B6rd&", "?k=[redacted]&"),
        ("a short word stays", "a short word stays"),
    ] {
        assert_eq!(redactor.redact(text), expected);
    }
    assert!(!format!("{redactor:?}").contains("rd"));
}

#[test]
fn a_secret_inside_another_leaves_no_rest() {
    let redactor = Redactor::new(["abcdefgh".to_owned(), "abcdefgh-and-more".to_owned()]);
    assert_eq!(
        redactor.redact("abcdefgh-and-more abcdefgh"),
        "[redacted] [redacted]"
    );
}

#[test]
fn json_is_redacted_in_values_and_names() {
    let redactor = Redactor::new(["correct horse".to_owned()]);
    let mut value = json!({"correct horse": [1, {"b": "my correct horse"}], "c": null});
    redactor.redact_json(&mut value);
    assert_eq!(
        value,
        json!({"[redacted]": [1, {"b": "my [redacted]"}], "c": null})
    );
}

proptest! {
    #[test]
    fn any_text_is_redacted_without_panic_and_once_is_enough(
        text in any::<String>(),
        secrets in proptest::collection::vec("\\PC{0,20}", 0..4),
    ) {
        let redactor = Redactor::new(secrets);
        let once = redactor.redact(&text).into_owned();
        prop_assert_eq!(redactor.redact(&once), once.as_str());
    }

    #[test]
    fn text_made_of_the_parts_of_keys_is_redacted_once(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("sk-".to_owned()), Just("-----BEGIN PRIVATE KEY-----".to_owned()),
                Just("-----END PRIVATE KEY-----".to_owned()), Just("https://".to_owned()),
                Just("Authorization: ".to_owned()), Just("Bearer ".to_owned()),
                Just(":".to_owned()), Just("@".to_owned()), Just("\n".to_owned()),
                Just(REDACTED.to_owned()), Just("eyJ0123456789.".to_owned()), "[a-z0-9]{1,30}",
            ],
            0..12,
        ),
    ) {
        let once = redacted(&parts.concat());
        prop_assert_eq!(redacted(&once), once.as_str());
    }

    #[test]
    fn a_known_secret_never_survives(
        secret in "[!-~]{8,40}",
        before in any::<String>(),
        after in any::<String>(),
    ) {
        prop_assume!(!REDACTED.contains(&secret));
        let redactor = Redactor::new([secret.clone()]);
        let text = format!("{before}{secret}{after}{secret}");
        prop_assert!(!redactor.redact(&text).contains(&secret));
        let mut value = json!({"k": [text]});
        redactor.redact_json(&mut value);
        let stored = value["k"][0].as_str().unwrap_or_default();
        prop_assert!(!stored.contains(&secret));
    }
}
