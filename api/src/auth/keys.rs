//! The gateway's tokens: verified with the keys that the sign-on service publishes.
//!
//! Keys are kept for ten minutes. A token that names a key which is not there has them fetched again,
//! so that a rotation is noticed at once, but not more than every ten seconds: a stream of invented
//! names costs the service nothing. While it does not answer, the keys that are there go on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use platform::telemetry::chain;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::error::ApiError;
use crate::settings::auth::JwtSettings;

/// How long keys are believed.
const FRESH: Duration = Duration::from_secs(600);
/// Between two attempts to fetch keys.
const PAUSE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer of the sign-on service.
const LARGEST: usize = 256 * 1024;
/// Longer tokens are none.
const LONGEST_TOKEN: usize = 16 * 1024;

const REFUSED: ApiError = ApiError::Unauthorized("The gateway's token is not valid");

/// What a token says of the caller.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: Option<String>,
    pub(super) org_id: Option<String>,
    pub(super) team_id: Option<String>,
    pub(super) role: Option<String>,
    pub(super) email: Option<String>,
}

#[derive(Default)]
struct Known {
    /// By name; keys without one under the empty name.
    keys: HashMap<String, DecodingKey>,
    fetched: Option<Instant>,
    asked: Option<Instant>,
}

/// Verifies tokens.
pub(super) struct Keys {
    settings: JwtSettings,
    client: reqwest::Client,
    known: Mutex<Known>,
}

impl Keys {
    pub(super) fn new(settings: JwtSettings) -> Self {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self {
            settings,
            // Building fails only where the system has no random numbers; the default panics then.
            client: client.unwrap_or_default(),
            known: Mutex::default(),
        }
    }

    /// The claims of a token that is what it should be.
    pub(super) async fn verify(&self, token: &str) -> Result<Claims, ApiError> {
        if token.len() > LONGEST_TOKEN {
            return Err(REFUSED);
        }
        let header = decode_header(token).map_err(|_| REFUSED)?;
        if header.alg != self.settings.algorithm {
            return Err(REFUSED);
        }
        let name = header.kid.unwrap_or_default();
        let key = self.key(&name).await?.ok_or(REFUSED)?;
        let mut validation = Validation::new(self.settings.algorithm);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        validation.leeway = self.settings.leeway_seconds;
        validation.validate_nbf = true;
        match decode::<Claims>(token, &key, &validation) {
            Ok(verified) => Ok(verified.claims),
            Err(error) => {
                tracing::info!(error = chain(&error), "refused a token of the gateway");
                Err(REFUSED)
            }
        }
    }

    async fn key(&self, name: &str) -> Result<Option<DecodingKey>, ApiError> {
        // Held while fetching: of many requests one asks, the others wait for its answer.
        let mut known = self.known.lock().await;
        let fresh = known.fetched.is_some_and(|at| at.elapsed() < FRESH);
        let found = known.keys.get(name).cloned();
        let may_ask = known.asked.is_none_or(|at| at.elapsed() >= PAUSE);
        if (fresh && found.is_some()) || !may_ask {
            return Ok(found);
        }
        known.asked = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                known.keys = keys;
                known.fetched = Some(Instant::now());
                Ok(known.keys.get(name).cloned())
            }
            Err(problem) if known.keys.is_empty() => {
                tracing::warn!("the keys of the sign-on service cannot be had: {problem}");
                Err(ApiError::NoKeys)
            }
            Err(problem) => {
                tracing::warn!("going on with older keys of the sign-on service: {problem}");
                Ok(found)
            }
        }
    }

    async fn fetch(&self) -> Result<HashMap<String, DecodingKey>, String> {
        let told = |error: reqwest::Error| chain(&error.without_url());
        let url = self.settings.keys_url.clone();
        let mut answer = self.client.get(url).send().await.map_err(told)?;
        if !answer.status().is_success() {
            return Err(format!("it answered {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(told)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LARGEST {
                return Err("its answer is too large".to_owned());
            }
        }
        let set: JwkSet = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let mut keys = HashMap::new();
        for jwk in &set.keys {
            if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
                continue;
            }
            // A kind that this version does not know verifies nothing here.
            if let Ok(key) = DecodingKey::from_jwk(jwk) {
                keys.insert(jwk.common.key_id.clone().unwrap_or_default(), key);
            }
        }
        if keys.is_empty() {
            return Err("it publishes no key that can be used".to_owned());
        }
        Ok(keys)
    }
}
