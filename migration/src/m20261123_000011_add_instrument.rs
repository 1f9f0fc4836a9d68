//! Several breaks, models and manifests of runs, confidence of answers, judgings and votes.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    double_null, integer, integer_null, json_binary, json_binary_null, text, text_null,
    timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
};

use crate::keys::cascade;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Unique indexes of scores, without and with several judgings.
const ONE_JUDGING: &str = "score_run_dimension_break";
const BY_JUDGING: &str = "score_run_judging_dimension_break";

/// Added columns by table. One statement each, because SQLite adds one column at a time.
fn columns() -> [(&'static str, &'static str, ColumnDef); 11] {
    let counted = |name: &'static str| integer(name).default(1).take();
    [
        ("task", "breaks", counted("breaks")),
        ("task", "judging", counted("judging")),
        ("task", "max_cost_usd", double_null("max_cost_usd")),
        ("task", "question_bank", text_null("question_bank")),
        (
            "task",
            "generator_report",
            json_binary_null("generator_report"),
        ),
        ("agent_run", "model", text_null("model")),
        ("agent_run", "manifest", json_binary_null("manifest")),
        ("answer", "confidence", double_null("confidence")),
        ("score", "judging", counted("judging")),
        ("score", "known", integer_null("known")),
        ("score", "kept", integer_null("kept")),
    ]
}

fn score_index(name: &str, judging: bool) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(name).table("score").col("run_id");
    if judging {
        index.col("judging");
    }
    index.col("dimension").col("break_index").unique().take()
}

fn judging_table() -> TableCreateStatement {
    Table::create()
        .table("judging")
        .col(uuid("id").primary_key())
        .col(uuid("task_id"))
        .col(integer("number"))
        .col(text("status"))
        .col(json_binary("judges"))
        .col(json_binary_null("agreement"))
        .col(text_null("error_message"))
        .col(text_null("created_by"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone_null("completed_at"))
        .foreign_key(&mut cascade("judging_task", "judging", "task_id", "task"))
        .take()
}

fn recall_table() -> TableCreateStatement {
    Table::create()
        .table("recall")
        .col(uuid("id").primary_key())
        .col(uuid("run_id"))
        .col(integer("judging"))
        .col(text("arm"))
        .col(integer("break_index"))
        .col(text("judge"))
        .col(integer("facts"))
        .col(integer("claimed"))
        .col(integer("right"))
        .col(integer("ungraded"))
        .col(double_null("precision"))
        .col(double_null("recall"))
        .col(timestamp_with_time_zone("created_at"))
        .foreign_key(&mut cascade("recall_run", "recall", "run_id", "agent_run"))
        .take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, _, column) in columns() {
            let change = Table::alter().table(table).add_column(column).to_owned();
            manager.alter_table(change).await?;
        }
        let old = Index::drop().name(ONE_JUDGING).table("score").to_owned();
        manager.drop_index(old).await?;
        manager.create_index(score_index(BY_JUDGING, true)).await?;
        manager.create_table(judging_table()).await?;
        let mut index = Index::create();
        index.name("judging_task_number").table("judging");
        index.col("task_id").col("number").unique();
        manager.create_index(index).await?;
        manager.create_table(recall_table()).await?;
        let mut index = Index::create();
        index
            .name("recall_run_judging_arm_break_judge")
            .table("recall");
        index.col("run_id").col("judging").col("arm");
        index.col("break_index").col("judge").unique();
        manager.create_index(index).await?;
        // For leaderboards over tasks.
        let mut index = Index::create();
        index.name("agent_run_completed").table("agent_run");
        index.col("completed_at").col("agent");
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = Index::drop()
            .name("agent_run_completed")
            .table("agent_run")
            .to_owned();
        manager.drop_index(index).await?;
        for table in ["recall", "judging"] {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        // The older schema cannot store later judgings.
        let first = Query::delete()
            .from_table("score")
            .and_where(Expr::col("judging").gt(1))
            .to_owned();
        manager.execute(first).await?;
        let newer = Index::drop().name(BY_JUDGING).table("score").to_owned();
        manager.drop_index(newer).await?;
        for (table, name, _) in columns() {
            let change = Table::alter().table(table).drop_column(name).to_owned();
            manager.alter_table(change).await?;
        }
        manager.create_index(score_index(ONE_JUDGING, false)).await
    }
}
