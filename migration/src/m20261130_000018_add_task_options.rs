//! Options of a task without a column of their own. A new option needs no migration.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::json_binary_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "task";
const COLUMN: &str = "options";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let change = Table::alter()
            .table(TABLE)
            .add_column(json_binary_null(COLUMN))
            .to_owned();
        manager.alter_table(change).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let change = Table::alter().table(TABLE).drop_column(COLUMN).to_owned();
        manager.alter_table(change).await
    }
}
