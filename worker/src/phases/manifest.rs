//! What a run was made of, so that it can be made again: an artifact of every run.

use serde_json::{Value, json};

use super::running::{Running, seed};
use crate::job::StageError;

/// The artifact's name.
pub(crate) const MANIFEST: &str = "manifest.json";

impl Running {
    /// Stores the manifest.
    pub(crate) async fn keep_manifest(&self, program: &str) -> Result<(), StageError> {
        let text = serde_json::to_string_pretty(&self.manifest(program))?;
        self.keep(MANIFEST, "application/json", &text).await
    }

    fn manifest(&self, program: &str) -> Value {
        let (profile, plan) = (self.adapter.profile(), self.plan());
        let settings = &self.worker.settings;
        json!({
            "schema": 1,
            "instrument_version": evaluation::INSTRUMENT_VERSION,
            "orchestrator_version": env!("CARGO_PKG_VERSION"),
            "agent": {
                "name": self.who.agent,
                "version": self.version,
                "program": program,
                "model": profile.default_model,
                "capabilities": profile.capabilities,
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
