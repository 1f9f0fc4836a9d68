//! Free recall: what the agent says of the pull request when asked for nothing in particular. After
//! the break; and just before it, in a copy, so that there is something to compare it with.

use agents::adapter::Access;
use domain::vocabulary::Arm;
use prompts::{MemoryOnly, Prompt};

use super::breaking::of_break;
use super::running::{Running, Session, phase};
use crate::job::StageError;

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
    running: &mut Running,
    session: &mut Session,
    arm: Arm,
) -> Result<(), StageError> {
    if arm == Arm::Post {
        running.enter(phase::MEMORY_ONLY).await?;
    }
    let text = MemoryOnly {}.render()?;
    let turn = if running.forks() {
        let mut copy = session.fork(Access::Sealed).await?;
        let turn = copy.prompt(&text).await?;
        copy.close().await;
        turn
    } else {
        let turn = session.prompt(&text).await?;
        running.main_line(&turn);
        turn
    };
    let heading = format!("{} of {}", phase::MEMORY_ONLY, arm.as_str());
    running.note(&heading, &text, &turn);
    running.check_asked(&turn, &heading).await?;
    let name = artifact(arm, running.break_index);
    running.keep(&name, "text/markdown", &turn.text).await?;
    if arm == Arm::Post {
        running.reach(3);
    }
    Ok(())
}
