//! Features that need no provider key: model stub, local forge, conformance suite, iFlow peer and
//! the sample pull request of the demo.

pub mod repository;
pub mod demo;
pub mod forge;
pub mod loopback_server;
pub mod model_stub;
pub mod conformance;
pub mod iflow_peer;
