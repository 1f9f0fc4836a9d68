//! The three arms of a run.

use agents::adapter::{Access, Turn};
use chrono::Utc;
use domain::vocabulary::{Arm, Attribution, Level};
use entity::{AnswerId, ProbeId, RunId, agent_run, answer, probe, task};
use evaluation::grading::numbered_parts;
use evaluation::probe::Probe;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use platform::events::Event;
use prompts::Prompt;
use sea_orm::sea_query::{Expr, ExprTrait, Func, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

/// Asks the session just before the break.
pub(crate) async fn baseline(
    context: &mut RunContext,
    snapshot: &mut Session,
) -> Result<(), JobError> {
    context.enter(phase::BASELINE).await?;
    ask_all(context, Arm::Baseline, Origin::Fork(snapshot), None).await
}

/// Asks the session after the break: copies of it, or itself where it cannot be copied.
pub(crate) async fn post(context: &mut RunContext, main: &mut Session) -> Result<(), JobError> {
    context.enter(phase::EVALUATING).await?;
    if context.forks() {
        return ask_all(context, Arm::Post, Origin::Fork(main), None).await;
    }
    let half = split::halves(context).1;
    ask_all(context, Arm::Post, Origin::Same(main), Some(&half)).await
}

/// Asks sessions that never saw the pull request, or takes over what such sessions have said. The run
/// that it was taken from.
pub(crate) async fn cold(context: &mut RunContext) -> Result<Option<RunId>, JobError> {
    context.enter(phase::COLD).await?;
    let source = copy_cold(context).await?;
    if source.is_none() {
        ask_all(context, Arm::Cold, Origin::Nothing, None).await?;
    }
    Ok(source)
}
