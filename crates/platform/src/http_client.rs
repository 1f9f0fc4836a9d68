//! HTTP clients with one TLS implementation: rustls with ring.

/// Returns a builder of HTTP clients.
///
/// The only way to build a client: reqwest panics if no TLS implementation is installed, so this
/// function installs it first.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes sure that a TLS implementation is installed"
)]
pub fn builder() -> reqwest::ClientBuilder {
    install_tls();
    reqwest::Client::builder()
}

/// Installs the TLS implementation of the process, unless one is installed already.
pub(crate) fn install_tls() {
    // An error means that another thread was faster.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_client_can_be_built() {
        assert!(super::builder().build().is_ok());
    }
}
