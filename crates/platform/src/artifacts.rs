//! The artifact store: a folder or a bucket. Object keys are made from ids.
//!
//! The bytes are written before the row that references them, and the bytes of a replaced artifact are
//! removed after it. So a row always references existing bytes. A process that dies in between leaves
//! bytes without a row, which only take space.
//!
//! A write for a job has three steps around the job's own transaction: `stage_…` before it,
//! [`ArtifactStore::record`] in it (after the fence), and [`ArtifactStore::discard`] of the replaced
//! bytes after its commit. The `put_…` functions do all three.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use entity::{ArtifactId, RunId, TaskId, artifact};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutPayload};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, SqlErr, TransactionTrait as _,
};
use sha2::{Digest as _, Sha256};

use crate::database::clock;
use crate::http_client::install_tls;
use crate::redaction::Redactor;
use crate::settings::Environment;
use crate::telemetry::chain;

/// Attempts to replace an artifact that another process replaces at the same time.
const MAX_ATTEMPTS: usize = 5;
/// Longer text is redacted on a blocking thread, in bytes.
const MAX_INLINE_REDACTION: usize = 64 * 1024;

/// An artifact that could not be stored or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("could not open the artifact store {url}; check STORAGE_DIR")]
    Unusable {
        url: String,
        #[source]
        source: object_store::Error,
    },
    #[error("could not store the artifact {name:?}")]
    Put {
        name: String,
        #[source]
        source: object_store::Error,
    },
    #[error("could not fetch the artifact {key:?}")]
    Get {
        key: String,
        #[source]
        source: object_store::Error,
    },
    #[error("could not record an artifact in the database")]
    Database(#[from] DbErr),
}

/// Store of artifact bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ArtifactStore {
    objects: Arc<dyn ObjectStore>,
    redactor: Redactor,
}

/// Stored bytes that no row references yet.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "bytes that are never recorded stay in the store forever"]
pub struct Staged(artifact::Model);

/// Stored bytes that no row references any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "bytes that are never discarded stay in the store forever"]
pub struct Replaced(Option<String>);

