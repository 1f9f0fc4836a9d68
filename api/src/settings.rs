//! Settings of the API.

pub mod auth;
pub mod limits;

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use platform::settings::{Reader, without_credentials};
use url::Url;

pub use auth::AuthSettings;
pub use limits::LimitSettings;

/// The reason why the API refuses to listen at an address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Other machines could reach the address, and callers are not authenticated.
    #[error(
        "{0} is reachable from other machines, and single sign-on is off: anyone there could start \
         tasks. Listen on 127.0.0.1, enable SSO, or set ALLOW_PUBLIC_BIND=true"
    )]
    Public(SocketAddr),
    /// Single sign-on is on, and nothing proves that a request comes from the gateway.
    #[error(
        "SSO_ENABLED=true needs a proof that requests come from the gateway: set GATEWAY_SECRET, \
         TRUSTED_GATEWAYS or SSO_SERVICE_URL"
    )]
    NoProof,
}

/// Settings of the API.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// `HOST`, `127.0.0.1`.
    pub host: String,
    /// `PORT`, 8000.
    pub port: u16,
    /// `ALLOWED_ORIGINS`, comma-separated.
    pub allowed_origins: Vec<String>,
    pub auth: AuthSettings,
    pub limits: LimitSettings,
    /// `ALLOW_PUBLIC_BIND`: without single sign-on, listen on more than loopback all the same.
    pub allow_public_bind: bool,
    /// `MAX_FILES_PER_TASK`, 50: default of the option `max_files`.
    pub default_max_files: u32,
    /// `FORGE_URLS`, comma-separated; `https://github.com`.
    pub forge_urls: Vec<String>,
    /// `LOCAL_REPOSITORIES`, `:`-separated; empty: no local repositories by HTTP.
    pub local_roots: Vec<PathBuf>,
    /// `WEBHOOK_PRIVATE_ADDRESSES`: webhooks may have private addresses and no TLS.
    pub webhook_private_addresses: bool,
    /// `QUEUE_ENABLED`
    pub queue_enabled: bool,
}

impl ApiSettings {
    /// Reads the API's settings; problems are noted in `reader`.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let auth = AuthSettings::read(reader);
        let allowed_origins = read_origins(reader, auth.enabled);
        let mut forge_urls = list(reader, "FORGE_URLS", ',');
        for (number, forge) in (1..).zip(&mut forge_urls) {
            if origin(forge).is_none() {
                // Not repeated, because the usual mistake is a password in it.
                reader.refuse(
                    "FORGE_URLS",
                    format!(
                        "entry {number} is not a base URL such as https://github.com (without user name \
                             and path)"
                    ),
                );
            }
            forge.truncate(forge.trim_end_matches('/').len());
        }
        if forge_urls.is_empty() {
            forge_urls.push("https://github.com".to_owned());
        }
        let local_roots: Vec<PathBuf> = list(reader, "LOCAL_REPOSITORIES", ':')
            .into_iter()
            .map(PathBuf::from)
            .collect();
        for root in &local_roots {
            if !is_plain(root) {
                reader.refuse(
                    "LOCAL_REPOSITORIES",
                    format!("{} is not an absolute path without `..`", root.display()),
                );
            }
        }
        let default_max_files = reader.parsed("MAX_FILES_PER_TASK", 50);
        if !(1..=1000).contains(&default_max_files) {
            reader.refuse(
                "MAX_FILES_PER_TASK",
                format!("{default_max_files} is not between 1 and 1000"),
            );
        }
        Self {
            host: reader
                .text("HOST")
                .unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: reader.parsed("PORT", 8000),
            allowed_origins,
            auth,
            limits: LimitSettings::read(reader),
            webhook_private_addresses: reader.flag("WEBHOOK_PRIVATE_ADDRESSES", false),
            allow_public_bind: reader.flag("ALLOW_PUBLIC_BIND", false),
            default_max_files,
            forge_urls,
            local_roots,
            queue_enabled: reader.flag("QUEUE_ENABLED", false),
        }
    }

    /// Checks whether the API may listen at `address`.
    ///
    /// # Errors
    /// Returns [`BindError`] if other machines could send requests without authentication.
    pub fn may_listen(&self, address: SocketAddr) -> Result<(), BindError> {
        if self.auth.enabled {
            return if self.auth.has_proof() {
                Ok(())
            } else {
                Err(BindError::NoProof)
            };
        }
        if address.ip().is_loopback() || self.allow_public_bind {
            Ok(())
        } else {
            Err(BindError::Public(address))
        }
    }

    /// Returns whether a request may name the repository at `path`. Only the text is checked. The
    /// worker, which has the disk, resolves links and checks again.
    pub(crate) fn allows_local(&self, path: &Path) -> bool {
        is_plain(path) && self.local_roots.iter().any(|root| path.starts_with(root))
    }
}

