//! One agent working through one trial of a task.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    boolean, boolean_null, double_null, integer, json_binary, json_binary_null, text, text_null,
    timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
};

use crate::keys::cascade;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("agent_run")
            .col(uuid("id").primary_key())
            .col(uuid("task_id"))
            .col(text("agent"))
            .col(integer("trial"))
            .col(text("status"))
            .col(text_null("phase"))
            .col(json_binary("milestones"))
            .col(json_binary("stats"))
            .col(json_binary("breaks"))
            .col(boolean("compression_detected"))
            .col(boolean("seal_broken"))
            .col(text_null("baseline"))
            .col(json_binary_null("checkpoint"))
            .col(text_null("agent_version"))
            .col(integer("retry_count"))
            .col(text_null("failure_cause"))
            .col(text_null("error_message"))
            .col(double_null("overall_score"))
            .col(boolean_null("passed"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("updated_at"))
            .col(timestamp_with_time_zone_null("started_at"))
            .col(timestamp_with_time_zone_null("completed_at"))
            .foreign_key(&mut cascade(
                "agent_run_task",
                "agent_run",
                "task_id",
                "task",
            ))
            .to_owned();
        manager.create_table(table).await?;
        manager
            .create_index(
                Index::create()
                    .name("agent_run_task_agent_trial")
                    .table("agent_run")
                    .col("task_id")
                    .col("agent")
                    .col("trial")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("agent_run_agent_version")
                    .table("agent_run")
                    .col("agent")
                    .col("agent_version")
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("agent_run_status")
                    .table("agent_run")
                    .col("status")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("agent_run").to_owned())
            .await
    }
}
