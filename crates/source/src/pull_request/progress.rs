//! Progress of resolving a pull request.

/// Receives progress: a stage (`resolve`, `fetch` or `diff`) and a message for people.
pub(super) type Progress<'a> = &'a (dyn Fn(&'static str, String) + Send + Sync);

/// Returns a commit id as messages show it.
pub(super) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
