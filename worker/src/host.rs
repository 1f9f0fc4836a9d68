//! The name of this machine.

/// Returns the name of this machine, or `unknown` if it has none.
pub(crate) fn host_name() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown".to_owned())
}
