//! The artifact store: a folder, or a bucket by URL. Names in it are made from ids.

use bytes::Bytes;
use entity::{RunId, TaskId, artifact};
use futures::stream::BoxStream;
use sea_orm::{DatabaseConnection, DbErr};

/// Why an artifact could not be kept or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the artifact store at {url} cannot be used")]
    Unusable {
        url: String,
        #[source]
        source: object_store::Error,
    },
    #[error("keeping artifact {name:?}")]
    Put {
        name: String,
        #[source]
        source: object_store::Error,
    },
    #[error("fetching artifact {key:?}")]
    Get {
        key: String,
        #[source]
        source: object_store::Error,
    },
    #[error("recording an artifact")]
    Database(#[from] DbErr),
}

/// Where artifacts are kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ArtifactStore {}

impl ArtifactStore {
    /// Opens the store at `STORAGE_DIR`: a folder, `s3://…` or `gs://…`.
    pub fn open(
        _storage: &str,
        _redactor: crate::redaction::Redactor,
    ) -> Result<Self, ArtifactError> {
        Ok(Self {})
    }

    /// Keeps text, redacted, and records it; replaces an artifact of the same name.
    pub async fn put_text(
        &self,
        _database: &DatabaseConnection,
        _task: TaskId,
        _run: Option<RunId>,
        _name: &str,
        _media_type: &str,
        _text: &str,
    ) -> Result<artifact::Model, ArtifactError> {
        Err(ArtifactError::Database(DbErr::Custom("not yet".to_owned())))
    }

    /// Keeps bytes that are no text (a checkpoint). Nothing is redacted: only for what no client
    /// can fetch, under a name that begins with a dot.
    pub async fn put_private(
        &self,
        _database: &DatabaseConnection,
        _task: TaskId,
        _run: Option<RunId>,
        _name: &str,
        _bytes: Bytes,
    ) -> Result<artifact::Model, ArtifactError> {
        Err(ArtifactError::Database(DbErr::Custom("not yet".to_owned())))
    }

    /// The whole content.
    pub async fn get(&self, _artifact: &artifact::Model) -> Result<Bytes, ArtifactError> {
        Ok(Bytes::new())
    }

    /// The content in pieces.
    pub async fn stream(
        &self,
        _artifact: &artifact::Model,
    ) -> Result<BoxStream<'static, Result<Bytes, ArtifactError>>, ArtifactError> {
        Ok(Box::pin(futures::stream::empty()))
    }
}
