//! The first turn: the agent reads the pull request in its workspace.

use agents::adapter::Access;
use prompts::{Prompt, Study};

use super::reading::STUDY_FILES;
use super::running::{Running, Session, phase};
use crate::job::StageError;

pub(crate) async fn study(running: &mut Running) -> Result<Session, StageError> {
    running.enter(phase::STUDY).await?;
    let spec = running.spec(Access::Workspace).await?;
    let mut main = running.adapter.open(spec).await?;
    let files = STUDY_FILES.map(str::to_owned);
    let text = Study {
        repo: &running.task.repo,
        files: &files,
    }
    .render()?;
    let turn = running.say(&mut main, phase::STUDY, &text).await?;
    if !turn.compactions.is_empty() {
        return Err(too_small(running));
    }
    running.figures.initial_tokens = turn.usage.map(|usage| usage.context);
    running.reach(1);
    Ok(main)
}

/// The break came before everything was said that is asked for.
pub(crate) fn too_small(running: &Running) -> StageError {
    let tokens = running.context_tokens;
    StageError::budget(format!(
        "the context of {tokens} tokens was compacted before the teaching was over, so there is \
         nothing to compare with; use fewer files (max_files) or a larger context \
         (MAX_CONTEXT_TOKENS, target_context_tokens)"
    ))
}
