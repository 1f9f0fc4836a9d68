//! Single sign-on: identities and proofs of a gateway.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on is a failed test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::vocabulary::TaskStatus;
use entity::TaskId;
use entity::task;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::traits::PublicKeyParts;
use sea_orm::Set;
use serde_json::{Value, json};
use std::net::SocketAddr;
use testkit::database::{TestDatabase, on_both_engines};
use tokio::net::TcpListener;

use crate::support::{GATEWAY, SECRET, TestApi, from_gateway, request};

const TASKS: &str = "/api/v1/tasks";

pub(crate) fn plain(headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = request(Method::GET, TASKS, Body::empty());
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, value.parse().expect("a header"));
    }
    request
}

pub(crate) async fn status(api: &TestApi, headers: &[(&'static str, &str)]) -> StatusCode {
    api.send(plain(headers)).await.status
}

#[tokio::test]
async fn identity_headers_without_proof_are_ignored() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let ada = [
            ("x-user-id", "ada"),
            ("x-org-id", "acme"),
            ("x-user-role", "admin"),
        ];
        assert_eq!(status(&api, &[]).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&api, &ada).await, StatusCode::UNAUTHORIZED);
        for wrong in [
            "",
            "wrong",
            "the secret of the gatewa",
            "the secret of the gateway!",
        ] {
            let headers = [&[("x-gateway-secret", wrong)], &ada[..]].concat();
            assert_eq!(
                status(&api, &headers).await,
                StatusCode::UNAUTHORIZED,
                "{wrong}"
            );
        }
        let forwarded = [
            &[
                ("x-forwarded-for", "127.0.0.1"),
                ("forwarded", "for=127.0.0.1"),
            ],
            &ada[..],
        ];
        assert_eq!(
            status(&api, &forwarded.concat()).await,
            StatusCode::UNAUTHORIZED
        );
        let right = [&[("x-gateway-secret", SECRET)], &ada[..]].concat();
        assert_eq!(status(&api, &right).await, StatusCode::OK);
        // Health needs no proof: probes have none.
        assert_eq!(api.get("/health/liveness").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn duplicate_headers_and_unknown_roles_are_refused() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let secret = ("x-gateway-secret", SECRET);
        let (user, org) = (("x-user-id", "ada"), ("x-org-id", "acme"));
        for headers in [
            vec![secret, user, org, ("x-org-id", "other")],
            vec![
                secret,
                user,
                org,
                ("x-user-role", "viewer"),
                ("x-user-role", "admin"),
            ],
            vec![secret, user, org, ("x-user-role", "root")],
            vec![secret, user],
            vec![secret, org],
            vec![secret, user, ("x-org-id", "")],
            vec![secret, user, ("x-org-id", &"x".repeat(201))],
        ] {
            let answer = api.send(plain(&headers)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{headers:?}");
            assert!(!answer.text().contains(SECRET));
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_without_a_role_cannot_change_anything() {
    on_both_engines(async |database| {
        let api = TestApi::with(database, GATEWAY);
        let body =
            json!({"pr_url": "https://github.com/acme/widgets/pull/1", "agents": ["claude"]});
        let create = |role: Option<&str>| {
            let mut request = from_gateway(
                Method::POST,
                TASKS,
                Body::from(body.to_string()),
                ("acme", None, role.unwrap_or("viewer")),
            );
            if role.is_none() {
                request.headers_mut().remove("x-user-role");
            }
            request
        };
        assert_eq!(api.send(create(None)).await.status, StatusCode::FORBIDDEN);
        assert_eq!(
            api.send(create(Some("viewer"))).await.status,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            api.send(create(Some("member"))).await.status,
            StatusCode::CREATED
        );
        assert_eq!(
            api.send(create(Some("Admin"))).await.status,
            StatusCode::CREATED
        );
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_only_gateways_call_from_is_proof_enough() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::with(
        &database,
        [("SSO_ENABLED", "true"), ("TRUSTED_GATEWAYS", "10.0.0.0/24")],
    );
    let ada = [("x-user-id", "ada"), ("x-org-id", "acme")];
    for (peer, expected) in [
        ("10.0.0.7:50000", StatusCode::OK),
        ("[::ffff:10.0.0.7]:50000", StatusCode::OK),
        ("10.0.1.7:50000", StatusCode::UNAUTHORIZED),
        ("127.0.0.1:50000", StatusCode::UNAUTHORIZED),
    ] {
        let mut asking = plain(&ada);
        let peer: SocketAddr = peer.parse().unwrap();
        asking.extensions_mut().insert(ConnectInfo(peer));
        assert_eq!(api.send(asking).await.status, expected, "{peer}");
    }
    assert_eq!(status(&api, &ada).await, StatusCode::UNAUTHORIZED);
}

/// A key of the sign-on service.
pub(crate) struct Key {
    name: &'static str,
    signing: EncodingKey,
    public: Vec<u8>,
}

impl Key {
    pub(crate) fn new(name: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        Self {
            name,
            signing: EncodingKey::from_ec_der(pkcs8.as_ref()),
            public: pair.public_key().as_ref().to_vec(),
        }
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = (&self.public[1..33], &self.public[33..]);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.name,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.name.to_owned());
        encode(&header, claims, &self.signing).unwrap()
    }
}

/// A sign-on service that publishes keys and counts how often it is asked.
pub(crate) struct SignOn {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    keys: Arc<std::sync::Mutex<Vec<Value>>>,
}

impl SignOn {
    pub(crate) async fn start(keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, keys) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(std::sync::Mutex::new(keys)),
        );
        let (counter, published) = (Arc::clone(&asked), Arc::clone(&keys));
        let app = Router::new().route(
            "/.well-known/jwks.json",
            get(async move || {
                counter.fetch_add(1, Ordering::SeqCst);
                let keys = published.lock().unwrap().clone();
                axum::Json(json!({ "keys": keys }))
            }),
        );
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            asked,
            keys,
        }
    }

    pub(crate) fn api(&self, database: &TestDatabase) -> TestApi {
        let url = format!("http://{}/", self.address);
        TestApi::with(
            database,
            [
                ("SSO_ENABLED", "true"),
                ("SSO_SERVICE_URL", &url),
                ("SSO_ALGORITHM", "ES256"),
            ],
        )
    }

    pub(crate) fn claims(&self, change: &Value) -> Value {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({"iss": format!("http://{}", self.address), "aud": "membreak",
            "exp": now + 300, "nbf": now - 10, "sub": "ada", "org_id": "acme", "role": "member"});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }
}

pub(crate) async fn with_jwt(
    api: &TestApi,
    token: &str,
    more: &[(&'static str, &str)],
) -> StatusCode {
    let headers = [&[("x-gateway-token", token)], more].concat();
    status(api, &headers).await
}

#[tokio::test]
async fn a_token_of_the_gateway_is_verified_in_every_respect() {
    let database = TestDatabase::sqlite().await.unwrap();
    let (key, foreign) = (Key::new("a"), Key::new("a"));
    let sign_on = SignOn::start(vec![key.jwk()]).await;
    let api = sign_on.api(&database);
    let good = key.sign(&sign_on.claims(&json!({})));
    assert_eq!(with_jwt(&api, &good, &[]).await, StatusCode::OK);
    let bearer = format!("bearer {good}");
    assert_eq!(
        status(&api, &[("authorization", &bearer)]).await,
        StatusCode::OK
    );
    // The headers of the gateway may repeat the token's claims, but not contradict them.
    assert_eq!(
        with_jwt(&api, &good, &[("x-org-id", "acme")]).await,
        StatusCode::OK
    );
    for spoofed in [
        ("x-org-id", "other"),
        ("x-user-id", "eve"),
        ("x-user-role", "admin"),
    ] {
        assert_eq!(
            with_jwt(&api, &good, &[spoofed]).await,
            StatusCode::UNAUTHORIZED,
            "{spoofed:?}"
        );
    }

    let now = chrono::Utc::now().timestamp();
    // Clocks may differ by a minute.
    let late = key.sign(&sign_on.claims(&json!({"exp": now - 30})));
    assert_eq!(with_jwt(&api, &late, &[]).await, StatusCode::OK);
    for (what, change) in [
        ("expired", json!({"exp": now - 120})),
        ("without an end", json!({"exp": null})),
        ("not valid yet", json!({"nbf": now + 120})),
        ("for another audience", json!({"aud": "another service"})),
        ("for no audience", json!({"aud": null})),
        ("by another issuer", json!({"iss": "https://evil.example"})),
        ("of nobody", json!({"sub": null})),
        ("of no organisation", json!({"org_id": null})),
        ("with a role that is none", json!({"role": "root"})),
    ] {
        let token = key.sign(&sign_on.claims(&change));
        assert_eq!(
            with_jwt(&api, &token, &[]).await,
            StatusCode::UNAUTHORIZED,
            "{what}"
        );
    }
    let claims = sign_on.claims(&json!({}));
    let forged = foreign.sign(&claims);
    assert_eq!(with_jwt(&api, &forged, &[]).await, StatusCode::UNAUTHORIZED);
    // The published key taken for a shared secret.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("a".to_owned());
    let shared = EncodingKey::from_secret(&key.public);
    let confused = encode(&header, &claims, &shared).unwrap();
    assert_eq!(
        with_jwt(&api, &confused, &[]).await,
        StatusCode::UNAUTHORIZED
    );
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "NONE", ""] {
        let header = part(&json!({"alg": algorithm, "typ": "JWT", "kid": "a"}));
        let unsigned = format!("{header}.{}.", part(&claims));
        assert_eq!(
            with_jwt(&api, &unsigned, &[]).await,
            StatusCode::UNAUTHORIZED,
            "{algorithm}"
        );
    }
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = head.split_once('.').unwrap();
    let swapped = format!(
        "{head}.{}.{signature}",
        part(&sign_on.claims(&json!({"role": "admin"})))
    );
    for bad in [swapped.as_str(), "a.b.c", "...", "", &"x".repeat(20_000)] {
        assert_eq!(with_jwt(&api, bad, &[]).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_invented_names_cost_nothing() {
    let database = TestDatabase::sqlite().await.unwrap();
    let key = Key::new("a");
    let sign_on = SignOn::start(vec![key.jwk()]).await;
    let api = sign_on.api(&database);
    let good = key.sign(&sign_on.claims(&json!({})));
    for _ in 0..5 {
        assert_eq!(with_jwt(&api, &good, &[]).await, StatusCode::OK);
    }
    assert_eq!(sign_on.asked.load(Ordering::SeqCst), 1);
    for name in ["b", "c", "../../etc/passwd", ""] {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(name.to_owned());
        let token = encode(&header, &sign_on.claims(&json!({})), &key.signing).unwrap();
        assert_eq!(
            with_jwt(&api, &token, &[]).await,
            StatusCode::UNAUTHORIZED,
            "{name}"
        );
    }
    assert_eq!(sign_on.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_sign_on_service_that_does_not_answer_is_no_way_in() {
    let database = TestDatabase::sqlite().await.unwrap();
    let key = Key::new("a");
    let sign_on = SignOn::start(Vec::new()).await;
    let api = sign_on.api(&database);
    let token = key.sign(&sign_on.claims(&json!({})));
    let answer = api.send(plain(&[("x-gateway-token", &token)])).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").is_some());
    sign_on.keys.lock().unwrap().push(key.jwk());
    // Keys are fetched again only after a pause. Until then the token cannot be verified.
    assert_eq!(
        with_jwt(&api, &token, &[]).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn with_a_token_as_the_only_proof_only_its_claims_count() {
    let database = TestDatabase::sqlite().await.unwrap();
    let key = Key::new("a");
    let sign_on = SignOn::start(vec![key.jwk()]).await;
    let api = sign_on.api(&database);
    let without = |name: &str| key.sign(&sign_on.claims(&json!({ name: null })));
    let victim = [
        ("x-user-id", "eve"),
        ("x-org-id", "victim"),
        ("x-user-role", "admin"),
    ];
    for (name, header) in [
        ("org_id", ("x-org-id", "victim")),
        ("sub", ("x-user-id", "eve")),
        ("role", ("x-user-role", "admin")),
    ] {
        let token = without(name);
        assert_eq!(
            with_jwt(&api, &token, &[header]).await,
            StatusCode::UNAUTHORIZED,
            "{name}"
        );
        assert_eq!(
            with_jwt(&api, &token, &victim).await,
            StatusCode::UNAUTHORIZED,
            "{name}"
        );
    }
    // Without a role it may read, and nothing else.
    let token = without("role");
    assert_eq!(with_jwt(&api, &token, &[]).await, StatusCode::OK);
    assert_eq!(
        with_jwt(&api, &token, &[("x-user-role", "viewer")]).await,
        StatusCode::OK
    );
    let mut creating = request(Method::POST, TASKS, Body::from("{}"));
    let headers = creating.headers_mut();
    headers.insert("x-gateway-token", token.parse().unwrap());
    assert_eq!(api.send(creating).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_team_that_only_a_header_names_takes_away_and_adds_nothing() {
    let database = TestDatabase::sqlite().await.unwrap();
    let key = Key::new("a");
    let sign_on = SignOn::start(vec![key.jwk()]).await;
    let api = sign_on.api(&database);
    let rows = api.rows();
    for team in [None, Some("red"), Some("blue")] {
        let task = TaskId::new();
        rows.task_of("acme", task, TaskStatus::Done, &["claude"])
            .await;
        let change = task::ActiveModel {
            team_id: Set(team.map(str::to_owned)),
            ..Default::default()
        };
        rows.change(task, change).await;
    }
    let seen = async |token: &str, team: Option<&str>| {
        let headers = team.map(|team| ("x-team-id", team));
        let headers = [Some(("x-gateway-token", token)), headers];
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        let answer = api.send(plain(&headers)).await;
        (answer.status.as_u16(), answer.json()["total"].as_u64())
    };
    let whole = key.sign(&sign_on.claims(&json!({})));
    assert_eq!(seen(&whole, None).await, (200, Some(3)));
    assert_eq!(seen(&whole, Some("red")).await, (200, Some(1)));
    let red = key.sign(&sign_on.claims(&json!({"team_id": "red"})));
    assert_eq!(seen(&red, None).await, (200, Some(1)));
    assert_eq!(seen(&red, Some("red")).await, (200, Some(1)));
    assert_eq!(seen(&red, Some("blue")).await.0, 401);
}

#[tokio::test]
async fn of_two_proofs_both_must_be_right() {
    let database = TestDatabase::sqlite().await.unwrap();
    let (key, foreign) = (Key::new("a"), Key::new("a"));
    let sign_on = SignOn::start(vec![key.jwk()]).await;
    let url = format!("http://{}", sign_on.address);
    let settings = [
        GATEWAY[0],
        GATEWAY[1],
        ("SSO_SERVICE_URL", url.as_str()),
        ("SSO_ALGORITHM", "ES256"),
    ];
    let api = TestApi::with(&database, settings);
    let secret = ("x-gateway-secret", SECRET);
    let who = [("x-user-id", "ada"), ("x-org-id", "acme")];
    let (good, bad) = (
        key.sign(&sign_on.claims(&json!({}))),
        foreign.sign(&sign_on.claims(&json!({}))),
    );
    for (headers, expected) in [
        (vec![secret, ("x-gateway-token", &bad)], 401),
        (vec![secret, ("x-gateway-token", "nonsense")], 401),
        (
            vec![("x-gateway-secret", "wrong"), ("x-gateway-token", &good)],
            401,
        ),
        (vec![secret, ("x-gateway-token", &good)], 200),
        (vec![secret], 200),
        (vec![("x-gateway-token", &good)], 200),
    ] {
        let headers = [&headers[..], &who].concat();
        let answer = status(&api, &headers).await;
        assert_eq!(answer.as_u16(), expected, "{headers:?}");
    }
    // The secret proves the headers, which may then supply missing claims.
    let no_role = key.sign(&sign_on.claims(&json!({"role": null})));
    let token = ("x-gateway-token", no_role.as_str());
    let admin = ("x-user-role", "admin");
    assert_eq!(status(&api, &[secret, token, admin]).await, StatusCode::OK);
    assert_eq!(
        status(&api, &[token, admin]).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn rs256_is_the_default_algorithm() {
    let database = TestDatabase::sqlite().await.unwrap();
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    let signing = EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes());
    let jwk = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa",
        "n": URL_SAFE_NO_PAD.encode(key.n().to_bytes_be()), "e": "AQAB"});
    let other = Key::new("ec");
    let sign_on = SignOn::start(vec![jwk, other.jwk()]).await;
    let url = format!("http://{}/", sign_on.address);
    let api = TestApi::with(
        &database,
        [("SSO_ENABLED", "true"), ("SSO_SERVICE_URL", &url)],
    );
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("rsa".to_owned());
    let good = encode(&header, &sign_on.claims(&json!({})), &signing).unwrap();
    assert_eq!(with_jwt(&api, &good, &[]).await, StatusCode::OK);
    // Signed well, by a key that is published, and in another way.
    let elliptic = other.sign(&sign_on.claims(&json!({})));
    assert_eq!(
        with_jwt(&api, &elliptic, &[]).await,
        StatusCode::UNAUTHORIZED
    );
    header.alg = Algorithm::RS512;
    let other = encode(&header, &sign_on.claims(&json!({})), &signing).unwrap();
    assert_eq!(with_jwt(&api, &other, &[]).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_key_that_comes_new_is_taken_after_the_pause() {
    let database = TestDatabase::sqlite().await.unwrap();
    let (old, new) = (Key::new("old"), Key::new("new"));
    let sign_on = SignOn::start(vec![old.jwk()]).await;
    let api = sign_on.api(&database);
    let of = |key: &Key| key.sign(&sign_on.claims(&json!({})));
    assert_eq!(with_jwt(&api, &of(&old), &[]).await, StatusCode::OK);
    *sign_on.keys.lock().unwrap() = vec![new.jwk()];
    let token = of(&new);
    let taken = async {
        while with_jwt(&api, &token, &[]).await != StatusCode::OK {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), taken)
        .await
        .expect("keys are fetched again within the pause");
    assert_eq!(sign_on.asked.load(Ordering::SeqCst), 2);
    // A withdrawn key is no longer valid.
    assert_eq!(
        with_jwt(&api, &of(&old), &[]).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn proofs_beside_an_api_token_must_be_valid() {
    let database = TestDatabase::sqlite().await.unwrap();
    let (key, foreign) = (Key::new("a"), Key::new("a"));
    let sign_on = SignOn::start(vec![key.jwk()]).await;
    let url = format!("http://{}", sign_on.address);
    let settings = [
        GATEWAY[0],
        GATEWAY[1],
        ("SSO_SERVICE_URL", url.as_str()),
        ("SSO_ALGORITHM", "ES256"),
    ];
    let api = TestApi::with(&database, settings);
    let body = Body::from(json!({"name": "nightly"}).to_string());
    let who = ("acme", None, "admin");
    let made = api
        .send(from_gateway(Method::POST, "/api/v1/tokens", body, who))
        .await;
    let bearer = format!("Bearer {}", made.json()["token"].as_str().unwrap());
    let ours = ("authorization", bearer.as_str());
    let (good, bad) = (
        key.sign(&sign_on.claims(&json!({}))),
        foreign.sign(&sign_on.claims(&json!({}))),
    );
    for (headers, expected) in [
        (vec![ours], 200),
        (vec![ours, ("x-gateway-secret", SECRET)], 200),
        (vec![ours, ("x-gateway-secret", "wrong")], 401),
        (vec![ours, ("x-gateway-token", &good)], 200),
        (vec![ours, ("x-gateway-token", &bad)], 401),
    ] {
        let answer = status(&api, &headers).await;
        assert_eq!(answer.as_u16(), expected, "{headers:?}");
    }
    // Without single sign-on there is no gateway to be proved.
    let alone = TestApi::with(&database, [("GATEWAY_SECRET", SECRET)]);
    let headers = [ours, ("x-gateway-secret", "wrong")];
    assert_eq!(status(&alone, &headers).await, StatusCode::OK);
}
