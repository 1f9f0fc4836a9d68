//! Connections that the API, a worker and the all-in-one process make at their start.

use std::path::PathBuf;
use std::sync::Arc;

use sea_orm::DatabaseConnection;

use crate::artifacts::{ArtifactStore, folder_of, is_bucket, unsupported_scheme};
use crate::database::{self, DatabaseSettings};
use crate::features::without;
use crate::notify::local::{LocalEventNotifier, LocalNotifier};
#[cfg(feature = "redis")]
use crate::notify::redis::RedisNotifier;
#[cfg(feature = "redis")]
use crate::notify::redis_events::RedisEventNotifier;
use crate::notify::{EventNotifier, Notifier};
use crate::queue::QueueSettings;
use crate::rate_limit::SharedRateLimit;
use crate::redaction::Redactor;
use crate::settings::{ExposeSecret, Reader, SecretString};

/// Settings that all processes of one installation share.
#[derive(Clone, Debug)]
pub struct PlatformSettings {
    pub database: DatabaseSettings,
    /// `REDIS_URL`. Without it notifications stay inside the process.
    pub redis_url: Option<SecretString>,
    /// `REDIS_PREFIX`, `membreak`: separates installations that share one Redis.
    pub redis_prefix: String,
    /// `STORAGE_DIR`: a folder, `s3://…` or `gs://…`.
    pub storage: String,
    pub queue: QueueSettings,
    /// Secret values, for redaction.
    pub secrets: Vec<SecretString>,
}

/// Settings whose values are secrets.
const SECRETS: [&str; 12] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "OPENAI_API_KEY",
    "IFLOW_API_KEY",
    "FORGE_TOKEN",
    "GITHUB_TOKEN",
    "JUDGE_OPENAI_API_KEY",
    "JUDGE_ANTHROPIC_API_KEY",
    "JUDGE_GEMINI_API_KEY",
    "GATEWAY_SECRET",
];

/// Settings that are URLs and may contain a password.
const URL_SETTINGS: [&str; 9] = [
    "ANTHROPIC_BASE_URL",
    "GOOGLE_GEMINI_BASE_URL",
    "OPENAI_BASE_URL",
    "IFLOW_BASE_URL",
    "JUDGE_OPENAI_BASE_URL",
    "JUDGE_ANTHROPIC_BASE_URL",
    "JUDGE_GEMINI_BASE_URL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
];

/// Returns whether the value of a setting must not be shown.
pub fn is_secret_setting(name: &str) -> bool {
    SECRETS.contains(&name)
}

impl PlatformSettings {
    /// Reads the settings. Problems are collected in `reader`.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let storage = reader.text("STORAGE_DIR");
        let home = match &storage {
            Some(folder) if !is_bucket(folder) => folder_of(folder).to_owned(),
            Some(_) | None => PathBuf::from("data"),
        };
        if storage.as_deref().and_then(unsupported_scheme).is_some() {
            reader.refuse(
                "STORAGE_DIR",
                "has an unknown scheme; use a folder without a scheme, file://, s3:// or gs:// (lower \
                 case)",
            );
        }
        if storage.as_deref().is_some_and(is_bucket) && !cfg!(feature = "cloud-storage") {
            reader.refuse("STORAGE_DIR", without("cloud storage"));
        }
        let database = DatabaseSettings::read(reader, &home);
        let redis_url = reader.secret("REDIS_URL");
        match &redis_url {
            Some(url) if !is_redis_url(url.expose_secret()) => {
                reader.refuse("REDIS_URL", "is not a Redis URL (redis://host:port/)");
            }
            Some(_) if !cfg!(feature = "redis") => reader.refuse("REDIS_URL", without("Redis")),
            Some(_) | None => {}
        }
        let redis_prefix = reader
            .text("REDIS_PREFIX")
            .unwrap_or_else(|| "membreak".to_owned());
        if redis_prefix.contains(|c: char| c.is_whitespace() || c.is_control()) {
            reader.refuse("REDIS_PREFIX", "must not contain white space");
        }
        let addresses = [
            Some(database.url.as_str()),
            redis_url.as_ref().map(ExposeSecret::expose_secret),
        ];
        let others: Vec<String> = URL_SETTINGS
            .iter()
            .filter_map(|name| reader.text(name))
            .collect();
        let addresses = addresses.into_iter().flatten();
        let addresses = addresses.chain(others.iter().map(String::as_str));
        let secrets = SECRETS
            .iter()
            .filter_map(|name| reader.secret(name))
            .chain(addresses.filter_map(password))
            .collect();
        Self {
            database,
            redis_url,
            redis_prefix,
            storage: storage.unwrap_or_else(|| "storage".to_owned()),
            queue: QueueSettings::read(reader),
            secrets,
        }
    }

    /// Returns a redactor for the secrets of these settings.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(
            self.secrets
                .iter()
                .map(|secret| secret.expose_secret().to_owned()),
        )
    }
}

