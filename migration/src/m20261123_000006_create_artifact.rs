//! One stored file of a task or of a run.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text, timestamp_with_time_zone, uuid, uuid_null};

use crate::keys::cascade;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("artifact")
            .col(uuid("id").primary_key())
            .col(uuid("task_id"))
            .col(uuid_null("run_id"))
            .col(text("name"))
            .col(text("key"))
            .col(text("media_type"))
            .col(big_integer("size"))
            .col(text("sha256"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut cascade("artifact_task", "artifact", "task_id", "task"))
            .foreign_key(&mut cascade(
                "artifact_run",
                "artifact",
                "run_id",
                "agent_run",
            ))
            .to_owned();
        manager.create_table(table).await?;
        // Two unique indexes, because a null run id is not equal to another null.
        manager
            .create_index(
                Index::create()
                    .name("artifact_task_run_name")
                    .table("artifact")
                    .col("task_id")
                    .col("run_id")
                    .col("name")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("artifact_task_name")
                    .table("artifact")
                    .col("task_id")
                    .col("name")
                    .unique()
                    .and_where(Expr::col("run_id").is_null())
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("artifact_run")
                    .table("artifact")
                    .col("run_id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("artifact").to_owned())
            .await
    }
}
