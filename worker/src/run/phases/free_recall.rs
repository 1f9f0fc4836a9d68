//! Free recall: what the agent says of the pull request when asked for nothing in particular. After
//! the break; and just before it, in a copy, so that there is something to compare it with.

use agents::adapter::Access;
use domain::vocabulary::Arm;
use prompts::{MemoryOnly, Prompt};

use crate::job_error::JobError;
use crate::run::context::{RunContext, Session, phase};
use crate::run::phases::break_::break_artifact;

/// The artifact that holds a free recall.
pub(crate) fn recall_artifact(arm: Arm, break_index: i32) -> String {
    let name = match arm {
        Arm::Cold | Arm::Post => "free_recall",
        Arm::Baseline => "free_recall_baseline",
    };
    break_artifact(name, break_index)
}

/// Asks a sealed copy; or the session itself, where it cannot be copied.
pub(crate) async fn ask_free_recall(
    context: &mut RunContext,
    session: &mut Session,
    arm: Arm,
) -> Result<(), JobError> {
    if arm == Arm::Post {
        context.enter_phase(phase::MEMORY_ONLY).await?;
    }
    let text = MemoryOnly {}.render()?;
    let turn = if context.can_fork() {
        let mut copy = session.fork(Access::Sealed).await?;
        let turn = copy.prompt(&text).await?;
        copy.close().await;
        turn
    } else {
        let turn = session.prompt(&text).await?;
        context.record_main_line(&turn);
        turn
    };
    let heading = format!("{} of {}", phase::MEMORY_ONLY, arm.as_str());
    context.record_turn(&heading, &text, &turn);
    context.check_asked(&turn, &heading).await?;
    let name = recall_artifact(arm, context.break_index);
    context
        .store_text(&name, "text/markdown", &turn.text)
        .await?;
    if arm == Arm::Post {
        context.reach_milestone(3);
    }
    Ok(())
}