/// Returns the password in a URL. A plain word such as `postgres` does not count: it also occurs in
/// harmless text.
fn password(address: &str) -> Option<SecretString> {
    let url = url::Url::parse(address).ok()?;
    let password = percent_decode(url.password()?);
    let is_word = password.bytes().all(|byte| byte.is_ascii_lowercase());
    (!is_word).then(|| SecretString::from(password))
}

/// Returns whether a text is a URL of a scheme that Redis clients understand.
fn is_redis_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        ["redis", "rediss", "valkey", "valkeys", "redis+unix", "unix"].contains(&url.scheme())
    })
}

/// Decodes `%41` to `A`. Bytes that are not UTF-8 are replaced.
fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// The connections of a process. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    pub database: DatabaseConnection,
    pub notifier: Arc<dyn Notifier>,
    pub event_notifier: Arc<dyn EventNotifier>,
    pub artifacts: ArtifactStore,
    pub redactor: Redactor,
    pub queue: QueueSettings,
    /// `None` without Redis: every process counts by itself.
    pub rate_limit: Option<SharedRateLimit>,
}

/// A connection that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed")]
pub struct ConnectError {
    /// The operation that was attempted: the service and its address, without credentials.
    pub operation: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Platform {
    /// Connects to the database, migrates its schema, and connects to the artifact store and Redis.
    ///
    /// An unreachable Redis is no error: the connection is retried forever.
    pub async fn connect(settings: &PlatformSettings) -> Result<Self, ConnectError> {
        let address = settings.database.address();
        let database = database::connect(&settings.database)
            .await
            .map_err(during(|| format!("connecting to the database {address}")))?;
        database::migrate(&database)
            .await
            .map_err(during(|| format!("migrating the schema of {address}")))?;
        let redactor = settings.redactor();
        let opening = || format!("opening the artifact store {}", settings.storage);
        let (storage, for_artifacts) = (settings.storage.clone(), redactor.clone());
        let artifacts =
            tokio::task::spawn_blocking(move || ArtifactStore::open(&storage, for_artifacts))
                .await
                .map_err(during(opening))?
                .map_err(during(opening))?;
        let (notifier, event_notifier) = notifiers(settings)?;
        Ok(Self {
            database,
            notifier,
            event_notifier,
            artifacts,
            redactor,
            queue: settings.queue,
            rate_limit: shared_rate_limit(settings)?,
        })
    }
}

type Notifiers = (Arc<dyn Notifier>, Arc<dyn EventNotifier>);

/// Returns the notifiers: through Redis if it is configured, otherwise inside this process.
fn notifiers(settings: &PlatformSettings) -> Result<Notifiers, ConnectError> {
    match &settings.redis_url {
        Some(url) => redis_notifiers(url, &settings.redis_prefix),
        None => Ok((
            Arc::new(LocalNotifier::new()),
            Arc::new(LocalEventNotifier::new()),
        )),
    }
}

#[cfg(feature = "redis")]
fn redis_notifiers(url: &SecretString, prefix: &str) -> Result<Notifiers, ConnectError> {
    let setting_up = || "setting up the connections to Redis".to_owned();
    let notifier = RedisNotifier::connect(url, prefix).map_err(during(setting_up))?;
    let event_notifier = RedisEventNotifier::connect(url, prefix).map_err(during(setting_up))?;
    Ok((Arc::new(notifier), Arc::new(event_notifier)))
}

#[cfg(not(feature = "redis"))]
fn redis_notifiers(_: &SecretString, _: &str) -> Result<Notifiers, ConnectError> {
    Err(ConnectError {
        operation: "connecting to Redis".to_owned(),
        source: without("Redis").into(),
    })
}

#[cfg(feature = "redis")]
fn shared_rate_limit(settings: &PlatformSettings) -> Result<Option<SharedRateLimit>, ConnectError> {
    settings
        .redis_url
        .as_ref()
        .map(|url| SharedRateLimit::connect(url, &settings.redis_prefix))
        .transpose()
        .map_err(during(|| "setting up the connections to Redis".to_owned()))
}

#[cfg(not(feature = "redis"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of the function with Redis"
)]
fn shared_rate_limit(_: &PlatformSettings) -> Result<Option<SharedRateLimit>, ConnectError> {
    Ok(None)
}

/// Checks that Redis answers.
///
/// # Errors
/// The URL is malformed, Redis does not answer, or this program was built without Redis.
pub async fn check_redis(url: &SecretString, prefix: &str) -> Result<(), ConnectError> {
    let (notifier, _) = redis_notifiers(url, prefix)?;
    notifier
        .healthy()
        .await
        .map_err(during(|| "connecting to Redis".to_owned()))
}

/// Returns a function that adds the attempted operation to an error.
fn during<E>(operation: impl FnOnce() -> String) -> impl FnOnce(E) -> ConnectError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |error| ConnectError {
        operation: operation(),
        source: error.into(),
    }
}
