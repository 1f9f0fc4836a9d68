//! API token of a machine. The token itself is shown once and never stored.

use sea_orm::Select;
use sea_orm::entity::prelude::*;

use crate::TokenId;
use domain::vocabulary::Role;

/// One token.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_token")]
pub struct Model {
    /// Part of the token, used to look up its row.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TokenId,
    pub org_id: String,
    /// `None` for the whole organisation.
    pub team_id: Option<String>,
    /// Display name.
    pub name: String,
    /// Role of the caller.
    pub role: Role,
    /// SHA-256 of the secret part, in hexadecimal. The secret has 256 random bits, so a slow hash
    /// would add nothing.
    pub secret_hash: String,
    pub created_by: Option<String>,
    pub created_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
    /// Time of the last use, with a precision of one minute.
    pub last_used_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
}

relations! {}

impl Entity {
    /// Selects the tokens of an organisation.
    pub fn of_org(org: &str) -> Select<Self> {
        Self::find().filter(Column::OrgId.eq(org))
    }
}
