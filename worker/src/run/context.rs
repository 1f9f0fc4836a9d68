//! State of a run while it lasts: folders, sessions, streams and statistics, and the writes that
//! phases share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agents::adapter::{AgentAdapter, AgentSession, Profile, SessionSpec, Turn};
use chrono::Utc;
use domain::vocabulary::Level;
use entity::{ProbeId, agent_run, task};
use evaluation::probe::Probe;
use platform::events::{Event, NewEvent};
use results::run_stats::{Bill, ContextPoint, FIRST_BREAK, PlantedPart, RunStats};
use sea_orm::{ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::job_context::{ClaimedJob, TextArtifact, Worker};
use crate::job_error::JobError;
use crate::material::{Material, planned_context};
use crate::run::break_plan::BreakPlan;
use crate::run::canary::Canary;
use crate::run::checkpoint::{SavedRun, SavedStage};
use crate::run::event_recorder::EventRecorder;
use crate::run::raw_stream::RawFile;
use crate::run::transcript::Transcript;
use crate::run::workdir::WorkDir;
use crate::run_identity::RunIdentity;

/// Names of the phases, as stored and sent.
pub(crate) mod phase {
    pub(crate) const PREPARE: &str = "prepare";
    pub(crate) const STUDY: &str = "pre_compression";
    pub(crate) const DEEP_DIVE: &str = "deep_dive";
    pub(crate) const BREAK: &str = "break";
    pub(crate) const BASELINE: &str = "baseline";
    pub(crate) const MEMORY_ONLY: &str = "memory_only";
    pub(crate) const EVALUATING: &str = "evaluating";
    pub(crate) const COLD: &str = "cold";
    pub(crate) const JUDGING: &str = "judging";
}

/// Milestones in order, with the names that clients of the first service know.
const MILESTONES: [&str; 6] = [
    "repo_loaded",
    "pre_compression",
    "deep_dive_complete",
    "memory_only",
    "evaluation_complete",
    "session_complete",
];

/// A session of an agent.
pub(crate) type Session = Box<dyn AgentSession>;

/// The sessions after a break.
pub(crate) struct BrokenSessions {
    /// The session that was compacted.
    pub(crate) main: Session,
    /// Session just before the break, `None` if the agent cannot fork.
    pub(crate) snapshot: Option<Session>,
}

/// State of one run while it lasts.
pub(crate) struct RunContext {
    pub(crate) worker: Arc<Worker>,
    pub(crate) job: ClaimedJob,
    pub(crate) identity: RunIdentity,
    pub(crate) task: task::Model,
    pub(crate) run: agent_run::Model,
    pub(crate) adapter: Arc<dyn AgentAdapter>,
    pub(crate) version: String,
    /// Model that the agent asks, as far as it is configured.
    pub(crate) model: Option<String>,
    pub(crate) material: Material,
    /// Probes in the order of the generator.
    pub(crate) probes: Vec<(ProbeId, Probe)>,
    pub(crate) work_dir: WorkDir,
    pub(crate) recorder: EventRecorder,
    pub(crate) stats: RunStats,
    pub(crate) transcript: Transcript,
    pub(crate) context_tokens: u64,
    pub(super) raw: RawFile,
    /// Token that is cancelled with the job, and when the run is over.
    pub(super) cancel: CancellationToken,
    phase: Option<(&'static str, Instant)>,
    pub(super) milestones: usize,
    pub(super) homes: u32,
    pub(crate) seal_broken: bool,
    /// Number of the current or next break, from 1.
    pub(crate) break_index: i32,
    /// Breaks so far, as stored.
    pub(crate) breaks: Vec<Value>,
    pub(super) canary: Arc<Canary>,
    /// Cost of the task's other runs when last checked, in US dollars.
    pub(super) spent_elsewhere: f64,
}

/// Returns the number of planned breaks. A split baseline allows one.
pub(super) fn breaks_planned(task: &task::Model, profile: &Profile) -> i32 {
    if profile.capabilities.fork {
        task.breaks
    } else {
        FIRST_BREAK
    }
}

impl RunContext {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is an input that the job has loaded"
    )]
    pub(crate) async fn start(
        worker: Arc<Worker>,
        job: ClaimedJob,
        task: task::Model,
        run: agent_run::Model,
        adapter: Arc<dyn AgentAdapter>,
        version: String,
        material: Material,
        probes: Vec<(ProbeId, Probe)>,
    ) -> Result<Self, JobError> {
        let identity = RunIdentity::from(&run);
        let name = format!("{}-{}", run.id, job.lease.epoch);
        let run_dir = WorkDir::create(worker.settings.work_dir.join("runs").join(name)).await?;
        let recorder = EventRecorder::start(Arc::clone(&worker), job.clone(), identity.clone());
        let canary = Arc::new(Canary::new());
        let redactor = worker.platform.redactor.clone();
        let raw = RawFile::create(run_dir.raw_stream(), redactor, Arc::clone(&canary));
        let context_tokens = planned_context(
            worker.settings.max_context_tokens,
            task.target_context_tokens,
            &material.pull_request,
            &material.probe_set,
            adapter.profile().control,
        );
        let cancel = job.cancel.child_token();
        let sandbox = worker.sandbox.report().words;
        let model = worker.settings.agents.model(adapter.profile());
        let mut context = Self {
            worker,
            job,
            identity,
            task,
            run,
            adapter,
            version,
            model,
            material,
            probes,
            work_dir: run_dir,
            recorder,
            stats: RunStats {
                max_tokens_configured: context_tokens,
                detection_method: "agent_event".to_owned(),
                sandbox,
                ..RunStats::default()
            },
            transcript: Transcript::default(),
            context_tokens,
            raw,
            cancel,
            phase: None,
            milestones: 0,
            homes: 0,
            seal_broken: false,
            break_index: FIRST_BREAK,
            breaks: Vec::new(),
            canary,
            spent_elsewhere: 0.0,
        };
        context.stats.seal = Some(context.seal_kind().to_owned());
        context.stats.breaks_planned = Some(context.breaks_planned().unsigned_abs());
        context.stats.model_stub = context
            .worker
            .settings
            .agents
            .asks_stub(context.adapter.profile());
        context.stats.bill = Bill::after(&context.run.stats);
        if context.run.started_at.is_some() || Bill::is_begun(&context.run.stats) {
            // The usage of an earlier attempt was billed and is unknown. A run that a user retried
            // has not started yet.
            context.stats.bill.mark_lost();
        }
        context.enter_phase(phase::PREPARE).await?;
        Ok(context)
    }

    /// Restores the measurements of an earlier attempt.
    pub(crate) fn restore(&mut self, saved: SavedRun) {
        // After a break the answers of this break exist, so a broken seal stays broken. A run that
        // starts before the break has no answers yet.
        self.seal_broken = saved.stage == SavedStage::Broken && self.run.seal_broken;
        if saved.stage == SavedStage::Broken {
            self.break_index = saved.break_index;
            self.breaks = self.run.breaks.as_array().cloned().unwrap_or_default();
            // A lost attempt may have reported the next break without saving it. That break comes
            // again.
            let after = i64::from(saved.break_index);
            self.breaks
                .retain(|seen| seen["break"].as_i64().is_none_or(|index| index <= after));
        }
        let RunStats { bill, .. } = std::mem::replace(&mut self.stats, saved.stats);
        // The cost of the lost attempt after its checkpoint remains.
        self.stats.bill.known_usd = self.stats.bill.known_usd.max(bill.known_usd);
        if self.seal_broken {
            let stored = |name: &str| self.run.stats[name].as_str().map(str::to_owned);
            let (canary, void_reason) = (stored("canary"), stored("void_reason"));
            self.stats.canary = canary.or(self.stats.canary.take());
            self.stats.void_reason = void_reason.or(self.stats.void_reason.take());
        }
        // The usage of the lost attempt after its checkpoint was billed and is unknown.
        self.stats.bill.mark_lost();
        self.transcript = Transcript::restored(saved.transcript);
        self.milestones = self.milestones.max(saved.milestones);
    }

    /// Enters a phase and ends the previous one.
    pub(crate) async fn enter_phase(&mut self, name: &'static str) -> Result<(), JobError> {
        if self.phase.is_some_and(|(current, _)| current == name) {
            return Ok(());
        }
        self.check_task_cost().await?;
        let mut events = self.phase_done();
        self.phase = Some((name, Instant::now()));
        let started = Event::PhaseStarted {
            agent: self.identity.agent.clone(),
            trial: self.identity.trial,
            phase: name.to_owned(),
        };
        events.push(self.identity.event(Level::Info, started));
        let change = agent_run::ActiveModel {
            phase: Set(Some(name.to_owned())),
            ..self.progress_row()
        };
        self.write(change, events).await
    }

    /// Ends the current phase.
    pub(crate) async fn leave_phase(&mut self) -> Result<(), JobError> {
        let events = self.phase_done();
        let change = self.progress_row();
        self.write(change, events).await
    }

    fn phase_done(&mut self) -> Vec<NewEvent> {
        let Some((name, since)) = self.phase.take() else {
            return Vec::new();
        };
        let duration_ms = millis(since.elapsed());
        *self.stats.phase_ms.entry(name.to_owned()).or_default() += duration_ms;
        let done = Event::PhaseDone {
            agent: self.identity.agent.clone(),
            trial: self.identity.trial,
            phase: name.to_owned(),
            duration_ms,
        };
        vec![self.identity.event(Level::Info, done)]
    }

    /// Records a milestone. The next write stores it.
    pub(crate) fn reach_milestone(&mut self, milestone: usize) {
        self.milestones = self.milestones.max(milestone + 1);
    }

    /// Returns the columns that every write of the run's row updates.
    pub(crate) fn progress_row(&self) -> agent_run::ActiveModel {
        let milestones: BTreeMap<String, &str> = MILESTONES
            .iter()
            .take(self.milestones)
            .enumerate()
            .map(|(number, name)| (format!("milestone_{number}"), *name))
            .collect();
        agent_run::ActiveModel {
            milestones: Set(json!(milestones)),
            stats: Set(json!(self.stats)),
            updated_at: Set(Utc::now()),
            ..Default::default()
        }
    }

    /// Changes the run's row and appends events, after all earlier events.
    pub(crate) async fn write(
        &mut self,
        change: agent_run::ActiveModel,
        events: Vec<NewEvent>,
    ) -> Result<(), JobError> {
        self.recorder.flush().await?;
        let transaction = self.worker.begin(&self.job).await?;
        self.write_in(&transaction, change, &events).await?;
        transaction.commit().await?;
        self.worker.notify(self.identity.task, &[]).await;
        Ok(())
    }

    /// Does the same in a transaction of the caller.
    pub(crate) async fn write_in(
        &self,
        transaction: &DatabaseTransaction,
        change: agent_run::ActiveModel,
        events: &[NewEvent],
    ) -> Result<(), JobError> {
        agent_run::Entity::update_many()
            .set(change)
            .filter(agent_run::Column::Id.eq(self.identity.run))
            .exec(transaction)
            .await?;
        let redactor = &self.worker.platform.redactor;
        platform::events::append(transaction, self.identity.task, events, redactor).await?;
        Ok(())
    }

    /// Sends a prompt on the main line and records the turn.
    pub(crate) async fn prompt_main_line(
        &mut self,
        session: &mut Session,
        heading: &str,
        text: &str,
    ) -> Result<Turn, JobError> {
        let turn = session.prompt(text).await?;
        self.record_turn(heading, text, &turn);
        self.record_context(turn.usage.map(|usage| usage.context), None);
        self.check_task_cost().await?;
        let event = Event::Turn {
            agent: self.identity.agent.clone(),
            trial: self.identity.trial,
            turn: self.stats.prompts,
            context: turn.usage.map(|usage| usage.context),
            window: turn.usage.and_then(|usage| usage.window),
        };
        self.recorder
            .record(self.identity.event(Level::Info, event))
            .await;
        Ok(turn)
    }

    /// Records the context size of the main line. After a break the earlier size is meaningless,
    /// even if the new one is unknown.
    pub(crate) fn record_context(&mut self, tokens: Option<u64>, break_index: Option<i32>) {
        if tokens.is_some() || break_index.is_some() {
            self.stats.total_tokens = tokens;
        }
        let turn = u32::try_from(self.stats.context.len() + 1).unwrap_or(u32::MAX);
        self.stats.context.push(ContextPoint {
            turn,
            phase: self.phase.map_or("", |(name, _)| name).to_owned(),
            tokens,
            break_index: break_index.map(i32::unsigned_abs),
        });
    }

    /// Records the items that the last turn of the main line taught.
    pub(crate) fn record_planted(&mut self, probes: BTreeSet<String>) {
        if let Some(last) = self.stats.context.last() {
            self.stats.planted.push(PlantedPart {
                turn: last.turn,
                tokens: last.tokens,
                probes: probes.into_iter().collect(),
            });
        }
    }

    /// Returns a warning about the run, for people.
    pub(crate) fn warning_event(&self, message: String) -> NewEvent {
        let event = Event::Progress {
            stage: format!("{} #{}", self.identity.agent, self.identity.trial),
            message,
            percent: None,
        };
        self.identity.event(Level::Warning, event)
    }

    /// Records the context size after a turn of the main line that has no point in the plot.
    pub(crate) fn record_main_line(&mut self, turn: &Turn) {
        if let Some(usage) = turn.usage {
            self.stats.total_tokens = Some(usage.context);
        }
    }

    /// Adds a turn to the transcript and the statistics.
    pub(crate) fn record_turn(&mut self, heading: &str, prompt: &str, turn: &Turn) {
        self.transcript.add(heading, prompt, turn);
        self.stats.prompts += 1;
        self.stats.tool_calls += u32::try_from(turn.tool_calls.len()).unwrap_or(u32::MAX);
        self.stats.bill.add(turn.tokens, turn.cost);
    }

    /// Stores a text of the run.
    pub(crate) async fn store_text(
        &self,
        name: &str,
        media_type: &str,
        text: &str,
    ) -> Result<(), JobError> {
        let text = TextArtifact {
            name,
            media_type,
            text,
        };
        self.worker
            .store_texts(&self.job, Some(self.identity.run), &[text])
            .await
    }

    /// Stores a document of the run that only workers read.
    pub(crate) async fn store_private(
        &self,
        name: &str,
        document: &impl Serialize,
    ) -> Result<(), JobError> {
        let bytes = serde_json::to_vec(document)?.into();
        self.worker
            .store_private(&self.job, Some(self.identity.run), name, bytes)
            .await
    }

    /// Returns whether the agent can fork a conversation.
    pub(crate) fn can_fork(&self) -> bool {
        self.adapter.profile().capabilities.fork
    }

    /// Returns the number of planned breaks.
    pub(crate) fn breaks_planned(&self) -> i32 {
        breaks_planned(&self.task, self.adapter.profile())
    }

    /// Returns the plan for the break.
    pub(crate) fn plan(&self) -> BreakPlan {
        BreakPlan::new(
            self.task.trigger,
            self.task.seal_before_break,
            self.task.target_context_tokens.is_some(),
            self.adapter.profile().capabilities,
        )
    }

    /// Returns the context size, in tokens, at which the break should come: where programs compact
    /// by themselves.
    pub(crate) fn break_size(&self) -> u64 {
        SessionSpec::full_context(self.context_tokens)
    }

    /// Stores the transcript and the raw stream.
    pub(crate) async fn store_streams(&mut self) -> Result<(), JobError> {
        let raw = self.raw.finish().await?;
        self.worker
            .store_redacted(
                &self.job,
                Some(self.identity.run),
                "raw_stream.jsonl.gz",
                "application/gzip",
                raw,
            )
            .await?;
        self.store_text("transcript", "text/markdown", self.transcript.text())
            .await
    }

    /// Records that the usage of a failed turn is unknown.
    pub(crate) async fn mark_bill_lost(&mut self) -> Result<(), JobError> {
        self.stats.bill.mark_lost();
        let change = self.progress_row();
        self.write(change, Vec::new()).await
    }

    /// Ends all processes of the run and removes its folders.
    pub(crate) async fn clean_up(self) {
        self.cancel.cancel();
        self.work_dir.remove().await;
    }
}

/// Returns the seed of a run's random draws, the same on every worker.
pub(crate) fn run_seed(task_seed: i64, identity: &RunIdentity) -> u64 {
    let digest = Sha256::digest(format!("{task_seed}/{}/{}", identity.agent, identity.trial));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
