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
    insta::with_settings!({sort_maps => true}, {
        insta::assert_json_snapshot!("openapi", document);
    });
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
