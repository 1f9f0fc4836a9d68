//! The three arms of a run: baseline, post and cold.

use domain::vocabulary::Arm;
use entity::RunId;

use crate::job_error::JobError;
use crate::run::context::{RunContext, Session, phase};
use crate::run::phases::ask::{SessionSource, ask_all};
use crate::run::phases::cold_reuse::reuse_cold_answers;
use crate::run::phases::split_baseline::halves;

/// Asks the session just before the break.
pub(crate) async fn ask_baseline(
    context: &mut RunContext,
    snapshot: &mut Session,
) -> Result<(), JobError> {
    context.enter_phase(phase::BASELINE).await?;
    ask_all(context, Arm::Baseline, SessionSource::Fork(snapshot), None).await
}

/// Asks the session after the break: forks of it, or the session itself if the agent cannot fork.
pub(crate) async fn ask_post(context: &mut RunContext, main: &mut Session) -> Result<(), JobError> {
    context.enter_phase(phase::EVALUATING).await?;
    if context.can_fork() {
        return ask_all(context, Arm::Post, SessionSource::Fork(main), None).await;
    }
    let half = halves(context).1;
    ask_all(context, Arm::Post, SessionSource::Same(main), Some(&half)).await
}

/// Asks sessions that never saw the pull request, or reuses such answers of another run. Returns
/// the run that they were copied from.
pub(crate) async fn ask_cold(context: &mut RunContext) -> Result<Option<RunId>, JobError> {
    context.enter_phase(phase::COLD).await?;
    let source = reuse_cold_answers(context).await?;
    if source.is_none() {
        ask_all(context, Arm::Cold, SessionSource::New, None).await?;
    }
    Ok(source)
}
