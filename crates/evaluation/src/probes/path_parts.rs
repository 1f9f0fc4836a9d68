//! Parts of paths.

/// Returns the folder of a path, with its `/`. Empty at the top.
pub(super) fn folder(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..=slash])
}

/// Returns the extension of a path, with its `.`. Empty without one.
pub(super) fn extension(path: &str) -> &str {
    let name = name(path);
    name.rfind('.')
        .filter(|&dot| dot > 0)
        .map_or("", |dot| &name[dot..])
}

pub(super) fn name(path: &str) -> &str {
    &path[folder(path).len()..]
}