/// An absolute path that climbs nowhere.
fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

/// `ALLOWED_ORIGINS`, each as browsers send it.
fn read_origins(reader: &mut Reader<'_>, single_sign_on: bool) -> Vec<String> {
    let mut origins = Vec::new();
    for text in list(reader, "ALLOWED_ORIGINS", ',') {
        if text == "*" && !single_sign_on {
            reader.refuse(
                "ALLOWED_ORIGINS",
                "* lets every web page act as the local user. List the origins, or set \
                     SSO_ENABLED=true",
            );
        } else if text == "*" {
            origins.push(text);
        } else if let Some(origin) = origin(&text) {
            origins.push(origin);
        } else {
            let shown = without_credentials(&text);
            reader.refuse(
                "ALLOWED_ORIGINS",
                format!("{shown:?} is not an origin such as http://localhost:3000"),
            );
        }
    }
    origins
}

/// Returns the origin of a URL without path, as browsers send it: lower case, encoded names, no
/// default port.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then(|| url.origin().ascii_serialization())
}

fn list(reader: &Reader<'_>, name: &'static str, separator: char) -> Vec<String> {
    reader
        .text(name)
        .unwrap_or_default()
        .split(separator)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(source: [(&str, &str); N]) -> Result<ApiSettings, String> {
        let mut reader = Reader::new(&source);
        let settings = ApiSettings::read(&mut reader);
        reader
            .finish(settings)
            .map_err(|errors| format!("{:?}", errors.0))
    }

    #[test]
    fn nothing_set_is_a_local_server() {
        let settings = read([]).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", 8000));
        assert_eq!(settings.forge_urls, ["https://github.com"]);
        assert!(settings.local_roots.is_empty());
        assert_eq!(settings.default_max_files, 50);
    }

    #[test]
    fn single_sign_on_refuses_to_start_rather_than_run_open() {
        let refused = read([("SSO_ENABLED", "true")]).unwrap_err();
        assert!(refused.contains("GATEWAY_SECRET"), "{refused}");
        for proof in [
            ("GATEWAY_SECRET", "a-secret-of-the-gateway"),
            ("TRUSTED_GATEWAYS", "10.0.0.7, fd00::/8"),
            ("SSO_SERVICE_URL", "https://sso.example.com/"),
        ] {
            let settings = read([("SSO_ENABLED", "true"), proof]).unwrap();
            assert!(settings.may_listen(([0, 0, 0, 0], 8000).into()).is_ok());
        }
    }

    #[test]
    fn a_proof_that_proves_nothing_is_refused() {
        for bad in [
            ("GATEWAY_SECRET", "short"),
            ("TRUSTED_GATEWAYS", "everybody"),
            ("SSO_SERVICE_URL", "file:///keys"),
            ("SSO_ALGORITHM", "HS256"),
            ("SSO_ALGORITHM", "none"),
            ("SSO_CLOCK_SKEW_SECONDS", "86400"),
        ] {
            let refused = read([bad]).unwrap_err();
            assert!(refused.contains(bad.0), "{bad:?}: {refused}");
        }
    }

    #[test]
    fn every_bad_setting_is_named_at_once() {
        let refused = read([
            ("PORT", "many"),
            ("ALLOWED_ORIGINS", "localhost"),
            (
                "FORGE_URLS",
                "https://github.com,https://user:quokka@github.com",
            ),
            ("LOCAL_REPOSITORIES", "/srv/../etc"),
            ("MAX_FILES_PER_TASK", "0"),
            ("SSO_SERVICE_URL", "ftp://user:quokka@sso.example.com"),
            ("GATEWAY_SECRET", "quokka"),
        ])
        .unwrap_err();
        for name in [
            "PORT",
            "ALLOWED_ORIGINS",
            "FORGE_URLS",
            "LOCAL_REPOSITORIES",
            "MAX_FILES_PER_TASK",
            "SSO_SERVICE_URL",
            "GATEWAY_SECRET",
        ] {
            assert!(refused.contains(name), "{name} is missing in {refused}");
        }
        assert!(!refused.contains("quokka"), "{refused}");
        let origin = read([("ALLOWED_ORIGINS", "https://user:quokka@example.com")]).unwrap_err();
        assert!(!origin.contains("quokka"), "{origin}");
    }

    #[test]
    fn settings_that_open_the_service_to_everyone_are_refused() {
        for net in ["0.0.0.0/0", "::/0", "10.0.0.7, 0.0.0.0/0"] {
            let refused = read([("TRUSTED_GATEWAYS", net)]).unwrap_err();
            assert!(refused.contains("TRUSTED_GATEWAYS"), "{net}: {refused}");
        }
        let refused = read([("ALLOWED_ORIGINS", "*")]).unwrap_err();
        assert!(refused.contains("SSO_ENABLED=true"), "{refused}");
        let guarded = [
            ("ALLOWED_ORIGINS", "*"),
            ("SSO_ENABLED", "true"),
            ("GATEWAY_SECRET", "a-secret-of-the-gateway"),
        ];
        assert_eq!(read(guarded).unwrap().allowed_origins, ["*"]);
    }

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        let settings = read([(
            "ALLOWED_ORIGINS",
            "HTTPS://Board.Example.com:443/, http://localhost:3000, https://b\u{fc}ro.example",
        )])
        .unwrap();
        assert_eq!(
            settings.allowed_origins,
            [
                "https://board.example.com",
                "http://localhost:3000",
                "https://xn--bro-hoa.example"
            ]
        );
    }

    #[test]
    fn a_refusal_repeats_the_value_unless_it_may_be_secret() {
        let refused = read([("MAX_BODY_BYTES", "7"), ("GATEWAY_SECRET", "quokka")]).unwrap_err();
        assert!(refused.contains("7\\\" must be from 1024"), "{refused}");
        assert!(!refused.contains("quokka"), "{refused}");
    }

    #[test]
    fn a_number_that_nothing_can_count_is_refused() {
        for (name, most) in [
            ("MAX_ACTIVE_TASKS", "1000000"),
            ("MAX_CONNECTIONS", "1000000"),
            ("MAX_BODY_BYTES", "67108864"),
            ("MAX_RUNS_PER_TASK", "100000"),
            ("RATE_LIMIT_PER_MINUTE", "1000000"),
        ] {
            read([(name, most)]).unwrap();
            let more = most.parse::<u64>().unwrap() + 1;
            let refused = read([(name, more.to_string().as_str())]).unwrap_err();
            assert!(
                refused.contains(name) && refused.contains(most),
                "{refused}"
            );
        }
        read([("MAX_ACTIVE_TASKS", "0")]).unwrap();
    }

    #[test]
    fn only_loopback_is_open_by_default() {
        let settings = read([]).unwrap();
        assert!(settings.may_listen(([127, 0, 0, 1], 8000).into()).is_ok());
        assert!(settings.may_listen(([0, 0, 0, 0], 8000).into()).is_err());
        let told = read([("ALLOW_PUBLIC_BIND", "true")]).unwrap();
        assert!(told.may_listen(([0, 0, 0, 0], 8000).into()).is_ok());
    }

    #[test]
    fn a_path_that_climbs_out_of_its_root_is_not_allowed() {
        let settings = read([("LOCAL_REPOSITORIES", "/srv/repositories")]).unwrap();
        assert!(settings.allows_local(Path::new("/srv/repositories/widgets")));
        assert!(!settings.allows_local(Path::new("/srv/repositories/../secrets")));
        assert!(!settings.allows_local(Path::new("/srv/repositories-2")));
        assert!(!settings.allows_local(Path::new("widgets")));
    }
}
