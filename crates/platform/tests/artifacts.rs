//! The artifact store: recorded bytes exist, replaced bytes do not.

mod support;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use entity::artifact;
use futures::TryStreamExt as _;
use platform::artifacts::{ArtifactStore, find, list};
use platform::redaction::Redactor;
use sea_orm::{EntityTrait as _, PaginatorTrait as _, TransactionTrait as _};
use support::{pool, task_and_run};
use tempfile::TempDir;
use testkit::database::{TestDatabase, on_both_engines};

struct Store {
    folder: TempDir,
    store: ArtifactStore,
}

/// A store in a folder that does not exist yet.
fn store() -> Store {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("not/yet/there");
    let redactor = Redactor::new(["correct horse".to_owned()]);
    let store = ArtifactStore::open(&path.display().to_string(), redactor);
    Store {
        folder,
        store: store.expect("a folder can be made"),
    }
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn text_is_kept_without_secrets_under_a_key_made_of_ids() {
    on_both_engines(async |test: &TestDatabase| {
        let Store { folder, store } = store();
        let database = pool(test).await;
        let (task, run) = task_and_run(&database).await;
        let name = "../../etc/passwd\n";
        let kept = store
            .put_text(
                &database,
                task,
                Some(run),
                name,
                "text/plain",
                "so: correct horse",
            )
            .await
            .unwrap();
        assert_eq!(kept.key, format!("{task}/{run}/{}", kept.id));
        assert_eq!((kept.size, kept.media_type.as_str()), (14, "text/plain"));
        assert_eq!(
            kept.sha256,
            "cf48c0c22ce6a27dba6aa9271502ed03f1ea487e11bf94d87e79d1658c28ee7a"
        );
        assert_eq!(store.get(&kept).await.unwrap(), "so: [redacted]");
        let pieces: Vec<Bytes> = store
            .stream(&kept)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(pieces.concat(), b"so: [redacted]");
        assert_eq!(
            find(&database, task, Some(run), name).await.unwrap(),
            Some(kept)
        );
        assert_eq!(find(&database, task, None, name).await.unwrap(), None);
        assert_eq!(files(folder.path()).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_artifact_of_the_same_name_is_replaced() {
    on_both_engines(async |test: &TestDatabase| {
        let Store { folder, store } = store();
        let database = pool(test).await;
        let (task, run) = task_and_run(&database).await;
        for owner in [None, Some(run)] {
            for text in ["one", "two"] {
                store
                    .put_text(&database, task, owner, "report", "text/markdown", text)
                    .await
                    .unwrap();
            }
            let kept = find(&database, task, owner, "report")
                .await
                .unwrap()
                .unwrap();
            assert_eq!(store.get(&kept).await.unwrap(), "two");
        }
        assert_eq!(artifact::Entity::find().count(&database).await.unwrap(), 2);
        assert_eq!(files(folder.path()).len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_replace_an_artifact_one_remains() {
    on_both_engines(async |test: &TestDatabase| {
        let Store { folder, store } = store();
        let database = pool(test).await;
        let (task, _) = task_and_run(&database).await;
        let writers: Vec<_> = (0..4)
            .map(|number| {
                let (database, store) = (database.clone(), store.clone());
                tokio::spawn(async move {
                    let text = number.to_string();
                    store
                        .put_text(&database, task, None, "report", "text/plain", &text)
                        .await
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        let [kept] = list(&database, task).await.unwrap().try_into().unwrap();
        assert_eq!(store.get(&kept).await.unwrap().len(), 1);
        assert_eq!(files(folder.path()).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn artifacts_are_listed_by_owner_and_name() {
    on_both_engines(async |test: &TestDatabase| {
        let Store {
            folder: _folder,
            store,
        } = store();
        let database = pool(test).await;
        let (task, run) = task_and_run(&database).await;
        let (other, _) = task_and_run(&database).await;
        for (task, owner, name) in [
            (task, Some(run), "b"),
            (task, None, "c"),
            (task, Some(run), "a"),
            (other, None, "x"),
        ] {
            store
                .put_text(&database, task, owner, name, "text/plain", "")
                .await
                .unwrap();
        }
        let listed = list(&database, task).await.unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|artifact| (artifact.run_id, artifact.name.as_str()))
            .collect();
        assert_eq!(listed, [(None, "c"), (Some(run), "a"), (Some(run), "b")]);
    })
    .await;
}

#[tokio::test]
async fn private_bytes_stay_as_they_are_and_have_a_name_with_a_dot() {
    let test = TestDatabase::sqlite().await.unwrap();
    let Store {
        folder: _folder,
        store,
    } = store();
    let database = pool(&test).await;
    let (task, run) = task_and_run(&database).await;
    let bytes = Bytes::from_static(b"\xff\0correct horse");
    let kept = store
        .put_private(&database, task, Some(run), ".checkpoint", bytes.clone())
        .await
        .unwrap();
    assert_eq!(store.get(&kept).await.unwrap(), bytes);
    let refused = store
        .put_private(&database, task, Some(run), "checkpoint", bytes)
        .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn an_artifact_of_a_transaction_that_fails_replaces_nothing() {
    on_both_engines(async |test: &TestDatabase| {
        let Store { folder, store } = store();
        let database = pool(test).await;
        let (task, _) = task_and_run(&database).await;
        let before = store
            .put_text(&database, task, None, "report", "text/plain", "before")
            .await
            .unwrap();
        let staged = store
            .stage_text(task, None, "report", "text/plain", "after")
            .await
            .unwrap();

        let transaction = database.begin().await.unwrap();
        let _ = store.record(&transaction, &staged).await.unwrap();
        transaction.rollback().await.unwrap();
        let found = find(&database, task, None, "report").await.unwrap();
        assert_eq!(found.as_ref(), Some(&before));
        assert_eq!(store.get(&before).await.unwrap(), "before");

        let transaction = database.begin().await.unwrap();
        let (after, replaced) = store.record(&transaction, &staged).await.unwrap();
        transaction.commit().await.unwrap();
        store.discard(replaced).await;
        assert_eq!(store.get(&after).await.unwrap(), "after");
        assert!(store.get(&before).await.is_err());
        assert_eq!(files(folder.path()).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn long_text_is_redacted_whole() {
    let test = TestDatabase::sqlite().await.unwrap();
    let Store {
        folder: _folder,
        store,
    } = store();
    let database = pool(&test).await;
    let (task, _) = task_and_run(&database).await;
    let text = "0123456789 correct horse\n".repeat(20_000);
    let kept = store
        .put_text(&database, task, None, "transcript", "text/plain", &text)
        .await
        .unwrap();
    let read = store.get(&kept).await.unwrap();
    assert_eq!(read, "0123456789 [redacted]\n".repeat(20_000));
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let inside = file.path().join("store").display().to_string();
    for storage in [inside.as_str(), "s3://", "ftp://a/b"] {
        let opened = ArtifactStore::open(storage, Redactor::default());
        assert!(opened.is_err(), "{storage}");
    }
}
