//! Logging to standard error. Standard output is for results.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::Reader;

/// Filter and format of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// `LOG_LEVEL`: a `tracing` filter, such as `info` or `info,worker=debug`.
    pub filter: String,
    /// `LOG_FORMAT`: `json` or `text`.
    pub json: bool,
}

impl TelemetrySettings {
    /// Reads `LOG_LEVEL` (`info`) and `LOG_FORMAT` (`text`).
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let mut filter = reader
            .text("LOG_LEVEL")
            .unwrap_or_else(|| "info".to_owned());
        if let Err(error) = EnvFilter::builder().parse(&filter) {
            reader.refuse(
                "LOG_LEVEL",
                format!("{filter:?} is not a log filter: {error}"),
            );
            filter = "info".to_owned();
        }
        let format = reader.text("LOG_FORMAT");
        let json = match format.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                reader.refuse("LOG_FORMAT", format!("{other:?} is neither text nor json"));
                false
            }
        };
        Self { filter, json }
    }
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("invalid log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    #[error("logging is already set up")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts writing the logs of this process to standard error.
///
/// # Errors
/// The filter is invalid, or logging is already set up.
pub fn init(settings: &TelemetrySettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(&settings.filter)
        .map_err(TelemetryError::Filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if settings.json {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init()
    } else {
        lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .finish()
            .try_init()
    }
    .map_err(TelemetryError::AlreadySet)
}

/// Returns an error and all its causes in one line. `tracing` alone drops the causes.
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
