//! The seal: no workspace, no tools, no compaction; and the consequences of breaking it.

use agents::adapter::Turn;
use domain::vocabulary::Level;
use entity::agent_run;
use platform::events::Event;
use sea_orm::ActiveValue::Set;

use crate::job_error::JobError;
use crate::run::context::RunContext;

/// Values of the canary in the statistics.
const UNSEEN: &str = "unseen";
const SEEN: &str = "seen";

/// Reason why a run is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breach {
    /// A tool was used.
    ToolCall,
    /// The canary was seen without a reported tool call.
    Canary,
    /// The conversation was compacted while it answered a probe, so the answer belongs to no arm.
    Compaction,
}

impl Breach {
    fn as_str(self) -> &'static str {
        match self {
            Self::ToolCall => "tool_call",
            Self::Canary => "canary",
            Self::Compaction => "compaction",
        }
    }
}

impl RunContext {
    /// Returns how strictly the asked sessions are sealed.
    pub(super) fn seal_kind(&self) -> &'static str {
        let can = self.adapter.profile().capabilities;
        if !can.fork {
            // Asked in the main line, which keeps its tools. They find only the canary.
            "workspace"
        } else if can.tools_off {
            "full"
        } else {
            // Tools are offered and refused.
            "permissions"
        }
    }

    /// Seals the run: the workspace is empty, and a tool call is a violation.
    pub(crate) async fn seal(&mut self) -> Result<(), JobError> {
        self.recorder.flush().await?;
        self.work_dir.empty_workspace().await?;
        self.canary.write(&self.work_dir.workspace()).await?;
        self.stats.canary.get_or_insert_with(|| UNSEEN.to_owned());
        self.recorder.seal(true);
        Ok(())
    }

    /// Restores the workspace, because the run continues to its next break.
    pub(crate) async fn unseal(&mut self) -> Result<(), JobError> {
        self.recorder.flush().await?;
        self.work_dir.empty_workspace().await?;
        self.recorder.seal(false);
        self.fill_workspace().await
    }

    /// Checks whether the turn of a question kept the seal and was not compacted.
    pub(crate) async fn check_asked(&mut self, turn: &Turn, heading: &str) -> Result<(), JobError> {
        self.check_seal(turn).await?;
        if turn.compactions.is_empty() {
            return Ok(());
        }
        let what = format!("a compaction of its own ({heading})");
        self.breach(Breach::Compaction, what).await
    }

    /// Checks whether a sealed turn kept the seal. It may be the turn that compacts.
    pub(crate) async fn check_seal(&mut self, turn: &Turn) -> Result<(), JobError> {
        self.canary.inspect(turn.text.as_bytes());
        let seen = self.canary.seen() == Some(true);
        if seen {
            self.stats.canary = Some(SEEN.to_owned());
        }
        match turn.tool_calls.first() {
            Some(call) => self.breach(Breach::ToolCall, call.tool.clone()).await,
            None if seen => {
                let what = "a file of the sealed workspace (its canary was read)".to_owned();
                self.breach(Breach::Canary, what).await
            }
            None => Ok(()),
        }
    }

    /// Makes the run void. The first reason is kept.
    async fn breach(&mut self, breach: Breach, what: String) -> Result<(), JobError> {
        if self.seal_broken {
            return Ok(());
        }
        self.seal_broken = true;
        self.stats.void_reason = Some(breach.as_str().to_owned());
        let event = Event::SealBroken {
            agent: self.identity.agent.clone(),
            trial: self.identity.trial,
            tool: what,
        };
        let event = self.identity.event(Level::Error, event);
        let change = agent_run::ActiveModel {
            seal_broken: Set(true),
            ..self.progress_row()
        };
        self.write(change, vec![event]).await
    }
}
