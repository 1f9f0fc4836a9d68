//! The description of the interface, and the pages that show it.

use axum::http::StatusCode;
use serde_json::Value;
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
async fn every_page_loads_nothing_from_other_hosts() {
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

/// Follows references to the schema that is meant.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(place) => resolved(document, document.pointer(&place[1..]).expect("a schema")),
        None => schema,
    }
}

/// Returns the parts of a value that violate a schema. Supports the schema features of this
/// document.
fn problems(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let schema = resolved(document, schema);
    if let Some(any) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let fits = any
            .iter()
            .any(|schema| problems(document, schema, value, place).is_empty());
        return if fits {
            Vec::new()
        } else {
            vec![format!("{place}: {value} fits nothing")]
        };
    }
    let kinds = &schema["type"];
    let one = kinds.as_str().into_iter();
    let several = kinds.as_array().into_iter().flatten();
    let kinds: Vec<&str> = one.chain(several.filter_map(Value::as_str)).collect();
    let fits = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    };
    if !kinds.is_empty() && !kinds.iter().any(fits) {
        return vec![format!("{place}: {value} is not {kinds:?}")];
    }
    let mut found = Vec::new();
    if let Value::Object(fields) = value {
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            if !fields.contains_key(name) {
                found.push(format!("{place}.{name} is missing"));
            }
        }
        for (name, value) in fields {
            let place = format!("{place}.{name}");
            let named = &schema["properties"][name];
            let other = &schema["additionalProperties"];
            if !named.is_null() {
                found.extend(problems(document, named, value, &place));
            } else if other.is_object() {
                found.extend(problems(document, other, value, &place));
            } else if !schema["properties"].is_null() {
                found.push(format!("{place} is not described"));
            }
        }
    }
    for item in value.as_array().into_iter().flatten() {
        found.extend(problems(document, &schema["items"], item, place));
    }
    found
}

#[tokio::test]
async fn every_answer_has_an_example_that_is_as_its_schema_says() {
    let database = TestDatabase::sqlite().await.unwrap();
    let document = TestApi::on(&database).get("/openapi.json").await.json();
    let mut wrong = Vec::new();
    let mut examples = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let place = format!("{method} {path} {status}");
                if response["headers"]["X-Correlation-ID"].is_null() {
                    wrong.push(format!("{place}: no header"));
                }
                for (kind, content) in response["content"].as_object().into_iter().flatten() {
                    let place = format!("{place} {kind}");
                    if content["schema"].is_null() {
                        wrong.push(format!("{place}: no schema"));
                    }
                    let bytes = ["*/*", "application/zip"];
                    if content["example"].is_null() {
                        if !bytes.contains(&kind.as_str()) {
                            wrong.push(format!("{place}: no example"));
                        }
                        continue;
                    }
                    examples += 1;
                    let example = &content["example"];
                    wrong.extend(problems(&document, &content["schema"], example, &place));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(examples > 200, "only {examples} examples");
}

#[tokio::test]
async fn all_responses_are_described_with_their_headers() {
    let database = TestDatabase::sqlite().await.unwrap();
    let document = TestApi::on(&database).get("/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = &operation["responses"];
            let of = |status: &str| &responses[status];
            assert!(of("500").is_object(), "{method} {path}");
            if path.starts_with("/api/") {
                for status in ["429", "503"] {
                    let header = &of(status)["headers"]["Retry-After"];
                    assert!(header.is_object(), "{method} {path} {status}");
                }
                let invalid = &of("422")["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(
                    invalid, "#/components/schemas/InvalidBody",
                    "{method} {path}"
                );
            }
        }
    }
    let file = &document["paths"]["/api/v1/artifacts/{task_id}/{agent}/{name}"]["get"]["responses"];
    for (status, header) in [
        ("200", "ETag"),
        ("206", "Content-Range"),
        ("416", "Content-Range"),
    ] {
        assert!(file[status]["headers"][header].is_object(), "{status}");
    }
    let created = &document["paths"]["/api/v1/tasks"]["post"]["responses"]["201"];
    assert!(created["headers"]["Idempotency-Replayed"].is_object());
    let detail = &document["components"]["schemas"]["InvalidBody"]["properties"]["detail"];
    assert_eq!(detail["items"]["$ref"], "#/components/schemas/Problem");
}
