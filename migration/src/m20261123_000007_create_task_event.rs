//! Event log of a task. Rows are only appended.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_pk_auto, json_binary, text, timestamp_with_time_zone, uuid, uuid_null,
};

use crate::keys::cascade;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("task_event")
            .col(big_pk_auto("id"))
            .col(uuid("task_id"))
            .col(big_integer("seq"))
            // No foreign key: this saves one check per event, and runs are deleted with
            // their task.
            .col(uuid_null("run_id"))
            .col(timestamp_with_time_zone("at"))
            .col(text("kind"))
            .col(text("level"))
            .col(json_binary("payload"))
            .foreign_key(&mut cascade(
                "task_event_task",
                "task_event",
                "task_id",
                "task",
            ))
            .to_owned();
        manager.create_table(table).await?;
        manager
            .create_index(
                Index::create()
                    .name("task_event_task_seq")
                    .table("task_event")
                    .col("task_id")
                    .col("seq")
                    .unique()
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("task_event").to_owned())
            .await
    }
}
