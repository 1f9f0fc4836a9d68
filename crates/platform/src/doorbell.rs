//! The doorbell: tells workers that there is something in the ledger. It may lose, double or
//! delay; nothing breaks, because the ledger decides.

mod gate;
pub mod embedded;
pub mod redis;

use std::collections::BTreeMap;
use std::sync::Arc;

use apalis::prelude::{BoxDynError, Data};
use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::jobs::Ring;

/// Why a bell could not be rung or heard.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct DoorbellError {
    /// What was being attempted.
    pub doing: &'static str,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Rings and hears.
#[async_trait]
pub trait Doorbell: Send + Sync + 'static {
    /// Rings for jobs. Bounded in time: an unreachable Redis is an error within seconds, and the
    /// caller goes on, because the sweeper rings again.
    async fn ring(&self, rings: &[Ring]) -> Result<(), DoorbellError>;

    /// Hears the bells of `queues` until `stop`. Asks for a bell only while `slots` has a permit;
    /// goes on through outages of Redis.
    async fn listen(
        &self,
        worker: &str,
        queues: &[String],
        slots: Arc<Semaphore>,
        hear: Arc<dyn Hear>,
        stop: CancellationToken,
    ) -> Result<(), DoorbellError>;

    /// Removes what has piled up in the carrier. A no-op where nothing can.
    async fn trim(&self) -> Result<(), DoorbellError>;

    /// How many bells of these queues wait in the carrier; none where it holds none.
    async fn waiting(
        &self,
        _queues: &[String],
    ) -> Result<Option<BTreeMap<String, u64>>, DoorbellError> {
        Ok(None)
    }

    /// Whether the carrier answers.
    async fn healthy(&self) -> Result<(), DoorbellError>;
}

/// Takes what was heard. Must return soon: claims, hands over, returns.
#[async_trait]
pub trait Hear: Send + Sync + 'static {
    /// A bell rang. An error means that the database is down.
    async fn hear(&self, ring: Ring) -> Result<(), sea_orm::DbErr>;
}

/// What an apalis worker is given besides the ring. A type of its own, because a handler cannot
/// take a bare trait object.
#[derive(Clone)]
struct Hearer(Arc<dyn Hear>);

/// The handler of every apalis worker here: hands the ring over and is done.
async fn heard(ring: Ring, hearer: Data<Hearer>) -> Result<(), BoxDynError> {
    let hear = Arc::clone(&hearer.0.0);
    hear.hear(ring).await?;
    Ok(())
}
