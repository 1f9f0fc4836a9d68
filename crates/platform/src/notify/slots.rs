//! Backpressure: an apalis worker fetches only while there is a free slot.
//!
//! An apalis worker asks its service whether it is ready before it fetches. A poll strategy only
//! wakes the worker and cannot hold it back, so the limit is a tower layer: it is ready while the
//! semaphore has a permit. The layer keeps no permit. A worker that subscribes to many queues has
//! one layer per queue, and layers that kept permits would occupy slots without working.

use std::task::{Context, Poll, ready};

use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;
use tower::{Layer, Service};

/// Wraps services so that they are ready only while `slots` has a permit.
#[derive(Clone, Debug)]
pub(super) struct SlotLayer {
    slots: Arc<Semaphore>,
}

impl SlotLayer {
    pub(super) fn new(slots: Arc<Semaphore>) -> Self {
        Self { slots }
    }
}

impl<S> Layer<S> for SlotLayer {
    type Service = SlotService<S>;

    fn layer(&self, inner: S) -> SlotService<S> {
        SlotService {
            inner,
            slots: PollSemaphore::new(Arc::clone(&self.slots)),
        }
    }
}

/// A service that is ready while there is a free slot.
#[derive(Clone, Debug)]
pub(super) struct SlotService<S> {
    inner: S,
    slots: PollSemaphore,
}

impl<S, Request> Service<Request> for SlotService<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // A closed semaphore means that the worker is stopping: nothing is held back then.
        drop(ready!(self.slots.poll_acquire(context)));
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.inner.call(request)
    }
}
