//! Attribution of answers, and sealing before the break.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{boolean_null, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Added columns by table. One statement each, because SQLite adds one column at a time.
fn columns() -> [(&'static str, &'static str, ColumnDef); 3] {
    [
        (
            "task",
            "seal_before_break",
            boolean_null("seal_before_break"),
        ),
        ("answer", "attribution", text_null("attribution")),
        ("answer", "in_summary", boolean_null("in_summary")),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, _, column) in columns() {
            let change = Table::alter().table(table).add_column(column).to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, name, _) in columns() {
            let change = Table::alter().table(table).drop_column(name).to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }
}
