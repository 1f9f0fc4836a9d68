//! Free recall after the break: what the agent says of the pull request when asked for nothing in
//! particular.

use agents::adapter::Access;
use prompts::{MemoryOnly, Prompt};

use super::running::{Running, Session, phase};
use crate::job::StageError;

pub(crate) async fn recall(running: &mut Running, main: &mut Session) -> Result<(), StageError> {
    running.enter(phase::MEMORY_ONLY).await?;
    let text = MemoryOnly {}.render()?;
    let mut session = main.fork(Access::Sealed).await?;
    let turn = session.prompt(&text).await?;
    session.close().await;
    running.note(phase::MEMORY_ONLY, &text, &turn);
    running.check_seal(&turn).await?;
    running
        .keep("free_recall", "text/markdown", &turn.text)
        .await?;
    running.reach(3);
    Ok(())
}