impl ArtifactStore {
    /// Opens the store at `STORAGE_DIR`: a folder, which is created, or `s3://…` or `gs://…` with
    /// credentials from the environment. Blocking.
    pub fn open(storage: &str, redactor: Redactor) -> Result<Self, ArtifactError> {
        let unusable = |source| ArtifactError::Unusable {
            url: storage.to_owned(),
            source,
        };
        if let Some(scheme) = unsupported_scheme(storage) {
            return Err(unusable(generic(format!("unknown scheme {scheme:?}"))));
        }
        let objects: Arc<dyn ObjectStore> = if is_bucket(storage) {
            install_tls();
            let url = url::Url::parse(storage).map_err(|error| unusable(generic(error)))?;
            let (bucket, prefix) =
                object_store::parse_url_opts(&url, Environment.all()).map_err(unusable)?;
            Arc::new(PrefixStore::new(bucket, prefix))
        } else {
            let folder = folder_of(storage);
            std::fs::create_dir_all(folder).map_err(|error| unusable(generic(error)))?;
            Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(unusable)?)
        };
        Ok(Self { objects, redactor })
    }

    /// Stores redacted text and records it. Replaces an artifact of the same name.
    pub async fn put_text(
        &self,
        database: &DatabaseConnection,
        task: TaskId,
        run: Option<RunId>,
        name: &str,
        media_type: &str,
        text: &str,
    ) -> Result<artifact::Model, ArtifactError> {
        let staged = self.stage_text(task, run, name, media_type, text).await?;
        self.put(database, staged).await
    }

    /// Stores binary data, such as a checkpoint, without redaction.
    ///
    /// Only for artifacts that no client can fetch; their names begin with a dot.
    pub async fn put_private(
        &self,
        database: &DatabaseConnection,
        task: TaskId,
        run: Option<RunId>,
        name: &str,
        bytes: Bytes,
    ) -> Result<artifact::Model, ArtifactError> {
        let staged = self.stage_private(task, run, name, bytes).await?;
        self.put(database, staged).await
    }

    /// Stores redacted text without recording it.
    pub async fn stage_text(
        &self,
        task: TaskId,
        run: Option<RunId>,
        name: &str,
        media_type: &str,
        text: &str,
    ) -> Result<Staged, ArtifactError> {
        let redacted = if text.len() <= MAX_INLINE_REDACTION {
            self.redactor.redact(text).into_owned()
        } else {
            let (redactor, text) = (self.redactor.clone(), text.to_owned());
            let redacting =
                tokio::task::spawn_blocking(move || redactor.redact(&text).into_owned());
            redacting.await.map_err(|error| ArtifactError::Put {
                name: name.to_owned(),
                source: generic(error),
            })?
        };
        self.stage(task, run, name, media_type, redacted.into())
            .await
    }

    /// Stores binary data like [`ArtifactStore::put_private`], without recording it.
    pub async fn stage_private(
        &self,
        task: TaskId,
        run: Option<RunId>,
        name: &str,
        bytes: Bytes,
    ) -> Result<Staged, ArtifactError> {
        if !name.starts_with('.') {
            return Err(ArtifactError::Put {
                name: name.to_owned(),
                source: generic("the name of a private artifact begins with a dot"),
            });
        }
        self.stage(task, run, name, "application/octet-stream", bytes)
            .await
    }

    /// Stores bytes that cannot be redacted, such as compressed text. The caller has already redacted
    /// the content.
    pub async fn stage_redacted(
        &self,
        task: TaskId,
        run: Option<RunId>,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Staged, ArtifactError> {
        self.stage(task, run, name, media_type, bytes).await
    }

    async fn stage(
        &self,
        task: TaskId,
        run: Option<RunId>,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Staged, ArtifactError> {
        let put = |source| ArtifactError::Put {
            name: name.to_owned(),
            source,
        };
        let id = ArtifactId::new();
        let owner = run.map_or_else(|| "task".to_owned(), |run| run.to_string());
        let key = format!("{task}/{owner}/{id}");
        let size = i64::try_from(bytes.len()).map_err(|error| put(generic(error)))?;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        self.objects
            .put(&Key::from(key.as_str()), PutPayload::from_bytes(bytes))
            .await
            .map_err(put)?;
        Ok(Staged(artifact::Model {
            id,
            task_id: task,
            run_id: run,
            name: name.to_owned(),
            key,
            media_type: media_type.to_owned(),
            size,
            sha256,
            created_at: clock::host_now(),
        }))
    }

    async fn put(
        &self,
        database: &DatabaseConnection,
        staged: Staged,
    ) -> Result<artifact::Model, ArtifactError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let transaction = database.begin().await?;
            match self.record(&transaction, &staged).await {
                Ok((artifact, replaced)) => {
                    transaction.commit().await?;
                    self.discard(replaced).await;
                    return Ok(artifact);
                }
                Err(error) => {
                    transaction.rollback().await?;
                    let is_conflict =
                        matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)));
                    if !is_conflict || attempts == MAX_ATTEMPTS {
                        self.discard(Replaced(Some(staged.0.key))).await;
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// Records staged bytes in the caller's transaction and removes the row of an artifact of the same
    /// name. Discard the replaced bytes after the commit.
    pub async fn record(
        &self,
        transaction: &impl ConnectionTrait,
        staged: &Staged,
    ) -> Result<(artifact::Model, Replaced), DbErr> {
        let new = &staged.0;
        let delete = Query::delete()
            .from_table(artifact::Entity)
            .and_where(Expr::col(artifact::Column::TaskId).eq(new.task_id))
            .and_where(of_run(new.run_id))
            .and_where(Expr::col(artifact::Column::Name).eq(new.name.as_str()))
            .returning_col(artifact::Column::Key)
            .take();
        let replaced = match transaction.query_one(&delete).await? {
            Some(row) => Some(row.try_get_by_index(0)?),
            None => None,
        };
        let model = new.clone();
        let row = artifact::ActiveModel {
            id: Set(model.id),
            task_id: Set(model.task_id),
            run_id: Set(model.run_id),
            name: Set(model.name),
            key: Set(model.key),
            media_type: Set(model.media_type),
            size: Set(model.size),
            sha256: Set(model.sha256),
            created_at: Set(model.created_at),
        };
        artifact::Entity::insert(row)
            .exec_without_returning(transaction)
            .await?;
        Ok((new.clone(), Replaced(replaced)))
    }

    /// Removes bytes that no row references any more. A failure is only logged: the bytes take space
    /// and do no harm.
    pub async fn discard(&self, replaced: Replaced) {
        let Some(key) = replaced.0 else { return };
        if let Err(error) = self.objects.delete(&Key::from(key.as_str())).await {
            tracing::warn!(
                artifact.key = key,
                error = chain(&error),
                "could not remove the bytes of a replaced artifact"
            );
        }
    }

    /// Returns the whole content.
    pub async fn get(&self, artifact: &artifact::Model) -> Result<Bytes, ArtifactError> {
        let get = |source| ArtifactError::Get {
            key: artifact.key.clone(),
            source,
        };
        let found = self
            .objects
            .get(&Key::from(artifact.key.as_str()))
            .await
            .map_err(get)?;
        found.bytes().await.map_err(get)
    }

    /// Streams the content.
    pub async fn stream(
        &self,
        artifact: &artifact::Model,
    ) -> Result<BoxStream<'static, Result<Bytes, ArtifactError>>, ArtifactError> {
        self.pieces(artifact, GetOptions::default()).await
    }

    /// Streams a part of the content and fetches no more than that. The range must lie within the
    /// content.
    pub async fn stream_range(
        &self,
        artifact: &artifact::Model,
        range: std::ops::Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, ArtifactError>>, ArtifactError> {
        let part = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        self.pieces(artifact, part).await
    }

    async fn pieces(
        &self,
        artifact: &artifact::Model,
        options: GetOptions,
    ) -> Result<BoxStream<'static, Result<Bytes, ArtifactError>>, ArtifactError> {
        let key = artifact.key.clone();
        let get = move |source| ArtifactError::Get {
            key: key.clone(),
            source,
        };
        let found = self
            .objects
            .get_opts(&Key::from(artifact.key.as_str()), options)
            .await
            .map_err(&get)?;
        Ok(found.into_stream().map_err(get).boxed())
    }
}

