//! Sessions of a run: creating, saving and resuming them.

use agents::adapter::{Access, Limits, SessionSpec};
use agents::event::Compaction;
use entity::agent_run;
use sea_orm::ActiveValue::Set;
use serde_json::json;

use crate::answer_key::write_answer_key;
use crate::job_error::JobError;
use crate::run::checkpoint::{SavedRun, SavedStage};
use crate::run::context::{BrokenSessions, RunContext, Session, run_seed};

impl RunContext {
    /// Returns the specification of a new session. Each session gets its own HOME.
    pub(crate) async fn spec(&mut self, access: Access) -> Result<SessionSpec, JobError> {
        let home = self.work_dir.home(&self.homes.to_string()).await?;
        self.homes += 1;
        write_answer_key(self.adapter.profile(), &self.material, &home).await?;
        let workspace = match access {
            Access::Workspace => Some(self.work_dir.workspace()),
            Access::Sealed => None,
        };
        Ok(SessionSpec {
            home,
            workspace,
            access,
            context_tokens: Some(self.context_tokens),
            may_compact: self.plan().by_itself,
            seed: run_seed(self.task.seed, &self.identity),
            environment: self
                .worker
                .settings
                .agents
                .environment(self.adapter.profile()),
            limits: Limits {
                turn: self.worker.settings.turn_timeout,
                ..Limits::default()
            },
            sandbox: self.worker.sandbox.clone(),
            raw: self.raw.sink(),
            events: self.recorder.agent_events(),
            cancel: self.cancel.clone(),
        })
    }

    /// Saves a checkpoint, if the adapter supports it. Sessions are not shared between threads,
    /// hence the exclusive references.
    pub(crate) async fn save(
        &mut self,
        stage: SavedStage,
        main: &mut Session,
        snapshot: Option<&mut Session>,
        compaction: Option<Compaction>,
    ) -> Result<(), JobError> {
        if !self.adapter.profile().capabilities.resume {
            return Ok(());
        }
        let snapshot = match snapshot {
            Some(snapshot) => Some(snapshot.checkpoint().await?),
            None => None,
        };
        let saved = SavedRun {
            stage,
            break_index: self.break_index,
            main: main.checkpoint().await?,
            snapshot,
            compaction,
            transcript: self.transcript.text().to_owned(),
            stats: self.stats.clone(),
            milestones: self.milestones,
        };
        let name = format!(".checkpoint-{}", stage.as_str());
        let bytes = serde_json::to_vec(&saved)?.into();
        self.worker
            .store_private(&self.job, Some(self.identity.run), &name, bytes)
            .await?;
        let change = agent_run::ActiveModel {
            checkpoint: Set(Some(json!({"stage": stage.as_str(), "artifact": name}))),
            ..self.progress_row()
        };
        self.write(change, Vec::new()).await
    }

    /// Resumes the session of a checkpoint before the break.
    pub(crate) async fn resume_taught(&mut self, saved: &SavedRun) -> Result<Session, JobError> {
        let spec = self.spec(Access::Workspace).await?;
        Ok(self.adapter.resume(spec, &saved.main).await?)
    }

    /// Resumes the sessions of a checkpoint after the break.
    pub(crate) async fn resume_broken(
        &mut self,
        saved: &SavedRun,
    ) -> Result<BrokenSessions, JobError> {
        // The run may continue to another break, so only forks of the main line are sealed.
        let access = if saved.break_index < self.breaks_planned() {
            Access::Workspace
        } else {
            Access::Sealed
        };
        let spec = self.spec(access).await?;
        let main = self.adapter.resume(spec, &saved.main).await?;
        let snapshot = match &saved.snapshot {
            Some(snapshot) => {
                let spec = self.spec(Access::Sealed).await?;
                Some(self.adapter.resume(spec, snapshot).await?)
            }
            None => None,
        };
        Ok(BrokenSessions { main, snapshot })
    }
}
