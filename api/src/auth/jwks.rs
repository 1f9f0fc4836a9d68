//! The gateway's tokens: verified with the keys that the sign-on service publishes.
//!
//! Keys are kept for ten minutes. A token that names a key which is not there has them fetched again,
//! so that a rotation is noticed at once, but not more than every ten seconds: a stream of invented
//! names costs the service nothing. While it does not answer, the keys that are there go on, for a
//! day: a key that was withdrawn must not be good for ever. One request fetches; others wait for it
//! only where there is no key for them to go on with.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use platform::telemetry::chain;
use serde::Deserialize;

use crate::http::error::ApiError;
use crate::settings::auth::JwtSettings;

/// After how long keys are fetched again.
const FRESH: Duration = Duration::from_secs(600);
/// How long keys are believed that cannot be fetched again.
const BELIEVED: Duration = Duration::from_secs(24 * 3600);
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

/// What is known of a key, at a time.
enum Found {
    Fresh(DecodingKey),
    /// To be fetched again when possible; good until then.
    Aged(DecodingKey),
    /// There are keys, and this is none of them.
    Unknown,
    /// There are no keys to go by.
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
            .timeout(PATIENCE)
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

    /// The claims of a token that is what it should be.
    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, ApiError> {
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

    /// The key of a name; none, where the service publishes others.
    async fn key(&self, name: &str) -> Result<Option<DecodingKey>, ApiError> {
        let (found, may_ask) = self.with_known(|known| (known.find(name), known.may_ask()));
        let turn = match found {
            Found::Fresh(key) => return Ok(Some(key)),
            // Somebody else fetches already, or did a moment ago.
            Found::Aged(key) if !may_ask => return Ok(Some(key)),
            Found::Aged(key) => match self.fetching.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(Some(key)),
            },
            Found::Unknown | Found::Nothing => self.fetching.lock().await,
        };
        // Whoever was here before may have fetched what is wanted.
        if self.with_known(|known| known.may_ask()) {
            self.with_known(|known| known.asked = Some(Instant::now()));
            match self.fetch().await {
                Ok(keys) => self.with_known(|known| {
                    known.keys = keys;
                    known.fetched = Some(Instant::now());
                }),
                Err(problem) => {
                    tracing::warn!("the keys of the sign-on service cannot be had: {problem}");
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

    /// How many keys the sign-on service publishes.
    ///
    /// # Errors
    /// What is wrong with its answer, or with the way to it.
    pub(crate) async fn count(&self) -> Result<usize, String> {
        self.fetch().await.map(|keys| keys.len())
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
