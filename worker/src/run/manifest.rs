//! The manifest of a run: everything that is needed to repeat it. An artifact of every run.

use std::collections::BTreeMap;

use agents::adapter::Profile;
use domain::vocabulary::Dimension;
use entity::{agent_run, task};
use evaluation::leaderboard::{GENERATED, IMPORTED, PROBES, RUBRIC};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::job_context::Worker;
use crate::job_error::JobError;
use crate::run::context::{RunContext, breaks_planned, run_seed};
use crate::settings::agents::origin;

/// Name of the artifact.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Returns the dimensions asked for, in their own order instead of the order of the request.
fn rubric(asked: &Value) -> String {
    let asked: Vec<&str> = asked
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let known = Dimension::ALL.map(Dimension::as_str);
    let known: Vec<&str> = known
        .into_iter()
        .filter(|one| asked.contains(one))
        .collect();
    known.join(", ")
}

/// Setup of a run, as far as it is known before the run begins.
pub(crate) struct RunSetup<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) task: &'a task::Model,
    pub(crate) profile: &'a Profile,
    /// Version of the agent's program.
    pub(crate) version: &'a str,
    pub(crate) model: Option<&'a str>,
}

impl RunSetup<'_> {
    /// Returns the conditions that must be equal in two runs whose figures are averaged, on any
    /// pull request.
    ///
    /// Of the context only the requested size counts. The size that the material needs, and the
    /// size of the break, differ between pull requests.
    pub(crate) fn comparable(&self) -> Value {
        let settings = &self.worker.settings;
        json!({
            "instrument_version": evaluation::INSTRUMENT_VERSION,
            "agent_version": self.version,
            "model": self.model,
            "prompt_hash": prompts::version(),
            "trigger": self.task.trigger,
            "seal_before_break": self.task.seal_before_break,
            "breaks": breaks_planned(self.task, self.profile),
            "configuration_hash": settings.agents.configuration_hash(self.profile),
            "probes_per_prompt": self.task.probes_per_prompt,
            "baseline": if self.profile.capabilities.fork { "fork" } else { "split" },
            "sandbox": self.worker.sandbox.report().words,
            (RUBRIC): rubric(&self.task.rubric),
            "context_tokens": self.task.target_context_tokens.map_or_else(
                || "by the material".to_owned(),
                |target| target.to_string(),
            ),
            "max_context_tokens": settings.max_context_tokens,
            "max_turns": settings.max_turns,
            "turn_seconds": settings.turn_timeout.as_secs(),
            "run_seconds": settings.run_timeout.as_secs(),
            (PROBES): if self.task.question_bank.is_some() { IMPORTED } else { GENERATED },
        })
    }
}

impl RunContext {
    /// Stores the whole manifest as an artifact, and the comparable conditions in the run's row.
    pub(crate) async fn store_manifest(&mut self, program: &str) -> Result<(), JobError> {
        let text = serde_json::to_string_pretty(&self.manifest(program))?;
        self.store_text(MANIFEST, "application/json", &text).await?;
        let change = agent_run::ActiveModel {
            manifest: Set(Some(self.comparable())),
            ..self.progress_row()
        };
        self.write(change, Vec::new()).await
    }

    pub(super) fn comparable(&self) -> Value {
        RunSetup {
            worker: &self.worker,
            task: &self.task,
            profile: self.adapter.profile(),
            version: &self.version,
            model: self.model.as_deref(),
        }
        .comparable()
    }

    fn manifest(&self, program: &str) -> Value {
        let (profile, plan) = (self.adapter.profile(), self.plan());
        let settings = &self.worker.settings;
        let environment = settings.agents.environment(profile);
        // Addresses of its models. Other variables may be keys.
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
                "name": self.identity.agent,
                "version": self.version,
                "program": program,
                "model": self.model,
                "capabilities": profile.capabilities,
                "configuration_hash": settings.agents.configuration_hash(profile),
                "environment": environment.keys().collect::<Vec<_>>(),
                "endpoints": endpoints,
                "model_stub": self.stats.model_stub,
            },
            "trial": self.identity.trial,
            "attempt": self.job.lease.attempt,
            "seed": self.task.seed,
            "run_seed": run_seed(self.task.seed, &self.identity).to_string(),
            "repo": self.task.repo,
            "base": self.material.pull_request.base,
            "head": self.material.pull_request.head,
            "probe_set_hash": self.task.probe_set_hash,
            "prompt_hash": prompts::version(),
            "trigger": self.task.trigger,
            "seal_before_break": self.task.seal_before_break,
            "breaks": self.breaks_planned(),
            "breaks_asked": self.task.breaks,
            "seal": self.stats.seal,
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
