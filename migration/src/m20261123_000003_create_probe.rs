//! One question with a known grading rule, tied to one dimension.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{integer, json_binary, text, timestamp_with_time_zone, uuid};

use crate::keys::cascade;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("probe")
            .col(uuid("id").primary_key())
            .col(uuid("task_id"))
            .col(integer("position"))
            .col(text("label"))
            .col(text("dimension"))
            .col(text("kind"))
            .col(text("question"))
            .col(json_binary("spec"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut cascade("probe_task", "probe", "task_id", "task"))
            .to_owned();
        manager.create_table(table).await?;
        for (name, column) in [
            ("probe_task_position", "position"),
            ("probe_task_label", "label"),
        ] {
            manager
                .create_index(
                    Index::create()
                        .name(name)
                        .table("probe")
                        .col("task_id")
                        .col(column)
                        .unique()
                        .to_owned(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("probe").to_owned())
            .await
    }
}
