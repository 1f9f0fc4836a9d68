//! Quota of open event streams per caller, and their authorisation.
//!
//! A stream is one request that lasts for hours. The rate limit does not cover it, and its token
//! may be revoked while it is open.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use domain::vocabulary::ActorKind;
use entity::TokenId;
use platform::telemetry::chain;
use sea_orm::DatabaseConnection;

use crate::caller::Caller;
use crate::http::error::ApiError;
use crate::settings::LimitSettings;
use crate::tenancy;

/// Lifetime of a token check. All streams of a token share it, so a token costs one query per
/// interval.
const CHECK_VALID_FOR: Duration = Duration::from_secs(10);

/// Open streams by caller. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct StreamQuota {
    most: Option<usize>,
    followers: Arc<Mutex<HashMap<String, Arc<Follower>>>>,
}

/// A caller with streams.
struct Follower {
    key: String,
    token: Option<TokenId>,
    /// Changed under the lock of all followers.
    streams: AtomicUsize,
    looked_up: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// One place in the quota. Dropping it frees the place.
pub(crate) struct StreamPermit {
    streams: StreamQuota,
    follower: Arc<Follower>,
}

impl StreamQuota {
    /// `most`: [`LimitSettings::streams_per_caller`].
    pub(crate) fn new(most: Option<usize>) -> Self {
        Self {
            most,
            followers: Arc::default(),
        }
    }

    /// A permit for one more stream; none where it need not be counted, nor looked at again.
    ///
    /// # Errors
    /// The caller follows too many.
    pub(crate) fn take(&self, caller: &Caller) -> Result<Option<StreamPermit>, ApiError> {
        let most = match (caller.kind, self.most) {
            (ActorKind::Local, None | Some(0)) => return Ok(None),
            (_, Some(0)) => usize::MAX,
            (_, None) => LimitSettings::STREAMS,
            (_, Some(most)) => most,
        };
        let who = caller.id.as_deref().unwrap_or_default();
        let key = format!("{}:{}:{who}", caller.kind, caller.org);
        let mut followers = self.followers();
        let follower = followers.entry(key).or_insert_with_key(|key| {
            Arc::new(Follower {
                key: key.clone(),
                token: match caller.kind {
                    ActorKind::Token => who.parse().ok(),
                    ActorKind::Local | ActorKind::User | ActorKind::System => None,
                },
                streams: 0.into(),
                looked_up: tokio::sync::Mutex::default(),
            })
        });
        let streams = follower.streams.load(Relaxed);
        if streams >= most {
            return Err(ApiError::TooManyStreams(most));
        }
        let follower = Arc::clone(follower);
        follower.streams.store(streams + 1, Relaxed);
        drop(followers);
        Ok(Some(StreamPermit {
            streams: self.clone(),
            follower,
        }))
    }

    fn followers(&self) -> MutexGuard<'_, HashMap<String, Arc<Follower>>> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamPermit {
    /// Whether the caller's token is neither revoked nor too old; a caller without one has the word
    /// of the gateway. A database that does not answer ends no stream.
    pub(crate) async fn is_valid(&self, database: &DatabaseConnection) -> bool {
        let Some(token) = self.follower.token else {
            return true;
        };
        let mut looked_up = self.follower.looked_up.lock().await;
        if let Some((at, good)) = *looked_up
            && at.elapsed() < CHECK_VALID_FOR
        {
            return good;
        }
        let good = match tenancy::token_by_id(token).one(database).await {
            Ok(row) => {
                row.is_some_and(|row| row.revoked_at.is_none() && row.expires_at > Utc::now())
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "could not look up a token");
                true
            }
        };
        *looked_up = Some((Instant::now(), good));
        good
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut followers = self.streams.followers();
        let streams = &self.follower.streams;
        let left = streams.load(Relaxed).saturating_sub(1);
        streams.store(left, Relaxed);
        if left == 0 {
            followers.remove(&self.follower.key);
        }
    }
}
