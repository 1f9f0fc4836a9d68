//! The artifact store: a folder, or a bucket by URL. Names in it are made from ids.
//!
//! The bytes are written before the row that names them, and the bytes of a replaced artifact are
//! removed after it: a row always names bytes that are there. A process that dies in between
//! leaves bytes that no row names, which harm nobody.
//!
//! A write on behalf of a job is done in three steps around the job's own transaction: `stage_…`
//! before it, [`ArtifactStore::record`] in it (after the fence), [`ArtifactStore::discard`] of what
//! was replaced after its commit. The `put_…` functions do all three.

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
use crate::redaction::Redactor;
use crate::settings::Environment;
use crate::telemetry::chain;

/// How often a replacement is tried again when somebody else replaces the same artifact.
const TRIES: usize = 5;
/// Text longer than this is redacted away from the runtime's threads.
const LONG: usize = 64 * 1024;

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
pub struct ArtifactStore {
    objects: Arc<dyn ObjectStore>,
    redactor: Redactor,
}

/// Bytes that are in the store and that no row names yet.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "bytes that nothing records stay in the store for ever"]
pub struct Staged(artifact::Model);

/// Bytes that no row names any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "bytes that nothing discards stay in the store for ever"]
pub struct Replaced(Option<String>);

impl ArtifactStore {
    /// Opens the store at `STORAGE_DIR`: a folder, which is made, `s3://…` or `gs://…`, whose
    /// credentials come from the environment. Touches the disk.
    pub fn open(storage: &str, redactor: Redactor) -> Result<Self, ArtifactError> {
        let unusable = |source| ArtifactError::Unusable {
            url: storage.to_owned(),
            source,
        };
        if let Some(scheme) = foreign_scheme(storage) {
            return Err(unusable(generic(format!("{scheme:?} is no kind of store"))));
        }
        let objects: Arc<dyn ObjectStore> = if is_bucket(storage) {
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

    /// Keeps text, redacted, and records it; replaces an artifact of the same name.
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

    /// Keeps bytes that are no text (a checkpoint). Nothing is redacted: only for what no client
    /// can fetch, under a name that begins with a dot.
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

    /// Keeps text, redacted, and records nothing yet.
    pub async fn stage_text(
        &self,
        task: TaskId,
        run: Option<RunId>,
        name: &str,
        media_type: &str,
        text: &str,
    ) -> Result<Staged, ArtifactError> {
        let redacted = if text.len() <= LONG {
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

    /// Keeps bytes that are no text, as [`ArtifactStore::put_private`] does, and records nothing
    /// yet.
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

    /// Puts bytes that cannot be redacted any more, such as a compressed text: the caller has taken
    /// the secrets out of what it made them of.
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
            created_at: clock::of_this_host(),
        }))
    }

    async fn put(
        &self,
        database: &DatabaseConnection,
        staged: Staged,
    ) -> Result<artifact::Model, ArtifactError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let transaction = database.begin().await?;
            match self.record(&transaction, &staged).await {
                Ok((artifact, replaced)) => {
                    transaction.commit().await?;
                    self.discard(replaced).await;
                    return Ok(artifact);
                }
                Err(error) => {
                    transaction.rollback().await?;
                    let beaten =
                        matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)));
                    if !beaten || tries == TRIES {
                        self.discard(Replaced(Some(staged.0.key))).await;
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// Records what was staged, in the caller's transaction, and takes the artifact of the same
    /// name out of the record. Discard what was replaced after the commit.
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

    /// Removes bytes that no row names any more. Failing is no error: they only take space.
    pub async fn discard(&self, replaced: Replaced) {
        let Some(key) = replaced.0 else { return };
        if let Err(error) = self.objects.delete(&Key::from(key.as_str())).await {
            tracing::warn!(
                artifact.key = key,
                error = chain(&error),
                "a replaced artifact could not be removed"
            );
        }
    }

    /// The whole content.
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

    /// The content in pieces.
    pub async fn stream(
        &self,
        artifact: &artifact::Model,
    ) -> Result<BoxStream<'static, Result<Bytes, ArtifactError>>, ArtifactError> {
        self.pieces(artifact, GetOptions::default()).await
    }

    /// A part of the content in pieces; no more is fetched. The range lies within the content.
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

/// The artifacts of a task and of its runs, those of the task first, by name.
pub async fn list(
    database: &impl ConnectionTrait,
    task: TaskId,
) -> Result<Vec<artifact::Model>, DbErr> {
    let mut found = artifact::Entity::find()
        .filter(artifact::Column::TaskId.eq(task))
        .order_by_asc(artifact::Column::Name)
        .all(database)
        .await?;
    // Engines do not agree where nulls stand.
    found.sort_by_key(|artifact| artifact.run_id);
    Ok(found)
}

/// The artifact of this name; without a run, the task's own.
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

/// Whether `STORAGE_DIR` names a bucket and not a folder.
pub(crate) fn is_bucket(storage: &str) -> bool {
    storage.starts_with("s3://") || storage.starts_with("gs://")
}

/// The folder that `STORAGE_DIR` names, where it names one.
pub(crate) fn folder_of(storage: &str) -> &Path {
    Path::new(storage.strip_prefix("file://").unwrap_or(storage))
}

/// The scheme of an address that is none of ours. Taken for the name of a folder, what is written
/// would stay where nobody looks for it.
pub(crate) fn foreign_scheme(storage: &str) -> Option<&str> {
    let (scheme, _) = storage.split_once("://")?;
    (!["file", "s3", "gs"].contains(&scheme)).then_some(scheme)
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic {
        store: "artifacts",
        source: source.into(),
    }
}
