//! Audit log of changes. Rows are added and never changed.

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
    /// Id of the user or the token. `None` for the local user and for the service itself.
    pub actor: Option<String>,
    /// Action, such as `task.create`.
    pub action: String,
    /// Id of the changed object.
    pub subject: Option<String>,
    pub details: Json,
    /// Correlation id of the request.
    pub correlation_id: Option<String>,
}

relations! {}

impl Entity {
    /// Selects the audit log of an organisation.
    pub fn of_org(org: &str) -> Select<Self> {
        Self::find().filter(Column::OrgId.eq(org))
    }
}
