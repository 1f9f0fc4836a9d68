//! The HTTP interface. It starts no process, calls no model and writes no score: it stores tasks,
//! rings the bell and reads rows.

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

/// How many keys the sign-on service publishes, for whoever looks whether it can be reached; none
/// where tokens of a gateway are no proof here.
pub async fn count_sign_on_keys(settings: &AuthSettings) -> Option<Result<usize, String>> {
    auth::count_keys(settings).await
}

/// How long requests may take to end once the server is to stop: a client that reads a large file
/// slowly cannot hold it up for ever.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then lets requests end, for ten seconds at most; streams of events end
/// at once.
///
/// # Errors
/// [`settings::BindError`], as [`std::io::ErrorKind::PermissionDenied`], before the first request is
/// accepted; otherwise what the socket says.
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
    let broken_off = CancellationToken::new();
    let serving = http::server::serve(listener, app, limits, stopping.clone(), broken_off.clone());
    let stop = async {
        shutdown.await;
        stopping.cancel();
        tokio::time::sleep(DRAIN).await;
        tracing::warn!("requests that do not end are broken off");
        broken_off.cancel();
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
