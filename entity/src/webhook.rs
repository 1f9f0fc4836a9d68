//! An address that is told when a task ends.

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
    /// None: tasks of all teams.
    pub team_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub url: String,
    /// What deliveries are signed with, `whsec_` and base64. Stored as it is: it must be at hand to
    /// sign.
    pub secret: String,
    pub enabled: bool,
    pub created_by: Option<String>,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(has_many = "super::webhook_delivery::Entity")]
    Delivery,
}

impl Related<super::webhook_delivery::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Delivery.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The webhooks of an organisation.
    pub fn of(org: &str) -> Select<Self> {
        Self::find().filter(Column::OrgId.eq(org))
    }
}
