//! Forged identities and foreign resources.

use axum::http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use testkit::database::{TestDatabase, on_both_engines};

use crate::single_sign_on::{Key, SignOn, status, with_jwt};
use crate::support::{GATEWAY, SECRET, TestApi};
use crate::tenancy::nothing_leads_across;

const EVE: [(&str, &str); 5] = [
    ("x-user-id", "eve"),
    ("x-user-email", "ada@example.com"),
    ("x-org-id", "acme"),
    ("x-team-id", "red"),
    ("x-user-role", "admin"),
];

#[tokio::test]
async fn headers_without_proof_are_worth_nothing() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        for more in [
            vec![],
            vec![("x-gateway-secret", "")],
            vec![("x-gateway-secret", "wrong")],
            // A valid and an invalid value: a proxy appended its value to that of the client.
            vec![("x-gateway-secret", SECRET), ("x-gateway-secret", "wrong")],
            vec![("x-gateway-secret", "wrong"), ("x-gateway-secret", SECRET)],
            vec![("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")],
            vec![("authorization", "Bearer mbk_")],
            vec![("authorization", "Basic YWRhOmFkYQ==")],
        ] {
            let headers = [&EVE[..], &more].concat();
            assert_eq!(
                status(&api, &headers).await,
                StatusCode::UNAUTHORIZED,
                "{more:?}"
            );
        }
        let right = [&EVE[..], &[("x-gateway-secret", SECRET)]].concat();
        assert_eq!(status(&api, &right).await, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn no_token_of_the_gateway_lets_in_but_one_that_is_right_in_everything() {
    let database = TestDatabase::sqlite().await.unwrap();
    let (key, foreign) = (Key::new("a"), Key::new("a"));
    let sign_on = SignOn::start(vec![key.jwk()]).await;
    let api = sign_on.api(&database);
    let now = chrono::Utc::now().timestamp();
    let claims = sign_on.claims(&json!({}));
    let with = |change| key.sign(&sign_on.claims(&change));
    let part = |value: &serde_json::Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let none = json!({"alg": "none", "typ": "JWT", "kid": "a"});
    let unsigned = format!("{}.{}.", part(&none), part(&claims));
    let shared = EncodingKey::from_secret(key.public());
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("a".to_owned());
    let confused = encode(&header, &claims, &shared).unwrap();
    for (what, token) in [
        ("expired", with(json!({"exp": now - 3600}))),
        ("no end", with(json!({"exp": null}))),
        ("not yet", with(json!({"nbf": now + 3600}))),
        ("another audience", with(json!({"aud": "payroll"}))),
        (
            "another issuer",
            with(json!({"iss": "https://evil.example"})),
        ),
        ("another key", foreign.sign(&claims)),
        ("no algorithm", unsigned),
        ("a public key as a secret", confused),
    ] {
        assert_eq!(
            with_jwt(&api, &token, &[]).await,
            StatusCode::UNAUTHORIZED,
            "{what}"
        );
        // Nor do headers help it.
        assert_eq!(
            with_jwt(&api, &token, &EVE).await,
            StatusCode::UNAUTHORIZED,
            "{what}"
        );
    }
    assert_eq!(
        with_jwt(&api, &key.sign(&claims), &[]).await,
        StatusCode::OK
    );
}

#[tokio::test]
async fn no_route_leads_to_foreign_resources() {
    nothing_leads_across(("umbrella", Some("red")), ("acme", Some("red"))).await;
    nothing_leads_across(("acme", Some("blue")), ("acme", Some("red"))).await;
}
