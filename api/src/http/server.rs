//! Accepts connections, and limits slow clients: headers must arrive within seconds, a client that
//! reads nothing is disconnected, and the number of connections is limited.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::settings::LimitSettings;

/// Limit in bytes of unread output per connection, and of the headers of a request.
const BUFFER: usize = 32 * 1024;
/// Delay after a system error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stopping`, then lets requests end until `abort`; returns when all have.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: LimitSettings,
    stopping: CancellationToken,
    abort: CancellationToken,
) {
    let permit = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let accepting = async {
            // The semaphore is never closed. Further clients wait in the backlog of the system.
            let permit = Arc::clone(&permit).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = accepting => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("could not accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let serving = serve_connection(stream, peer, app.clone(), limits, stopping.clone());
        let abort = abort.clone();
        connections.spawn(async move {
            let _room = permit;
            tokio::select! {
                () = abort.cancelled() => {}
                () = serving => {}
            }
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    limits: LimitSettings,
    stopping: CancellationToken,
) {
    // Only makes answers wait where it fails.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stalled_client));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let app = app.clone();
        // Boxed and freed after the response. Otherwise each connection would hold this memory
        // while its client is connected.
        Box::pin(async move {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let Ok(response) = app.oneshot(request).await;
            Ok::<_, Infallible>(response)
        })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("the connection of {peer} ended: {error}");
    }
}
