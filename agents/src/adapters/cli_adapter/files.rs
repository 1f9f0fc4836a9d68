//! File operations in a session's HOME, with failures that name the path.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::fs;

use crate::failure::Failure;

/// Returns a function that turns an I/O error into a failure: `could not {action} {path}: …`.
pub(in crate::adapters) fn could_not(
    action: &str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> Failure + use<> {
    let message = format!("could not {action} {}", path.display());
    move |error| Failure::harness(format!("{message}: {error}"))
}

/// Creates a folder and its parents, unless they exist, and returns it.
pub(in crate::adapters) async fn create_folder(path: PathBuf) -> Result<PathBuf, Failure> {
    fs::create_dir_all(&path)
        .await
        .map_err(could_not("create folder", &path))?;
    Ok(path)
}

/// Reads a file.
pub(in crate::adapters) async fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).await.map_err(could_not("read", path))
}

/// Reads a file. Returns `None` if it does not exist.
pub(in crate::adapters) async fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(could_not("read", path)(error)),
    }
}

/// Writes a file, and creates its folder.
pub(in crate::adapters) async fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    create_parent(path).await?;
    fs::write(path, bytes)
        .await
        .map_err(could_not("write", path))
}

/// Renames a file, and creates the folder of its new name.
pub(in crate::adapters) async fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    create_parent(to).await?;
    fs::rename(from, to)
        .await
        .map_err(could_not("rename", from))
}

/// Removes a file.
pub(in crate::adapters) async fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path)
        .await
        .map_err(could_not("remove", path))
}

/// Removes a file if it exists.
pub(in crate::adapters) async fn remove_if_exists(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(could_not("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a folder with its contents if it exists.
pub(in crate::adapters) async fn remove_folder_if_exists(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(could_not("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns the path of a file or folder without links.
pub(in crate::adapters) async fn real_path(path: &Path) -> Result<PathBuf, Failure> {
    fs::canonicalize(path)
        .await
        .map_err(could_not("resolve", path))
}

/// Returns the paths in a folder. A folder that does not exist has none.
pub(in crate::adapters) async fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut names = match fs::read_dir(folder).await {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(could_not("read", folder)(error)),
    };
    let mut paths = Vec::new();
    while let Some(entry) = names
        .next_entry()
        .await
        .map_err(could_not("read", folder))?
    {
        paths.push(entry.path());
    }
    Ok(paths)
}

/// Returns the name of a file or folder as text. Bytes that are not UTF-8 are replaced.
pub(in crate::adapters) fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

async fn create_parent(path: &Path) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        create_folder(parent.to_owned()).await?;
    }
    Ok(())
}
