//! The interface from outside: a real router on a real database, once per engine.

#![expect(
    clippy::disallowed_methods,
    reason = "a test looks at rows whoever they belong to"
)]

mod support;
mod tasks;
mod cancelling;
mod runs;
mod leaderboard;
mod boards;
mod judgings;
mod agents;
mod events;
mod artifacts;
mod health;
mod requests;
mod openapi;
mod server;
mod seed;
mod listing;
mod comparison;
mod idempotency;
mod retrying;
mod queues;
mod administration;
mod single_sign_on;
mod tenancy;
mod limits;
mod hostile;
