//! Verification of gateway tokens with the published keys of the sign-on service.
//!
//! Keys are cached for ten minutes. A token with an unknown key causes a new fetch, at most every
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
const FRESH: Duration = Duration::from_secs(600);
/// Age after which keys expire if they cannot be fetched.
const BELIEVED: Duration = Duration::from_secs(24 * 3600);
/// Between two attempts to fetch keys.
const PAUSE: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer of the sign-on service.
const LARGEST: usize = 256 * 1024;
/// Longer tokens are none.
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
struct Known {
    /// By name; keys without one under the empty name.
    keys: HashMap<String, DecodingKey>,
    fetched: Option<Instant>,
    asked: Option<Instant>,
}

/// Verifies tokens.
pub(crate) struct Keys {
    settings: JwtSettings,
    client: reqwest::Client,
    known: Mutex<Known>,
    /// Held by the request that fetches.
    fetching: tokio::sync::Mutex<()>,
}

/// State of a key at a point in time.
enum Found {
    Fresh(DecodingKey),
    /// To be fetched again when possible; good until then.
    Aged(DecodingKey),
    /// There are keys, but not this one.
    Unknown,
    /// There are no valid keys.
    Nothing,
}

impl Known {
    fn find(&self, name: &str) -> Found {
        let Some(age) = self
            .fetched
            .map(|at| at.elapsed())
            .filter(|age| *age < BELIEVED)
        else {
            return Found::Nothing;
        };
        match self.keys.get(name) {
            Some(key) if age < FRESH => Found::Fresh(key.clone()),
            Some(key) => Found::Aged(key.clone()),
            None => Found::Unknown,
        }
    }

    fn may_ask(&self) -> bool {
        self.asked.is_none_or(|at| at.elapsed() >= PAUSE)
    }
}

impl Keys {
    pub(crate) fn new(settings: JwtSettings) -> Self {
        let client = platform::http_client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Self {
            settings,
            // Building fails only where the system has no random numbers; the default panics then.
            client: client.unwrap_or_default(),
            known: Mutex::default(),
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
        let (found, may_ask) = self.with_known(|known| (known.find(name), known.may_ask()));
        let turn = match found {
            Found::Fresh(key) => return Ok(Some(key)),
            // Another request is fetching, or fetched a moment ago.
            Found::Aged(key) if !may_ask => return Ok(Some(key)),
            Found::Aged(key) => match self.fetching.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(Some(key)),
            },
            Found::Unknown | Found::Nothing => self.fetching.lock().await,
        };
        // An earlier request may have fetched the key.
        if self.with_known(|known| known.may_ask()) {
            self.with_known(|known| known.asked = Some(Instant::now()));
            match self.fetch().await {
                Ok(keys) => self.with_known(|known| {
                    known.keys = keys;
                    known.fetched = Some(Instant::now());
                }),
                Err(problem) => {
                    tracing::warn!("could not fetch the keys of the sign-on service: {problem}");
                }
            }
        }
        drop(turn);
        match self.with_known(|known| known.find(name)) {
            Found::Fresh(key) | Found::Aged(key) => Ok(Some(key)),
            Found::Unknown => Ok(None),
            Found::Nothing => Err(ApiError::NoKeys),
        }
    }

    fn with_known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of published keys.
    ///
    /// # Errors
    /// Returns the problem with the service or its response.
    pub(crate) async fn count(&self) -> Result<usize, String> {
        self.fetch().await.map(|keys| keys.len())
    }

    async fn fetch(&self) -> Result<HashMap<String, DecodingKey>, String> {
        let told = |error: reqwest::Error| chain(&error.without_url());
        let url = self.settings.keys_url.clone();
        let mut answer = self.client.get(url).send().await.map_err(told)?;
        if !answer.status().is_success() {
            return Err(format!("the response has status {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(told)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LARGEST {
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
        let known = |age: Duration| Known {
            keys: HashMap::from([("a".to_owned(), DecodingKey::from_secret(b"key"))]),
            fetched: Instant::now().checked_sub(age),
            asked: None,
        };
        assert!(matches!(known(FRESH / 2).find("a"), Found::Fresh(_)));
        assert!(matches!(known(FRESH).find("a"), Found::Aged(_)));
        assert!(matches!(known(FRESH).find("b"), Found::Unknown));
        let hour = Duration::from_secs(3600);
        assert!(matches!(known(BELIEVED - hour).find("a"), Found::Aged(_)));
        assert!(matches!(known(BELIEVED).find("a"), Found::Nothing));
        assert!(matches!(Known::default().find("a"), Found::Nothing));
    }
}
