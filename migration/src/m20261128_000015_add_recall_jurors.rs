//! Number of jurors, and the reason for missing figures of a free recall.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{integer_null, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// One statement each, because SQLite adds one column at a time.
fn columns() -> [(&'static str, ColumnDef); 2] {
    [
        ("jurors", integer_null("jurors")),
        ("note", text_null("note")),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (_, column) in columns() {
            let change = Table::alter().table("recall").add_column(column).to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in columns() {
            let change = Table::alter().table("recall").drop_column(name).to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }
}
