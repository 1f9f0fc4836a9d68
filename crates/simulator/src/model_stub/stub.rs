//! A running stub.

use std::net::SocketAddr;
use std::sync::Arc;

use agents::adapter::{Endpoint, STUB_KEY};

use super::configuration::Rules;
use super::faults::Fault;
use super::recorded::Recorded;
use super::rules::Purpose;
use super::server;
use super::state::State;
use crate::loopback_server::LoopbackServer;

/// A running stub. It stops when the value is dropped.
pub struct ModelStub {
    state: Arc<State>,
    server: LoopbackServer,
}

impl ModelStub {
    /// Starts on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// Fails if no port is available.
    pub async fn start(rules: Rules) -> std::io::Result<Self> {
        Self::start_at(([127, 0, 0, 1], 0).into(), rules).await
    }

    /// Starts at an address.
    ///
    /// # Errors
    ///
    /// Fails if the address is not available.
    pub async fn start_at(address: SocketAddr, rules: Rules) -> std::io::Result<Self> {
        let key = format!("{STUB_KEY}{}", uuid::Uuid::new_v4().simple());
        let state = Arc::new(State::new(rules, key));
        let server = LoopbackServer::start_at(address, server::router(Arc::clone(&state))).await?;
        Ok(Self { state, server })
    }

    /// Returns the address, such as `http://127.0.0.1:40001`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Returns the only key that it accepts.
    pub fn key(&self) -> &str {
        &self.state.key
    }

    /// Returns address and key for an adapter.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            url: self.url(),
            key: self.state.key.clone(),
        }
    }

    /// Returns all requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.recorded().clone()
    }

    /// Returns the requests to a model so far: turns and compactions.
    pub fn model_requests(&self) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|request| matches!(request.purpose, Purpose::Turn | Purpose::Compaction));
        requests
    }

    /// Removes the recorded requests.
    pub fn clear(&self) {
        self.state.recorded().clear();
    }

    /// Makes the next `times` requests to the model fail.
    pub fn fail(&self, fault: Fault, times: usize) {
        *self.state.faults() = Some((fault, times));
    }

    /// Ends all faults.
    pub fn heal(&self) {
        *self.state.faults() = None;
    }

    /// Stops.
    pub fn stop(self) {}
}
