//! Writes audit entries in the transaction of the change.

use domain::vocabulary::ActorKind;
use entity::{AuditId, audit_event};
use platform::database::clock;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::InsertStatement;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryTrait};
use serde_json::Value;

/// The organisation of the local user.
pub(crate) const LOCAL: &str = "local";

/// The actor of a change, with its organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub org: String,
    /// The team within it; none: the whole organisation.
    pub team: Option<String>,
    pub kind: ActorKind,
    /// None for the local user.
    pub id: Option<String>,
    /// The request, where it is one.
    pub correlation_id: Option<String>,
}

impl Actor {
    /// The one user of an installation without single sign-on.
    pub fn local() -> Self {
        Self {
            org: LOCAL.to_owned(),
            team: None,
            kind: ActorKind::Local,
            id: None,
            correlation_id: None,
        }
    }

    /// Records that the actor applied `action` (such as `task.create`) to `subject`.
    pub(crate) async fn record(
        &self,
        transaction: &impl ConnectionTrait,
        action: &'static str,
        subject: impl ToString,
        details: Value,
    ) -> Result<(), DbErr> {
        let subject = Some(subject.to_string());
        transaction
            .execute(&insert(self, action, subject, details))
            .await?;
        Ok(())
    }
}

/// Returns the statement that records a change. Execute it together with the change.
pub(crate) fn insert(
    actor: &Actor,
    action: &'static str,
    subject: Option<String>,
    details: Value,
) -> InsertStatement {
    let row = audit_event::ActiveModel {
        id: Set(AuditId::new()),
        org_id: Set(actor.org.clone()),
        team_id: Set(actor.team.clone()),
        at: Set(clock::host_now()),
        actor_kind: Set(actor.kind),
        actor: Set(actor.id.clone()),
        action: Set(action.to_owned()),
        subject: Set(subject),
        details: Set(details),
        correlation_id: Set(actor.correlation_id.clone()),
    };
    audit_event::Entity::insert(row).into_query()
}
