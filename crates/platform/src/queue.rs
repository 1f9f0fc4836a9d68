//! The job queue: every unit of work is a row of the table `job`.
//!
//! A job is written in the same transaction as the state change that creates the work. Workers claim
//! it by a compare-and-set ([`lease`]); the [`rescuer`] returns lost work to the queue.

mod retry_policy;
mod locking;
mod work;
mod settings;
mod enqueue;
pub mod lease;
pub mod rescuer;

pub use enqueue::{enqueue, enqueue_all, first_job};
pub use settings::QueueSettings;
pub use work::{FOLLOW_UP_JOBS, Notification, Work};
