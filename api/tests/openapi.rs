//! The description of the interface, and the pages that show it.

use axum::http::StatusCode;
use testkit::database::TestDatabase;

use crate::support::TestApi;

#[tokio::test]
async fn the_document_changes_only_on_purpose() {
    let database = TestDatabase::sqlite().await.unwrap();
    let mut document = TestApi::on(&database).get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    document["info"]["version"] = "[version]".into();
    // Maps are in order or not, by a feature that any crate may turn on.
    document.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&document).unwrap();
    text.push('\n');
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed == text,
        "docs/openapi.json is not what the code says: run \
         `UPDATE_OPENAPI=1 cargo test -p api --test api openapi`, and look at the difference"
    );
}

#[tokio::test]
async fn every_page_brings_what_it_needs_with_it() {
    let database = TestDatabase::sqlite().await.unwrap();
    let api = TestApi::on(&database);
    let redoc = api.get("/redoc").await;
    assert_eq!(redoc.status, StatusCode::OK);
    assert!(
        redoc.bytes.len() > 500_000,
        "the program is part of the page"
    );
    let docs = api.get("/docs/").await;
    assert_eq!(docs.status, StatusCode::OK);
    for page in [&redoc, &docs, &api.get("/").await] {
        let page = page.text();
        for loaded in [
            "<script src=\"http",
            "<script src='http",
            "<link href=\"http",
        ] {
            assert!(!page.contains(loaded), "{loaded}");
        }
    }
    for path in ["/redoc", "/docs/"] {
        let answer = api.get(path).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'"), "{policy}");
    }
    let program = api.get("/docs/swagger-ui-bundle.js").await;
    assert_eq!(program.status, StatusCode::OK);
    assert!(program.bytes.len() > 500_000);
    let set_up = api.get("/docs/swagger-initializer.js").await.text();
    assert!(set_up.contains("/openapi.json"), "{set_up}");
    assert!(set_up.contains(r#""validatorUrl": "none""#), "{set_up}");
    let moved = api.get("/docs").await;
    assert!(moved.status.is_redirection());
    assert_eq!(moved.header("location"), Some("/docs/"));
}
