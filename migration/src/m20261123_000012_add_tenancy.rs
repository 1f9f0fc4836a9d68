//! Teams, idempotency keys, API tokens, webhooks and the audit log, and indexes for filtered lists.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    boolean, integer, integer_null, json_binary, text, text_null, timestamp_with_time_zone,
    timestamp_with_time_zone_null, uuid,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Added columns of tasks. One statement each, because SQLite adds one column at a time.
const COLUMNS: [&str; 3] = ["team_id", "idempotency_key", "request_hash"];
/// Indexes of existing tables: name, table, columns.
const INDEXES: [(&str, &str, &[&str]); 3] = [
    (
        "task_org_status_created",
        "task",
        &["org_id", "status", "created_at", "id"],
    ),
    (
        "task_org_repo_created",
        "task",
        &["org_id", "repo", "created_at", "id"],
    ),
    (
        "task_org_team_created",
        "task",
        &["org_id", "team_id", "created_at", "id"],
    ),
];
const TABLES: [&str; 4] = ["audit_event", "webhook_delivery", "webhook", "api_token"];

fn index(name: &str, table: &str, columns: &[&str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(name).table(table.to_owned());
    for column in columns {
        index.col((*column).to_owned());
    }
    index
}

fn api_token() -> TableCreateStatement {
    Table::create()
        .table("api_token")
        .col(uuid("id").primary_key())
        .col(text("org_id"))
        .col(text_null("team_id"))
        .col(text("name"))
        .col(text("role"))
        .col(text("secret_hash"))
        .col(text_null("created_by"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("expires_at"))
        .col(timestamp_with_time_zone_null("last_used_at"))
        .col(timestamp_with_time_zone_null("revoked_at"))
        .take()
}

fn webhook() -> TableCreateStatement {
    Table::create()
        .table("webhook")
        .col(uuid("id").primary_key())
        .col(text("org_id"))
        .col(text_null("team_id"))
        .col(text("url"))
        .col(text("secret"))
        .col(boolean("enabled"))
        .col(text_null("created_by"))
        .col(timestamp_with_time_zone("created_at"))
        .take()
}

fn webhook_delivery() -> TableCreateStatement {
    let belongs = |name: &str, column: &str, table: &str| {
        ForeignKey::create()
            .name(name)
            .from("webhook_delivery", column.to_owned())
            .to(table.to_owned(), "id")
            .on_delete(ForeignKeyAction::Cascade)
            .take()
    };
    Table::create()
        .table("webhook_delivery")
        .col(uuid("id").primary_key())
        .col(uuid("webhook_id"))
        .col(uuid("task_id"))
        .col(big("event_seq"))
        .col(text("status"))
        .col(integer("attempts"))
        .col(integer_null("status_code"))
        .col(text_null("error_message"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone_null("delivered_at"))
        .foreign_key(&mut belongs(
            "webhook_delivery_webhook",
            "webhook_id",
            "webhook",
        ))
        .foreign_key(&mut belongs("webhook_delivery_task", "task_id", "task"))
        .take()
}

fn big(name: &'static str) -> ColumnDef {
    sea_orm_migration::schema::big_integer(name)
}

fn audit_event() -> TableCreateStatement {
    Table::create()
        .table("audit_event")
        .col(uuid("id").primary_key())
        .col(text("org_id"))
        .col(text_null("team_id"))
        .col(timestamp_with_time_zone("at"))
        .col(text("actor_kind"))
        .col(text_null("actor"))
        .col(text("action"))
        .col(text_null("subject"))
        .col(json_binary("details"))
        .col(text_null("correlation_id"))
        .take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in COLUMNS {
            let change = Table::alter()
                .table("task")
                .add_column(text_null(name))
                .to_owned();
            manager.alter_table(change).await?;
        }
        for (name, table, columns) in INDEXES {
            manager.create_index(index(name, table, columns)).await?;
        }
        // Nulls differ from each other, so tasks without a key do not conflict.
        let mut once = index(
            "task_org_idempotency",
            "task",
            &["org_id", "idempotency_key"],
        );
        manager.create_index(once.unique().take()).await?;
        for table in [api_token(), webhook(), webhook_delivery(), audit_event()] {
            manager.create_table(table).await?;
        }
        let mut once = index(
            "webhook_delivery_once",
            "webhook_delivery",
            &["webhook_id", "task_id", "event_seq"],
        );
        manager.create_index(once.unique().take()).await?;
        for (name, table, columns) in [
            (
                "webhook_delivery_task",
                "webhook_delivery",
                &["task_id"] as &[&str],
            ),
            ("api_token_org", "api_token", &["org_id", "created_at"]),
            ("webhook_org", "webhook", &["org_id", "created_at"]),
            ("audit_event_org", "audit_event", &["org_id", "at", "id"]),
        ] {
            manager.create_index(index(name, table, columns)).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        let names = INDEXES.iter().map(|(name, _, _)| *name);
        for name in names.chain(["task_org_idempotency"]) {
            let index = Index::drop().name(name).table("task").to_owned();
            manager.drop_index(index).await?;
        }
        for name in COLUMNS {
            let change = Table::alter().table("task").drop_column(name).to_owned();
            manager.alter_table(change).await?;
        }
        Ok(())
    }
}
