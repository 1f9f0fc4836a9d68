//! What a run was made of, so that it can be made again: an artifact of every run.

use std::collections::BTreeMap;

use entity::agent_run;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use super::running::{Running, seed};
use crate::job::StageError;
use crate::settings::agents::origin;

/// The artifact's name.
pub(crate) const MANIFEST: &str = "manifest.json";

impl Running {
    /// Stores the manifest: whole, for people, and what must be the same, with the run.
    pub(crate) async fn keep_manifest(&mut self, program: &str) -> Result<(), StageError> {
        let text = serde_json::to_string_pretty(&self.manifest(program))?;
        self.keep(MANIFEST, "application/json", &text).await?;
        let change = agent_run::ActiveModel {
            manifest: Set(Some(self.comparable())),
            ..self.progress_row()
        };
        self.write(change, Vec::new()).await
    }

    /// What must be the same in two runs for their figures to be averaged, whatever pull request
    /// they are of.
    fn comparable(&self) -> Value {
        json!({
            "instrument_version": evaluation::INSTRUMENT_VERSION,
            "agent_version": self.version,
            "model": self.model,
            "prompt_hash": prompts::version(),
            "trigger": self.task.trigger,
            "seal_before_break": self.task.seal_before_break,
            "breaks": self.task.breaks,
            "probes_per_prompt": self.task.probes_per_prompt,
            "baseline": if self.forks() { "fork" } else { "split" },
            "sandbox": self.worker.sandbox.report().words,
        })
    }

    fn manifest(&self, program: &str) -> Value {
        let (profile, plan) = (self.adapter.profile(), self.plan());
        let settings = &self.worker.settings;
        let environment = settings.agents.environment(profile);
        // Where its models are asked; the other variables may be keys.
        let endpoints: BTreeMap<&String, String> = environment
            .iter()
            .filter(|(name, _)| name.ends_with("_BASE_URL"))
            .map(|(name, url)| (name, origin(url)))
            .collect();
        json!({
            "schema": 1,
            "instrument_version": evaluation::INSTRUMENT_VERSION,
            "orchestrator_version": env!("CARGO_PKG_VERSION"),
            "agent": {
                "name": self.who.agent,
                "version": self.version,
                "program": program,
                "model": self.model,
                "capabilities": profile.capabilities,
                "environment": environment.keys().collect::<Vec<_>>(),
                "endpoints": endpoints,
                "model_stub": self.figures.model_stub,
            },
            "trial": self.who.trial,
            "attempt": self.job.lease.attempt,
            "seed": self.task.seed,
            "run_seed": seed(self.task.seed, &self.who).to_string(),
            "repo": self.task.repo,
            "base": self.material.pull_request.base,
            "head": self.material.pull_request.head,
            "probe_set_hash": self.task.probe_set_hash,
            "prompt_hash": prompts::version(),
            "trigger": self.task.trigger,
            "seal_before_break": self.task.seal_before_break,
            "breaks": self.task.breaks,
            "probes_per_prompt": self.task.probes_per_prompt,
            "open_questions": self.task.open_questions,
            "plan": {
                "by_itself": plan.by_itself,
                "forced": plan.forced,
                "manual": plan.manual,
                "seal_forced": plan.seal_forced,
                "seal_manual": plan.seal_manual,
                "reads_on": plan.reads_on,
            },
            "context_tokens": self.context_tokens,
            "break_size": self.break_size(),
            "sandbox": self.worker.sandbox.report(),
            "limits": {
                "turns": settings.max_turns,
                "turn_seconds": settings.turn_timeout.as_secs(),
                "run_seconds": settings.run_timeout.as_secs(),
            },
        })
    }
}
