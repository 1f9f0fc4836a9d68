//! One unit of work: a row of the job queue.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, boolean, integer, json_binary, text, text_null, timestamp_with_time_zone,
    timestamp_with_time_zone_null, uuid, uuid_null,
};

use crate::keys::cascade;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("job")
            .col(uuid("id").primary_key())
            .col(uuid("task_id"))
            .col(uuid_null("run_id"))
            .col(text("kind"))
            .col(text("queue"))
            .col(text("work_key"))
            .col(json_binary("work"))
            .col(text("state"))
            .col(integer("attempt"))
            .col(integer("max_attempts"))
            .col(big_integer("epoch"))
            .col(text_null("lease_owner"))
            .col(timestamp_with_time_zone_null("lease_until"))
            .col(timestamp_with_time_zone("available_at"))
            .col(timestamp_with_time_zone_null("rung_at"))
            .col(boolean("cancel_requested"))
            .col(text_null("last_error"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("updated_at"))
            .col(timestamp_with_time_zone_null("finished_at"))
            .foreign_key(&mut cascade("job_task", "job", "task_id", "task"))
            .foreign_key(&mut cascade("job_run", "job", "run_id", "agent_run"))
            .to_owned();
        manager.create_table(table).await?;
        manager
            .create_index(
                Index::create()
                    .name("job_work_key")
                    .table("job")
                    .col("work_key")
                    .unique()
                    .to_owned(),
            )
            .await?;
        for (name, columns) in [
            ("job_state_available", ["state", "available_at"]),
            ("job_state_lease", ["state", "lease_until"]),
            ("job_queue_state", ["queue", "state"]),
            ("job_task_state", ["task_id", "state"]),
            ("job_run_state", ["run_id", "state"]),
        ] {
            manager
                .create_index(
                    Index::create()
                        .name(name)
                        .table("job")
                        .col(columns[0])
                        .col(columns[1])
                        .to_owned(),
                )
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("job").to_owned())
            .await
    }
}
