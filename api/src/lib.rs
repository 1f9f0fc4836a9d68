//! The HTTP interface. It starts no process, calls no model and writes no score: it stores tasks,
//! rings the bell and reads rows.

pub mod settings;
pub mod state;
pub mod tasks;
mod problem;
mod error;
pub mod audit;
mod room;
mod caller;
mod fields;
pub mod judging;
mod retrying;
mod ranking;
mod found;
mod task_view;
mod scope;
mod refusals;
mod auth;
mod limits;
mod totals;
mod backlog;
mod requests;
mod figures;
mod streams;
mod running;
mod identify;
mod connections;
mod request;
mod cursor;
mod dead_jobs;
mod known;
mod creation;
mod frames;
mod tail;
mod sse;
mod zip;
mod openapi;
mod routes;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use settings::AuthSettings;
use state::ApiState;

/// Why the API does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindRefused {
    /// There is no proof of who calls, and others than this machine could.
    #[error(
        "{0} can be reached from other machines and there is no single sign-on: everybody there \
         could start tasks. Listen on 127.0.0.1, or set ALLOW_PUBLIC_BIND=true"
    )]
    Public(SocketAddr),
    /// Single sign-on is asked for, and anybody could claim to be anybody.
    #[error(
        "SSO_ENABLED=true needs a proof that requests come from the gateway: set GATEWAY_SECRET, \
         TRUSTED_GATEWAYS or SSO_SERVICE_URL"
    )]
    NoProof,
}

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
/// [`BindRefused`], as [`std::io::ErrorKind::PermissionDenied`], before the first request is
/// accepted; otherwise what the socket says.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
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
    let serving = connections::serve(listener, app, limits, stopping.clone(), broken_off.clone());
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
pub fn router(state: ApiState, stopping: CancellationToken) -> Router {
    routes::router(state, stopping)
}
