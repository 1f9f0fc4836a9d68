//! One answer of one run to one probe under one arm, and the grade it got.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, double_null, integer, text, text_null, timestamp_with_time_zone, uuid, uuid_null,
};

use crate::keys::cascade;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("answer")
            .col(uuid("id").primary_key())
            .col(uuid("run_id"))
            .col(uuid("probe_id"))
            .col(text("arm"))
            .col(integer("break_index"))
            .col(text("text"))
            .col(double_null("grade"))
            .col(text_null("verdict"))
            .col(text_null("grader"))
            // No foreign key, because the copy outlives the original run.
            .col(uuid_null("copied_from"))
            .col(big_integer("duration_ms"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut cascade("answer_run", "answer", "run_id", "agent_run"))
            .foreign_key(&mut cascade("answer_probe", "answer", "probe_id", "probe"))
            .to_owned();
        manager.create_table(table).await?;
        manager
            .create_index(
                Index::create()
                    .name("answer_run_probe_arm_break")
                    .table("answer")
                    .col("run_id")
                    .col("probe_id")
                    .col("arm")
                    .col("break_index")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("answer_probe")
                    .table("answer")
                    .col("probe_id")
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("answer").to_owned())
            .await
    }
}
