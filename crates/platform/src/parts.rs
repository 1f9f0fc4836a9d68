//! The platform put together from settings: what the API, a worker and the all-in-one process
//! each connect to at their start.

use std::path::PathBuf;
use std::sync::Arc;

use sea_orm::DatabaseConnection;

use crate::artifacts::{ArtifactStore, folder_of, foreign_scheme, is_bucket};
use crate::database::{self, DatabaseSettings};
use crate::doorbell::Doorbell;
use crate::doorbell::embedded::EmbeddedDoorbell;
use crate::doorbell::redis::RedisDoorbell;
use crate::events::redis_waker::RedisWaker;
use crate::events::{LocalWaker, Waker};
use crate::jobs::ledger::LedgerSettings;
use crate::rates::SharedRates;
use crate::redaction::Redactor;
use crate::settings::{Reader, Secret};

/// What all processes of one installation must agree on.
#[derive(Clone, Debug)]
pub struct PlatformSettings {
    pub database: DatabaseSettings,
    /// `REDIS_URL`; none: the doorbell and the wake-ups stay inside the process.
    pub redis_url: Option<Secret>,
    /// `REDIS_PREFIX`, `membreak`: keeps installations on one Redis apart.
    pub redis_prefix: String,
    /// `STORAGE_DIR`: a folder, `s3://…` or `gs://…`.
    pub storage: String,
    pub ledger: LedgerSettings,
    /// Values of the settings that are secrets, for redaction.
    pub secrets: Vec<Secret>,
}

/// The settings whose values are secrets.
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

/// The settings of agents that are addresses, in which a password may stand.
const ADDRESSES: [&str; 9] = [
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

/// Whether the value of a setting must not be shown.
pub fn is_secret_setting(name: &str) -> bool {
    SECRETS.contains(&name)
}

impl PlatformSettings {
    /// Reads the platform's settings; problems are noted in `reader`.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let storage = reader.text("STORAGE_DIR");
        let home = match &storage {
            Some(folder) if !is_bucket(folder) => folder_of(folder).to_owned(),
            Some(_) | None => PathBuf::from("data"),
        };
        if storage.as_deref().and_then(foreign_scheme).is_some() {
            reader.refuse(
                "STORAGE_DIR",
                "begins with a scheme that is none of file://, s3:// and gs://, in small letters; a \
                 folder is named without one",
            );
        }
        let database = DatabaseSettings::read(reader, &home);
        let redis_url = reader.secret("REDIS_URL");
        if let Some(url) = &redis_url
            && redis::parse_redis_url(url.expose()).is_none()
        {
            reader.refuse("REDIS_URL", "is no address of a Redis (redis://host:port/)");
        }
        let redis_prefix = reader
            .text("REDIS_PREFIX")
            .unwrap_or_else(|| "membreak".to_owned());
        if redis_prefix.contains(|c: char| c.is_whitespace() || c.is_control()) {
            reader.refuse("REDIS_PREFIX", "must not contain white space");
        }
        let addresses = [
            Some(database.url.as_str()),
            redis_url.as_ref().map(Secret::expose),
        ];
        let others: Vec<String> = ADDRESSES
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
            ledger: LedgerSettings::read(reader),
            secrets,
        }
    }

    /// What takes the secrets of these settings out of text.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.secrets.iter().map(|secret| secret.expose().to_owned()))
    }
}

/// The password in an address. A plain word is none: it would be found in innocent text, and who
/// uses `postgres` as a password has no secret.
fn password(address: &str) -> Option<Secret> {
    let url = url::Url::parse(address).ok()?;
    let password = percent_decode(url.password()?);
    let is_word = password.bytes().all(|byte| byte.is_ascii_lowercase());
    (!is_word).then(|| Secret::new(password))
}

/// Turns `%41` into `A`. A password of other encodings than UTF-8 is taken as near as can be.
fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// Everything connected. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    pub database: DatabaseConnection,
    pub doorbell: Arc<dyn Doorbell>,
    pub waker: Arc<dyn Waker>,
    pub artifacts: ArtifactStore,
    pub redactor: Redactor,
    pub ledger: LedgerSettings,
    /// None without Redis: every process counts by itself.
    pub rates: Option<SharedRates>,
}

/// Why the platform could not be put together.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct ConnectError {
    /// What was being attempted: which service, at which address (without credentials).
    pub doing: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Platform {
    /// Connects to the database (and brings its schema up to date), the store, and Redis. Redis
    /// that does not answer is no error: it is tried again for ever.
    pub async fn connect(settings: &PlatformSettings) -> Result<Self, ConnectError> {
        let address = settings.database.address();
        let database = database::connect(&settings.database)
            .await
            .map_err(doing(|| format!("connecting to the database {address}")))?;
        database::migrate(&database).await.map_err(doing(|| {
            format!("bringing the schema of {address} up to date")
        }))?;
        let redactor = settings.redactor();
        let opening = || format!("opening the artifact store {}", settings.storage);
        let (storage, for_artifacts) = (settings.storage.clone(), redactor.clone());
        let artifacts =
            tokio::task::spawn_blocking(move || ArtifactStore::open(&storage, for_artifacts))
                .await
                .map_err(doing(opening))?
                .map_err(doing(opening))?;
        let (doorbell, waker) = bells(settings)?;
        Ok(Self {
            database,
            doorbell,
            waker,
            artifacts,
            redactor,
            ledger: settings.ledger,
            rates: settings
                .redis_url
                .as_ref()
                .map(|url| SharedRates::connect(url, &settings.redis_prefix))
                .transpose()
                .map_err(doing(|| "setting up the connections to Redis".to_owned()))?,
        })
    }
}

type Bells = (Arc<dyn Doorbell>, Arc<dyn Waker>);

/// The doorbell and the wake-ups: over Redis where there is one, else inside this process.
fn bells(settings: &PlatformSettings) -> Result<Bells, ConnectError> {
    let Some(url) = &settings.redis_url else {
        return Ok((
            Arc::new(EmbeddedDoorbell::new()),
            Arc::new(LocalWaker::new()),
        ));
    };
    let prefix = &settings.redis_prefix;
    let setting_up = || "setting up the connections to Redis".to_owned();
    let doorbell = RedisDoorbell::connect(url, prefix).map_err(doing(setting_up))?;
    let waker = RedisWaker::connect(url, prefix).map_err(doing(setting_up))?;
    Ok((Arc::new(doorbell), Arc::new(waker)))
}

/// Says what was being attempted.
fn doing<E>(what: impl FnOnce() -> String) -> impl FnOnce(E) -> ConnectError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |error| ConnectError {
        doing: what(),
        source: error.into(),
    }
}
