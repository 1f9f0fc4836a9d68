//! The figures of one run in one dimension.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{double_null, integer, text, timestamp_with_time_zone, uuid};

use crate::keys::cascade;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("score")
            .col(uuid("id").primary_key())
            .col(uuid("run_id"))
            .col(text("dimension"))
            .col(integer("break_index"))
            .col(integer("n"))
            .col(double_null("cold"))
            .col(double_null("baseline"))
            .col(double_null("post"))
            .col(double_null("retention"))
            .col(double_null("item_retention"))
            .col(double_null("stale_rate"))
            .col(double_null("abstained_rate"))
            .col(double_null("wrong_rate"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut cascade("score_run", "score", "run_id", "agent_run"))
            .to_owned();
        manager.create_table(table).await?;
        manager
            .create_index(
                Index::create()
                    .name("score_run_dimension_break")
                    .table("score")
                    .col("run_id")
                    .col("dimension")
                    .col("break_index")
                    .unique()
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("score").to_owned())
            .await
    }
}
