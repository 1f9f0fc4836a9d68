//! An HTTP server on the loopback interface.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running server. It stops when the value is dropped.
#[derive(Debug)]
pub struct LoopbackServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl LoopbackServer {
    /// Starts on this port of 127.0.0.1. Port 0 chooses a free one.
    ///
    /// # Errors
    ///
    /// Fails if the port is not available.
    pub async fn start(port: u16, router: Router) -> std::io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), router).await
    }

    /// Starts at an address.
    ///
    /// # Errors
    ///
    /// Fails if the address is not available.
    pub async fn start_at(address: SocketAddr, router: Router) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // It fails only if the listener fails, and then every client gets an error.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }

    /// Returns the address, such as `http://127.0.0.1:40001`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
