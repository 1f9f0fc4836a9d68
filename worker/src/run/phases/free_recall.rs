//! Free recall: what the agent says of the pull request when asked for nothing in particular. After
//! the break; and just before it, in a copy, so that there is something to compare it with.

use agents::adapter::Access;
use domain::vocabulary::Arm;
use prompts::{MemoryOnly, Prompt};


/// The artifact that holds a free recall.
pub(crate) fn artifact(arm: Arm, break_index: i32) -> String {
    let name = match arm {
        Arm::Cold | Arm::Post => "free_recall",
        Arm::Baseline => "free_recall_baseline",
    };
    of_break(name, break_index)
}

/// Asks a sealed copy; or the session itself, where it cannot be copied.
pub(crate) async fn recall(
    context: &mut RunContext,
    session: &mut Session,
    arm: Arm,
) -> Result<(), JobError> {
    if arm == Arm::Post {
        context.enter(phase::MEMORY_ONLY).await?;
    }
    let text = MemoryOnly {}.render()?;
    let turn = if context.forks() {
        let mut copy = session.fork(Access::Sealed).await?;
        let turn = copy.prompt(&text).await?;
        copy.close().await;
        turn
    } else {
        let turn = session.prompt(&text).await?;
        context.main_line(&turn);
        turn
    };
    let heading = format!("{} of {}", phase::MEMORY_ONLY, arm.as_str());
    context.note(&heading, &text, &turn);
    context.check_asked(&turn, &heading).await?;
    let name = artifact(arm, context.break_index);
    context.keep(&name, "text/markdown", &turn.text).await?;
    if arm == Arm::Post {
        context.reach(3);
    }
    Ok(())
}
