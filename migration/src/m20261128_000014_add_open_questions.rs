//! Open questions beside free recall, and the number of closed probes per prompt.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{boolean, integer, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Topic of existing rows.
const FREE_RECALL: &str = "free_recall";
/// Unique indexes of recalls, without and with topics.
const WITHOUT_TOPIC: &str = "recall_run_judging_arm_break_judge";
const BY_TOPIC: &str = "recall_run_judging_topic_arm_break_judge";

/// Added columns by table. One statement each, because SQLite adds one column at a time.
fn columns() -> [(&'static str, &'static str, ColumnDef); 3] {
    [
        (
            "task",
            "probes_per_prompt",
            integer("probes_per_prompt").default(1).take(),
        ),
        (
            "task",
            "open_questions",
            boolean("open_questions").default(true).take(),
        ),
        ("recall", "topic", text("topic").default(FREE_RECALL).take()),
    ]
}

fn recall_index(name: &str, topic: bool) -> IndexCreateStatement {
    let mut index = Index::create();
    index
        .name(name)
        .table("recall")
        .col("run_id")
        .col("judging");
    if topic {
        index.col("topic");
    }
    index.col("arm").col("break_index").col("judge");
    index.unique().take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, _, column) in columns() {
            let change = Table::alter().table(table).add_column(column).to_owned();
            manager.alter_table(change).await?;
        }
        let old = Index::drop().name(WITHOUT_TOPIC).table("recall").to_owned();
        manager.drop_index(old).await?;
        manager.create_index(recall_index(BY_TOPIC, true)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The older schema cannot store answers to open questions.
        let open = Query::delete()
            .from_table("recall")
            .and_where(Expr::col("topic").ne(FREE_RECALL))
            .to_owned();
        manager.execute(open).await?;
        let newer = Index::drop().name(BY_TOPIC).table("recall").to_owned();
        manager.drop_index(newer).await?;
        for (table, name, _) in columns() {
            let change = Table::alter().table(table).drop_column(name).to_owned();
            manager.alter_table(change).await?;
        }
        manager
            .create_index(recall_index(WITHOUT_TOPIC, false))
            .await
    }
}
