//! A request to measure agents on one pull request.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, double, integer, json_binary, text, text_null,
    timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("task")
            .col(uuid("id").primary_key())
            .col(text("org_id"))
            .col(text_null("created_by"))
            .col(text("pr_url"))
            .col(text("repo"))
            .col(big_integer_null("pr_number"))
            .col(json_binary("source"))
            .col(json_binary("agents"))
            .col(json_binary("rubric"))
            .col(integer("trials"))
            .col(integer("max_files"))
            .col(big_integer("seed"))
            .col(text("trigger"))
            .col(double("pass_mark"))
            .col(big_integer_null("target_context_tokens"))
            .col(text("status"))
            .col(json_binary("changed_files"))
            .col(json_binary("dropped_files"))
            .col(text_null("base_sha"))
            .col(text_null("head_sha"))
            .col(text_null("prompt_hash"))
            .col(text_null("probe_set_hash"))
            .col(text_null("error_message"))
            .col(text_null("failure_cause"))
            .col(big_integer("event_seq"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("updated_at"))
            .col(timestamp_with_time_zone_null("started_at"))
            .col(timestamp_with_time_zone_null("completed_at"))
            .to_owned();
        manager.create_table(table).await?;
        manager
            .create_index(
                Index::create()
                    .name("task_org_created")
                    .table("task")
                    .col("org_id")
                    .col(("created_at", IndexOrder::Desc))
                    .col(("id", IndexOrder::Desc))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("task_status")
                    .table("task")
                    .col("status")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("task").to_owned())
            .await
    }
}
