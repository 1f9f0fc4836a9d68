//! Shares of partly right and of unreadable answers, so that the rates of a score add up to 1.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::double_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "score";
const COLUMNS: [&str; 2] = ["partial_rate", "unreadable_rate"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One statement each, because SQLite adds one column at a time.
        for name in COLUMNS {
            let change = Table::alter()
                .table(TABLE)
                .add_column(double_null(name))
                .to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in COLUMNS {
            let change = Table::alter().table(TABLE).drop_column(name).to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }
}
