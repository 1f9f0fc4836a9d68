//! The platform put together from settings: what the API, a worker and the all-in-one process
//! each connect to at their start.

use std::sync::Arc;

use sea_orm::DatabaseConnection;

use crate::artifacts::ArtifactStore;
use crate::database::DatabaseSettings;
use crate::doorbell::Doorbell;
use crate::events::Waker;
use crate::jobs::ledger::LedgerSettings;
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

impl PlatformSettings {
    /// Reads the platform's settings; problems are noted in `reader`.
    pub fn read(_reader: &mut Reader<'_>) -> Self {
        Self {
            database: DatabaseSettings {
                url: String::new(),
                max_connections: 10,
            },
            redis_url: None,
            redis_prefix: "membreak".to_owned(),
            storage: "storage".to_owned(),
            ledger: LedgerSettings::default(),
            secrets: Vec::new(),
        }
    }
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
    pub async fn connect(_settings: &PlatformSettings) -> Result<Self, ConnectError> {
        Err(ConnectError {
            doing: "connecting".to_owned(),
            source: "not yet".into(),
        })
    }
}
