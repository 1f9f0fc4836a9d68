//! Holds an apalis worker back while there is no free slot.
//!
//! An apalis worker asks its service whether it is ready before it fetches; a poll strategy only
//! wakes it and cannot hold it back. So the gate is a layer: it is ready while the semaphore has a
//! permit. It takes none, because a worker that listens to many queues has one gate for each, and
//! gates that sat on permits would use the slots up without any work being done.

use std::task::{Context, Poll, ready};

use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;
use tower::{Layer, Service};

/// Makes gates on one semaphore.
#[derive(Clone, Debug)]
pub(super) struct GateLayer {
    slots: Arc<Semaphore>,
}

impl GateLayer {
    pub(super) fn new(slots: Arc<Semaphore>) -> Self {
        Self { slots }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            inner,
            slots: PollSemaphore::new(Arc::clone(&self.slots)),
        }
    }
}

/// A service that is ready while there is a free slot.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    inner: S,
    slots: PollSemaphore,
}

impl<S, Request> Service<Request> for Gate<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // A closed semaphore means that the worker is stopping: nothing is to be held back.
        drop(ready!(self.slots.poll_acquire(context)));
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.inner.call(request)
    }
}
