//! Reads the settings of forges and local repositories.

use std::path::PathBuf;
use std::time::Duration;

use platform::settings::Reader;
use source::{ForgeSettings, is_base_url};

/// Reads [`ForgeSettings`] and records problems in `reader`.
pub(super) fn forge_settings(reader: &mut Reader<'_>) -> ForgeSettings {
    let base_urls = reader
        .list("FORGE_URLS")
        .filter(|urls| !urls.is_empty())
        .unwrap_or_else(|| vec!["https://github.com".to_owned()])
        .into_iter()
        .map(|url| url.trim_end_matches('/').to_owned())
        .collect::<Vec<_>>();
    for base_url in &base_urls {
        if !is_base_url(base_url) {
            reader.refuse(
                "FORGE_URLS",
                format!("{base_url:?} is not a base URL such as https://github.com"),
            );
        }
    }
    // Only GitHub has its API at this address.
    let default_api = (base_urls.first().map(String::as_str) == Some("https://github.com"))
        .then(|| "https://api.github.com".to_owned());
    let local_roots = reader.text("LOCAL_REPOSITORIES").unwrap_or_default();
    let local_roots: Vec<PathBuf> = local_roots
        .split(':')
        .filter(|root| !root.is_empty())
        .map(PathBuf::from)
        .collect();
    if local_roots.iter().any(|root| !root.is_absolute()) {
        reader.refuse(
            "LOCAL_REPOSITORIES",
            "must be absolute paths separated by `:`",
        );
    }
    ForgeSettings {
        base_urls,
        api_url: reader
            .text("FORGE_API_URL")
            .map(|url| url.trim_end_matches('/').to_owned())
            .or(default_api),
        token: reader
            .secret("FORGE_TOKEN")
            .or_else(|| reader.secret("GITHUB_TOKEN")),
        local_roots,
        timeout: reader.seconds("GIT_TIMEOUT_SECONDS", Duration::from_secs(600)),
        max_bytes: reader.parsed("GIT_MAX_BYTES", 4 << 30),
    }
}
