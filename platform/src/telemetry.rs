//! How a log line looks.

/// How logs are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// `LOG_LEVEL`: a `tracing` filter, such as `info` or `info,worker=debug`.
    pub filter: String,
    /// `LOG_FORMAT`: `json` or `text`.
    pub json: bool,
}

/// An error and all its causes in one line; `tracing` alone drops the causes.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
