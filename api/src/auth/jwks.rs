//! Verification of gateway tokens with the published keys of the sign-on service.
//!
//! Signing keys are cached for ten minutes. A token with an unknown key causes a new fetch, at most every
//! ten seconds, so that a rotation is noticed quickly and invented keys cost the service little. If
//! the service does not respond, cached keys stay valid for a day, so that a withdrawn key expires.
//! One request fetches; others wait only if there is no cached key.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use platform::telemetry::chain;
use serde::Deserialize;

use crate::http::error::ApiError;
use crate::settings::auth::JwtSettings;

/// Age after which keys are fetched again.
const REFRESH_AFTER: Duration = Duration::from_secs(600);
/// Age after which keys expire if they cannot be fetched.
const EXPIRES_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Between two attempts to fetch keys.
const FETCH_INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest response of the sign-on service.
const MAX_RESPONSE_BYTES: usize = 256 * 1024;
/// Largest length of a token.
const MAX_TOKEN_LENGTH: usize = 16 * 1024;

const REFUSED: ApiError = ApiError::Unauthorized("Invalid gateway token");

/// Claims of a token about its caller.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: Option<String>,
    pub(crate) org_id: Option<String>,
    pub(crate) team_id: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) email: Option<String>,
}

#[derive(Default)]
struct CachedKeys {
    /// By name; keys without one under the empty name.
    keys: HashMap<String, DecodingKey>,
    fetched: Option<Instant>,
    attempted: Option<Instant>,
}

/// Verifies tokens.
pub(crate) struct SigningKeys {
    settings: JwtSettings,
    client: reqwest::Client,
    cached: Mutex<CachedKeys>,
    /// Held by the request that fetches.
    fetching: tokio::sync::Mutex<()>,
}

/// State of a key at a point in time.
enum KeyState {
    Fresh(DecodingKey),
    /// To be fetched again when possible; good until then.
    Aged(DecodingKey),
    /// There are keys, but not this one.
    Unknown,
    /// There are no valid keys.
    Nothing,
}

impl CachedKeys {
    fn find(&self, name: &str) -> KeyState {
        let Some(age) = self
            .fetched
            .map(|at| at.elapsed())
            .filter(|age| *age < EXPIRES_AFTER)
        else {
            return KeyState::Nothing;
        };
        match self.keys.get(name) {
            Some(key) if age < REFRESH_AFTER => KeyState::Fresh(key.clone()),
            Some(key) => KeyState::Aged(key.clone()),
            None => KeyState::Unknown,
        }
    }

    fn may_fetch(&self) -> bool {
        self.attempted
            .is_none_or(|at| at.elapsed() >= FETCH_INTERVAL)
    }
}

impl SigningKeys {
    pub(crate) fn new(settings: JwtSettings) -> Self {
        let client = platform::http_client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self {
            settings,
            // Building fails only where the system has no random numbers; the default panics then.
            client: client.unwrap_or_default(),
            cached: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the claims of a valid token.
    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, ApiError> {
        if token.len() > MAX_TOKEN_LENGTH {
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

    /// The key of a name; none, where the service publishes others.
    async fn key(&self, name: &str) -> Result<Option<DecodingKey>, ApiError> {
        let (found, may_fetch) = self.with_cached(|cached| (cached.find(name), cached.may_fetch()));
        let turn = match found {
            KeyState::Fresh(key) => return Ok(Some(key)),
            // Another request is fetching, or fetched a moment ago.
            KeyState::Aged(key) if !may_fetch => return Ok(Some(key)),
            KeyState::Aged(key) => match self.fetching.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(Some(key)),
            },
            KeyState::Unknown | KeyState::Nothing => self.fetching.lock().await,
        };
        // An earlier request may have fetched the key.
        if self.with_cached(|cached| cached.may_fetch()) {
            self.with_cached(|cached| cached.attempted = Some(Instant::now()));
            match self.fetch().await {
                Ok(keys) => self.with_cached(|cached| {
                    cached.keys = keys;
                    cached.fetched = Some(Instant::now());
                }),
                Err(problem) => {
                    tracing::warn!("could not fetch the keys of the sign-on service: {problem}");
                }
            }
        }
        drop(turn);
        match self.with_cached(|cached| cached.find(name)) {
            KeyState::Fresh(key) | KeyState::Aged(key) => Ok(Some(key)),
            KeyState::Unknown => Ok(None),
            KeyState::Nothing => Err(ApiError::NoKeys),
        }
    }

    fn with_cached<T>(&self, look: impl FnOnce(&mut CachedKeys) -> T) -> T {
        look(&mut self.cached.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of published keys.
    ///
    /// # Errors
    /// Returns the problem with the service or its response.
    pub(crate) async fn count(&self) -> Result<usize, String> {
        self.fetch().await.map(|keys| keys.len())
    }

    async fn fetch(&self) -> Result<HashMap<String, DecodingKey>, String> {
        let describe = |error: reqwest::Error| chain(&error.without_url());
        let url = self.settings.keys_url.clone();
        let mut response = self.client.get(url).send().await.map_err(describe)?;
        if !response.status().is_success() {
            return Err(format!("the response has status {}", response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(describe)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX_RESPONSE_BYTES {
                return Err("the response is too large".to_owned());
            }
        }
        let set: JwkSet = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let mut keys = HashMap::new();
        for jwk in &set.keys {
            if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
                continue;
            }
            // Unsupported kinds of keys are skipped.
            if let Ok(key) = DecodingKey::from_jwk(jwk) {
                keys.insert(jwk.common.key_id.clone().unwrap_or_default(), key);
            }
        }
        if keys.is_empty() {
            return Err("it publishes no usable key".to_owned());
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_fetched_again_are_believed_for_a_day() {
        let cached = |age: Duration| CachedKeys {
            keys: HashMap::from([("a".to_owned(), DecodingKey::from_secret(b"key"))]),
            fetched: Instant::now().checked_sub(age),
            attempted: None,
        };
        assert!(matches!(
            cached(REFRESH_AFTER / 2).find("a"),
            KeyState::Fresh(_)
        ));
        assert!(matches!(cached(REFRESH_AFTER).find("a"), KeyState::Aged(_)));
        assert!(matches!(cached(REFRESH_AFTER).find("b"), KeyState::Unknown));
        let hour = Duration::from_secs(3600);
        assert!(matches!(
            cached(EXPIRES_AFTER - hour).find("a"),
            KeyState::Aged(_)
        ));
        assert!(matches!(cached(EXPIRES_AFTER).find("a"), KeyState::Nothing));
        assert!(matches!(CachedKeys::default().find("a"), KeyState::Nothing));
    }
}
