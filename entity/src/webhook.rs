//! A URL that is notified of finished tasks.

use sea_orm::Select;
use sea_orm::entity::prelude::*;

use crate::WebhookId;

/// One webhook of an organisation, or of a team of it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookId,
    pub org_id: String,
    /// `None` for the tasks of all teams.
    pub team_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub url: String,
    /// Signing secret of deliveries, `whsec_` and base64. Stored unencrypted, because it is needed
    /// to sign.
    pub secret: String,
    pub enabled: bool,
    pub created_by: Option<String>,
    pub created_at: DateTimeUtc,
}

relations! {
    has_many Delivery: webhook_delivery;
}

impl Entity {
    /// Selects the webhooks of an organisation.
    pub fn of_org(org: &str) -> Select<Self> {
        Self::find().filter(Column::OrgId.eq(org))
    }
}
