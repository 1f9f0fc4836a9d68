//! A token with which a machine calls the API. The token itself is shown once and never stored.

use sea_orm::Select;
use sea_orm::entity::prelude::*;

use crate::TokenId;
use domain::vocabulary::Role;

/// One token.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_token")]
pub struct Model {
    /// Part of the token: its row is found by it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TokenId,
    pub org_id: String,
    /// None: the whole organisation.
    pub team_id: Option<String>,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the secret part, as hexadecimal digits. The secret has 256 random bits: nothing is
    /// gained by hashing it slowly.
    pub secret_hash: String,
    pub created_by: Option<String>,
    pub created_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
    /// To the minute.
    pub last_used_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The tokens of an organisation.
    pub fn of(org: &str) -> Select<Self> {
        Self::find().filter(Column::OrgId.eq(org))
    }
}
