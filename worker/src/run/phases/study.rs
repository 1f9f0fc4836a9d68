//! The study: the agent reads the pull request in its workspace.

use agents::adapter::Access;
use prompts::{Prompt, Study};

use crate::job_error::JobError;
use crate::run::context::{RunContext, Session, phase};
use crate::run::reading_plan::STUDY_FILES;

pub(crate) async fn run_study(context: &mut RunContext) -> Result<Session, JobError> {
    context.enter_phase(phase::STUDY).await?;
    let spec = context.spec(Access::Workspace).await?;
    let mut main = context.adapter.open(spec).await?;
    let files = STUDY_FILES.map(str::to_owned);
    let text = Study {
        repo: &context.task.repo,
        files: &files,
    }
    .render()?;
    let turn = context
        .prompt_main_line(&mut main, phase::STUDY, &text)
        .await?;
    if !turn.compactions.is_empty() {
        return Err(too_small(context));
    }
    context.stats.initial_tokens = turn.usage.map(|usage| usage.context);
    context.reach_milestone(1);
    Ok(main)
}

/// Returns the error of a compaction before the end of the teaching.
pub(crate) fn too_small(context: &RunContext) -> JobError {
    let tokens = context.context_tokens;
    JobError::budget(format!(
        "the context of {tokens} tokens was compacted before the teaching was over, so there is \
         nothing to compare with; use fewer files (max_files) or a larger context \
         (MAX_CONTEXT_TOKENS, target_context_tokens)"
    ))
}