/// Returns the artifacts of a task and its runs, those of the task first, ordered by name.
pub async fn list(
    database: &impl ConnectionTrait,
    task: TaskId,
) -> Result<Vec<artifact::Model>, DbErr> {
    let mut found = artifact::Entity::find()
        .filter(artifact::Column::TaskId.eq(task))
        .order_by_asc(artifact::Column::Name)
        .all(database)
        .await?;
    // Database engines sort nulls differently.
    found.sort_by_key(|artifact| artifact.run_id);
    Ok(found)
}

/// Returns the artifact with this name. Without a run, it is the task's own artifact.
pub async fn find(
    database: &impl ConnectionTrait,
    task: TaskId,
    run: Option<RunId>,
    name: &str,
) -> Result<Option<artifact::Model>, DbErr> {
    artifact::Entity::find()
        .filter(artifact::Column::TaskId.eq(task))
        .filter(of_run(run))
        .filter(artifact::Column::Name.eq(name))
        .one(database)
        .await
}

fn of_run(run: Option<RunId>) -> SimpleExpr {
    let column = Expr::col(artifact::Column::RunId);
    match run {
        Some(run) => column.eq(run),
        None => column.is_null(),
    }
}

/// Returns whether `STORAGE_DIR` is a bucket and not a folder.
pub(crate) fn is_bucket(storage: &str) -> bool {
    storage.starts_with("s3://") || storage.starts_with("gs://")
}

/// Returns the folder of `STORAGE_DIR`, if it is not a bucket.
pub(crate) fn folder_of(storage: &str) -> &Path {
    Path::new(storage.strip_prefix("file://").unwrap_or(storage))
}

/// Returns the scheme of a URL that is not supported. Treating such a URL as a folder name would hide
/// the artifacts in an unexpected place.
pub(crate) fn unsupported_scheme(storage: &str) -> Option<&str> {
    let (scheme, _) = storage.split_once("://")?;
    (!["file", "s3", "gs"].contains(&scheme)).then_some(scheme)
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic {
        store: "artifacts",
        source: source.into(),
    }
}
