//! A zip archive that is written while it is sent: never more of it in memory than one buffer.

use std::collections::HashSet;
use std::io;

use async_zip::base::write::ZipFileWriter;
use async_zip::{Compression, ZipDateTime, ZipEntryBuilder};
use bytes::Bytes;
use entity::artifact;
use futures::io::AsyncWriteExt;
use futures::{Stream, StreamExt};
use platform::artifacts::ArtifactStore;
use tokio::io::DuplexStream;
use tokio_util::io::ReaderStream;

/// Between the writer and the client, in bytes.
const BUFFER: usize = 64 * 1024;

/// A file of the archive.
pub(crate) struct Entry {
    /// Its path in the archive.
    pub(crate) path: String,
    pub(crate) artifact: artifact::Model,
}

/// Returns the archive as a stream. An unreadable file aborts the stream, so that no client
/// mistakes a partial archive for a complete one.
pub(crate) fn stream(
    store: ArtifactStore,
    entries: Vec<Entry>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (reader, writer) = tokio::io::duplex(BUFFER);
    async_stream::try_stream! {
        // Runs as its own task; a client that leaves closes the pipe, which ends it.
        let written = tokio::spawn(write(store, entries, writer));
        let mut pieces = ReaderStream::with_capacity(reader, BUFFER);
        while let Some(piece) = pieces.next().await {
            yield piece?;
        }
        let outcome = written.await.map_err(io::Error::other)?;
        if let Err(error) = outcome {
            tracing::error!(
                error = platform::telemetry::chain(&error),
                "could not write a bundle"
            );
            Err(io::Error::other("the bundle could not be written"))?;
        }
    }
}

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
enum ZipError {
    #[error("fetching {path:?} for a bundle")]
    Fetch {
        path: String,
        #[source]
        source: platform::artifacts::ArtifactError,
    },
    #[error("writing a bundle")]
    Write(#[source] async_zip::error::ZipError),
    #[error("sending a bundle")]
    Send(#[source] io::Error),
}

async fn write(
    store: ArtifactStore,
    entries: Vec<Entry>,
    writer: DuplexStream,
) -> Result<(), ZipError> {
    let mut archive = ZipFileWriter::with_tokio(writer);
    let mut taken = HashSet::new();
    for entry in entries {
        let path = free_path(&entry.path, &mut taken);
        let head = ZipEntryBuilder::new(path.clone().into(), Compression::Deflate)
            .last_modification_date(ZipDateTime::from_chrono(&entry.artifact.created_at))
            .unix_permissions(0o644);
        let fetching = |source| ZipError::Fetch {
            path: path.clone(),
            source,
        };
        let mut pieces = store.stream(&entry.artifact).await.map_err(fetching)?;
        let mut file = archive
            .write_entry_stream(head)
            .await
            .map_err(ZipError::Write)?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(fetching)?;
            file.write_all(&piece).await.map_err(ZipError::Send)?;
        }
        file.close().await.map_err(ZipError::Write)?;
    }
    archive.close().await.map_err(ZipError::Write)?;
    Ok(())
}

/// A path that no other file of the archive has.
fn free_path(path: &str, taken: &mut HashSet<String>) -> String {
    let mut free = path.to_owned();
    let mut count = 1;
    while !taken.insert(free.clone()) {
        count += 1;
        free = format!("{path}-{count}");
    }
    free
}

/// A name as one part of a path that no unpacking program can be led astray by.
pub(crate) fn safe_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|letter| {
            if letter.is_alphanumeric() || "-_.".contains(letter) {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let trimmed = plain.trim_start_matches('.');
    if trimmed.is_empty() {
        "unnamed".to_owned()
    } else {
        trimmed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_archive() {
        assert_eq!(safe_name("control-lossy:0.5"), "control-lossy-0.5");
        assert_eq!(safe_name("../../etc/passwd"), "-..-etc-passwd");
        assert_eq!(safe_name(".."), "unnamed");
        assert_eq!(safe_name("a\\b/c"), "a-b-c");
    }

    #[test]
    fn two_files_of_one_name_are_both_kept() {
        let mut taken = HashSet::new();
        assert_eq!(free_path("a", &mut taken), "a");
        assert_eq!(free_path("a", &mut taken), "a-2");
    }
}
