//! The HTTP interface. It starts no process, calls no model and writes no score: it stores tasks,
//! rings the bell and reads rows.

pub mod settings;
pub mod state;
pub mod tasks;
mod problem;
mod error;
mod caller;
mod fields;
pub mod judging;
mod ranking;
mod scope;
mod request;
mod known;
mod creation;
mod tail;
mod sse;
mod zip;
mod openapi;
mod routes;

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::{Router, ServiceExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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
    /// Single sign-on is asked for, which this version cannot do.
    #[error("SSO_ENABLED=true: {}", settings::NO_SINGLE_SIGN_ON)]
    SingleSignOn,
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
    let app = ServiceExt::<Request>::into_make_service(router(state, stopping.clone()));
    tracing::info!("listening on http://{address}");
    let stop = stopping.clone();
    let serving = axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            shutdown.await;
            stop.cancel();
        })
        .into_future();
    let too_long = async {
        stopping.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => served,
        () = too_long => {
            tracing::warn!("requests that do not end are broken off");
            Ok(())
        }
    }
}

/// The whole interface as a router. Streams of events end when `stopping` is cancelled.
pub fn router(state: ApiState, stopping: CancellationToken) -> Router {
    routes::router(state, stopping)
}
