//! One message to one webhook about one end of a task.

use sea_orm::entity::prelude::*;

use crate::{DeliveryId, TaskId, WebhookId};
use domain::vocabulary::DeliveryStatus;

/// Unique by webhook, task and event. A retried task ends again.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_delivery")]
pub struct Model {
    /// Sent as the message id, the same for every attempt.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    pub webhook_id: WebhookId,
    pub task_id: TaskId,
    /// Number of the event `completed` that the message reports.
    pub event_seq: i64,
    /// End of the task as the message reports it. `None` if the message is older than this column.
    pub ending: Option<Json>,
    pub status: DeliveryStatus,
    pub attempts: i32,
    /// Last HTTP status of the receiver, if it answered.
    pub status_code: Option<i32>,
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<String>,
    pub created_at: DateTimeUtc,
    pub delivered_at: Option<DateTimeUtc>,
}

relations! {
    belongs_to Webhook: webhook by WebhookId;
}
