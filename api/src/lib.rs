//! The HTTP API. It creates tasks, notifies workers and serves results. It starts no process, calls
//! no model and writes no score.

pub mod settings;
pub mod state;
mod caller;
mod tenancy;
mod http;
pub mod admin;
mod auth;
mod middleware;
pub mod tasks;
mod runs;
mod leaderboards;
pub mod judgings;
mod agents;
mod events;
mod artifacts;
mod queues;
mod health;
mod home;
mod openapi;
mod router;

use std::future::Future;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use agents::registry::KnownAgent;
use settings::AuthSettings;
use state::ApiDependencies;

/// Returns the number of keys that the sign-on service publishes, as a connection check. `None` if
/// gateway tokens are not configured.
pub async fn count_sign_on_keys(settings: &AuthSettings) -> Option<Result<usize, String>> {
    auth::count_keys(settings).await
}

/// Time for open requests after a stop. A slow download cannot delay the stop any longer.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown`. Then event streams end at once, and other requests have ten seconds to
/// finish.
///
/// # Errors
/// Returns [`settings::BindError`], as [`std::io::ErrorKind::PermissionDenied`], before the first
/// request is accepted. Otherwise returns the error of the socket.
pub async fn serve(
    listener: TcpListener,
    state: ApiDependencies,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let refused = |why| std::io::Error::new(std::io::ErrorKind::PermissionDenied, why);
    state.settings.may_listen(address).map_err(refused)?;
    let stopping = CancellationToken::new();
    let _stop_on_return = stopping.clone().drop_guard();
    let limits = state.settings.limits;
    let app = router(state, stopping.clone());
    tracing::info!("listening on http://{address}");
    let abort = CancellationToken::new();
    let serving = http::server::serve(listener, app, limits, stopping.clone(), abort.clone());
    let stop = async {
        shutdown.await;
        stopping.cancel();
        tokio::time::sleep(DRAIN).await;
        tracing::warn!("aborted requests that did not finish in time");
        abort.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        () = stop => {}
    }
    Ok(())
}

/// The whole interface as a router. Streams of events end when `stopping` is cancelled.
pub fn router(state: ApiDependencies, stopping: CancellationToken) -> Router {
    router::router(state, stopping)
}
