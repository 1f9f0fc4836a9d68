//! Settings of authentication.

use std::net::IpAddr;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use platform::settings::{ExposeSecret, Reader, SecretString};
use url::Url;

/// Shorter secrets could be guessed.
const SHORTEST_SECRET: usize = 16;

/// Single sign-on: a gateway in front of the service authenticates callers and proves its identity.
/// At least one kind of proof must be configured.
#[derive(Clone, Debug, Default)]
pub struct AuthSettings {
    /// `SSO_ENABLED`.
    pub enabled: bool,
    /// `GATEWAY_SECRET`: value of the header `X-Gateway-Secret`.
    pub gateway_secret: Option<SecretString>,
    /// `TRUSTED_GATEWAYS`: addresses and networks that only gateways call from.
    pub trusted_gateways: Vec<IpNet>,
    /// Where the keys of the gateway's tokens are.
    pub jwt: Option<JwtSettings>,
}

/// Requirements for tokens of the gateway.
#[derive(Clone, Debug)]
pub struct JwtSettings {
    /// `SSO_SERVICE_URL` followed by `.well-known/jwks.json`.
    pub keys_url: Url,
    /// `SSO_ISSUER`; `SSO_SERVICE_URL` where it is not set.
    pub issuer: String,
    /// `SSO_AUDIENCE`, `membreak`.
    pub audience: String,
    /// `SSO_ALGORITHM`, RS256. The only accepted algorithm, regardless of the token's header.
    pub algorithm: Algorithm,
    /// `SSO_CLOCK_SKEW_SECONDS`, 60: accepted difference between clocks.
    pub leeway_seconds: u64,
}

impl AuthSettings {
    /// Reads the settings and reports problems to `reader`.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let gateway_secret = reader.secret("GATEWAY_SECRET");
        if gateway_secret
            .as_ref()
            .is_some_and(|secret| secret.expose_secret().len() < SHORTEST_SECRET)
        {
            reader.refuse(
                "GATEWAY_SECRET",
                format!("is shorter than {SHORTEST_SECRET} characters"),
            );
        }
        let mut trusted_gateways = Vec::new();
        for text in reader.list("TRUSTED_GATEWAYS").unwrap_or_default() {
            let net: Result<IpNet, _> = text
                .parse()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            match net {
                Ok(net) if net.prefix_len() == 0 => reader.refuse(
                    "TRUSTED_GATEWAYS",
                    format!("{text:?} contains every address and proves nothing"),
                ),
                Ok(net) => trusted_gateways.push(net),
                Err(_) => reader.refuse(
                    "TRUSTED_GATEWAYS",
                    format!("{text:?} is not an address or a network such as 10.0.0.0/24"),
                ),
            }
        }
        let settings = Self {
            enabled: reader.flag("SSO_ENABLED", false),
            gateway_secret,
            trusted_gateways,
            jwt: JwtSettings::read(reader),
        };
        if settings.enabled && !settings.has_proof() {
            reader.refuse(
                "SSO_ENABLED",
                "needs a proof that requests come from the gateway: set GATEWAY_SECRET, \
                 TRUSTED_GATEWAYS or SSO_SERVICE_URL",
            );
        }
        settings
    }

    /// Returns whether any proof of the gateway is configured.
    pub(crate) fn has_proof(&self) -> bool {
        self.gateway_secret.is_some() || !self.trusted_gateways.is_empty() || self.jwt.is_some()
    }
}

impl JwtSettings {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let issuer = reader.text("SSO_ISSUER");
        let audience = reader.text("SSO_AUDIENCE");
        let leeway_seconds = reader.parsed("SSO_CLOCK_SKEW_SECONDS", 60);
        if leeway_seconds > 600 {
            reader.refuse("SSO_CLOCK_SKEW_SECONDS", "must be at most 600");
        }
        let word = reader
            .text("SSO_ALGORITHM")
            .unwrap_or_else(|| "RS256".to_owned());
        let algorithm = match word.as_str() {
            "RS256" => Algorithm::RS256,
            "RS384" => Algorithm::RS384,
            "RS512" => Algorithm::RS512,
            "PS256" => Algorithm::PS256,
            "ES256" => Algorithm::ES256,
            "ES384" => Algorithm::ES384,
            "EdDSA" => Algorithm::EdDSA,
            other => {
                reader.refuse(
                    "SSO_ALGORITHM",
                    format!(
                        "{other:?} is not one of RS256, RS384, RS512, PS256, ES256, ES384, EdDSA. \
                             Shared keys are not supported, because every verifier could create tokens"
                    ),
                );
                Algorithm::RS256
            }
        };
        let base = reader.text("SSO_SERVICE_URL")?;
        let base = base.trim_end_matches('/');
        let keys = Url::parse(&format!("{base}/.well-known/jwks.json"));
        let keys_url = match keys {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url,
            Ok(_) | Err(_) => {
                reader.refuse(
                    "SSO_SERVICE_URL",
                    "is not a base URL such as https://sso.example.com",
                );
                return None;
            }
        };
        Some(Self {
            keys_url,
            issuer: issuer.unwrap_or_else(|| base.to_owned()),
            audience: audience.unwrap_or_else(|| "membreak".to_owned()),
            algorithm,
            leeway_seconds,
        })
    }
}
