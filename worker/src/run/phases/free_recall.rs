//! Free recall: the agent's answer when it is asked for everything it remembers.
//!
//! It is asked after the break, and in a fork just before it for comparison.

use agents::adapter::Access;
use domain::vocabulary::Arm;
use prompts::{MemoryOnly, Prompt};

use crate::job_error::JobError;
use crate::run::context::{RunContext, Session, phase};
use crate::run::phases::break_::break_artifact;

/// Returns the name of the artifact with a free recall.
pub(crate) fn recall_artifact(arm: Arm, break_index: i32) -> String {
    let name = match arm {
        Arm::Cold | Arm::Post => "free_recall",
        Arm::Baseline => "free_recall_baseline",
    };
    break_artifact(name, break_index)
}

/// Asks a sealed fork, or the session itself if the agent cannot fork.
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
