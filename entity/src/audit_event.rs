//! Who changed what, and when. Rows are added and never changed.

use sea_orm::Select;
use sea_orm::entity::prelude::*;

use crate::AuditId;
use domain::vocabulary::ActorKind;

/// One change.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AuditId,
    pub org_id: String,
    pub team_id: Option<String>,
    pub at: DateTimeUtc,
    pub actor_kind: ActorKind,
    /// The user's id, or the token's; none for the local user and for the
    /// service itself.
    pub actor: Option<String>,
    /// What was done, such as `task.create`.
    pub action: String,
    /// The id of what it was done to.
    pub subject: Option<String>,
    pub details: Json,
    /// The request that did it.
    pub correlation_id: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// What happened in an organisation.
    pub fn of(org: &str) -> Select<Self> {
        Self::find().filter(Column::OrgId.eq(org))
    }
}
