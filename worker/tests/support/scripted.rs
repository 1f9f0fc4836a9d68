//! An agent that follows a script: fail, hang, forget, wait at a gate. It runs in the test's
//! process; the control agents test real processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agents::adapter::{
    Access, AgentAdapter, AgentSession, Capabilities, Checkpoint, Endpoint, Presence, Profile,
    SessionSpec, Stream, Turn,
};
use agents::event::{AgentEvent, Compaction, CompactionTrigger, Proof, ToolCall, Usage};
use agents::failure::{Cause, Failure};
use agents::process::{self, Launch};
use async_trait::async_trait;
use domain::Cost;
use domain::pull_request::{ChangedFile, Content, FileStatus, PullRequest};
use domain::vocabulary::{CostSource, Dimension, JobState, RunStatus, TaskStatus};
use entity::{ProbeId, TaskId, probe, task};
use evaluation::probe::{
    Combine, GeneratorReport, Grader, Key, Part, Probe, ProbeKind, ProbeSet, Teaching, Version,
};
use platform::queue::{Work, enqueue_all};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use serde_json::json;
use testkit::builders;
use tokio::sync::{Notify, Semaphore};

use super::{Installation, repository};

/// Script of an agent.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Whether its compaction keeps nothing.
    pub(crate) forgets: bool,
    /// Whether it never compacts.
    pub(crate) never_breaks: bool,
    /// Whether it calls a tool while sealed.
    pub(crate) cheats: bool,
    /// Number of sessions that fail at their first prompt, and the cause.
    pub(crate) fail: Option<(u32, Cause)>,
    /// Whether it panics at its first prompt.
    pub(crate) panics: bool,
    /// Part of a prompt at which it hangs until it is killed.
    pub(crate) hang_at: Option<&'static str>,
    /// Whether it cannot fork.
    pub(crate) no_fork: bool,
    /// Whether it reads the sealed workspace without reporting a tool call, visible in its stream.
    pub(crate) leaks: bool,
    /// Cost of each turn, in US dollars.
    pub(crate) costs: Option<f64>,
    /// Whether it claims to be a control.
    pub(crate) control: bool,
    /// Part of a prompt at which it compacts by itself.
    pub(crate) compacts_at: Option<&'static str>,
    /// Whether and how it reads the sealed workspace at its own compact command.
    pub(crate) reads_at_compaction: Option<Read>,
    /// Part of a prompt at which it waits until the gate is opened.
    pub(crate) waits_at: Option<&'static str>,
    /// Number of the checkpoint at which it hangs until it is killed, from 1.
    pub(crate) hang_at_checkpoint: Option<u32>,
    /// Whether it never compacts by itself.
    pub(crate) manual_only: bool,
    /// Growth of its context per turn, instead of 1,000 tokens.
    pub(crate) grows: Option<u64>,
    /// Whether its sealed sessions keep their tools, which are then only refused.
    pub(crate) keeps_tools: bool,
    /// Folder that a program searches for answer keys in every session.
    pub(crate) pries: Option<PathBuf>,
}

/// Visibility of a forbidden read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// As a reported tool call.
    Told,
    /// In the program's stream only.
    Streamed,
}

pub(crate) struct ScriptedAdapter {
    profile: Profile,
    script: Script,
    /// Question → right answer.
    answers: BTreeMap<String, String>,
    opened: AtomicU32,
    checkpoints: Arc<AtomicU32>,
    /// Gate that is opened by adding permits.
    pub(crate) gate: Arc<Semaphore>,
    /// Notified by turns that reach the gate.
    pub(crate) waiting: Arc<Notify>,
    pub(crate) prompts: Arc<AtomicU32>,
    pub(crate) hanging: Arc<Notify>,
    pub(crate) killed: Arc<Notify>,
    /// Files with an answer key that its programs found.
    pub(crate) found: Arc<std::sync::Mutex<Vec<String>>>,
    /// Contents of the HOMEs that it was given.
    pub(crate) homes: Arc<std::sync::Mutex<Vec<Vec<String>>>>,
}

impl ScriptedAdapter {
    pub(crate) fn new(script: Script) -> Arc<Self> {
        let answers = probe_set()
            .probes
            .iter()
            .map(|probe| {
                let value = probe.key.versions[0].parts[0].value.clone();
                (probe.question.clone(), value)
            })
            .collect();
        Arc::new(Self {
            profile: Profile {
                name: "scripted".to_owned(),
                display_name: "Scripted".to_owned(),
                capabilities: Capabilities {
                    fork: !script.no_fork,
                    manual_compaction: !script.never_breaks,
                    auto_compaction: !script.manual_only,
                    forced_compaction: false,
                    resume: true,
                    usage: true,
                    tools_off: !script.keeps_tools,
                },
                install_hint: String::new(),
                control: script.control,
                environment: Vec::new(),
                default_model: None,
            },
            script,
            answers,
            opened: AtomicU32::new(0),
            checkpoints: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            waiting: Arc::default(),
            prompts: Arc::default(),
            hanging: Arc::default(),
            killed: Arc::default(),
            found: Arc::default(),
            homes: Arc::default(),
        })
    }

    fn session(&self, spec: SessionSpec, state: State) -> Box<dyn AgentSession> {
        let names = std::fs::read_dir(&spec.home)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        self.homes.lock().unwrap().push(names);
        let number = self.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let fail = self
            .script
            .fail
            .and_then(|(times, cause)| (number <= times).then_some(cause));
        Box::new(ScriptedSession {
            access: spec.access,
            spec,
            script: self.script.clone(),
            answers: self.answers.clone(),
            state,
            fail,
            checkpoints: Arc::clone(&self.checkpoints),
            gate: Arc::clone(&self.gate),
            waiting: Arc::clone(&self.waiting),
            prompts: Arc::clone(&self.prompts),
            hanging: Arc::clone(&self.hanging),
            killed: Arc::clone(&self.killed),
            found: Arc::clone(&self.found),
        })
    }
}

#[async_trait]
impl AgentAdapter for ScriptedAdapter {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn with_parameter(&self, agent: &str) -> Result<Arc<dyn AgentAdapter>, Failure> {
        Err(Failure::harness(format!("{agent} takes no parameter")))
    }

    async fn probe(&self) -> Presence {
        Presence::Installed {
            version: "1".to_owned(),
            program: "none".to_owned(),
        }
    }

    fn endpoint_environment(&self, _: &Endpoint) -> Option<BTreeMap<String, String>> {
        None
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn AgentSession>, Failure> {
        Ok(self.session(spec, State::default()))
    }

    async fn resume(
        &self,
        spec: SessionSpec,
        checkpoint: &Checkpoint,
    ) -> Result<Box<dyn AgentSession>, Failure> {
        let state = serde_json::from_slice(&checkpoint.state).unwrap();
        Ok(self.session(spec, state))
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    turns: u32,
    knows: bool,
}

struct ScriptedSession {
    spec: SessionSpec,
    access: Access,
    script: Script,
    answers: BTreeMap<String, String>,
    state: State,
    fail: Option<Cause>,
    checkpoints: Arc<AtomicU32>,
    gate: Arc<Semaphore>,
    waiting: Arc<Notify>,
    prompts: Arc<AtomicU32>,
    hanging: Arc<Notify>,
    killed: Arc<Notify>,
    found: Arc<std::sync::Mutex<Vec<String>>>,
}

impl ScriptedSession {
    /// Every key and every prepared material contains this word.
    async fn pry(&self, folder: &Path) -> Result<(), Failure> {
        let launch = Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), r#"grep -rls '"distractors"' "$ROOT""#.into()],
            folder: self.spec.home.clone(),
            readable: Vec::new(),
            home: self.spec.home.clone(),
            environment: BTreeMap::from([("ROOT".to_owned(), folder.display().to_string())]),
            input: Vec::new(),
        };
        let mut found = Vec::new();
        process::run(&launch, &self.spec, |line| {
            found.push(String::from_utf8_lossy(&line.bytes).into_owned());
            Ok(Vec::new())
        })
        .await?;
        self.found.lock().unwrap().extend(found);
        Ok(())
    }

    fn compacted(&mut self, trigger: CompactionTrigger) -> Compaction {
        self.state.knows &= !self.script.forgets;
        Compaction {
            trigger,
            tokens_before: Some(8_000),
            tokens_after: Some(500),
            summary: Some("short".to_owned()),
            proof: Proof::Reported,
            reinjected: Vec::new(),
        }
    }

    fn read_workspace(&self) {
        let Some(workspace) = &self.spec.workspace else {
            return;
        };
        for entry in std::fs::read_dir(workspace).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let read = std::fs::read(path).unwrap();
                self.spec.raw.line(Stream::Stdout, &read);
            }
        }
    }
}

fn call_of_a_tool() -> ToolCall {
    ToolCall {
        id: "1".to_owned(),
        tool: "read".to_owned(),
        target: "pull_request.diff".to_owned(),
    }
}

#[async_trait]
impl AgentSession for ScriptedSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.prompts.fetch_add(1, Ordering::SeqCst);
        if let Some(cause) = self.fail {
            return Err(Failure::new(cause, format!("told to fail with {cause:?}")));
        }
        assert!(!self.script.panics, "told to panic");
        if self.script.hang_at.is_some_and(|part| text.contains(part)) {
            self.hanging.notify_one();
            self.spec.cancel.cancelled().await;
            self.killed.notify_one();
            return Err(Failure::cancelled());
        }
        if self.script.waits_at.is_some_and(|part| text.contains(part)) {
            self.waiting.notify_one();
            let _through = self.gate.acquire().await.unwrap();
        }
        if let Some(folder) = &self.script.pries {
            self.pry(folder).await?;
        }
        let grows = self.script.grows.unwrap_or(1_000);
        let mut turn = Turn {
            usage: Some(Usage {
                context: u64::from(self.state.turns) * grows,
                window: Some(10_000),
            }),
            duration: Duration::from_millis(1),
            ..Turn::default()
        };
        turn.cost = self.script.costs.map(|usd| Cost {
            usd,
            source: CostSource::Program,
        });
        if self.script.leaks {
            self.read_workspace();
        }
        let compacts = self.script.compacts_at;
        if compacts.is_some_and(|part| text.contains(part)) {
            let compaction = self.compacted(CompactionTrigger::Auto);
            turn.compactions.push(compaction);
        }
        if let Some(value) = self
            .answers
            .iter()
            .find(|(question, _)| text.contains(question.as_str()))
            .map(|(_, value)| value)
        {
            if self.script.cheats && self.access == Access::Sealed {
                let call = call_of_a_tool();
                turn.tool_calls.push(call.clone());
                let _ = self.spec.events.send(AgentEvent::ToolCall(call)).await;
            }
            turn.text = if self.state.knows {
                format!("ANSWER: {value}")
            } else {
                "ANSWER: I don't recall".to_owned()
            };
            return Ok(turn);
        }
        self.state.turns += 1;
        self.state.knows = true;
        turn.text = "read it".to_owned();
        // Study, one teaching turn, one more turn; then the context is full. A sealed session never
        // compacts, whatever the script of its main line.
        let may = self.access == Access::Workspace && !self.script.manual_only;
        let by_itself = may && !self.script.never_breaks;
        if self.state.turns.is_multiple_of(4) && by_itself {
            let compaction = self.compacted(CompactionTrigger::Auto);
            turn.compactions.push(compaction);
        }
        Ok(turn)
    }

    async fn compact(&mut self, _: CompactionTrigger) -> Result<Turn, Failure> {
        let mut turn = Turn::default();
        match self.script.reads_at_compaction {
            Some(Read::Told) => turn.tool_calls.push(call_of_a_tool()),
            Some(Read::Streamed) => self.read_workspace(),
            None => {}
        }
        turn.compactions
            .push(self.compacted(CompactionTrigger::Manual));
        Ok(turn)
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        Ok(Box::new(Self {
            spec: self.spec.clone(),
            access,
            script: self.script.clone(),
            answers: self.answers.clone(),
            state: self.state.clone(),
            fail: self.fail,
            checkpoints: Arc::clone(&self.checkpoints),
            gate: Arc::clone(&self.gate),
            waiting: Arc::clone(&self.waiting),
            prompts: Arc::clone(&self.prompts),
            hanging: Arc::clone(&self.hanging),
            killed: Arc::clone(&self.killed),
            found: Arc::clone(&self.found),
        }))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        let number = self.checkpoints.fetch_add(1, Ordering::SeqCst) + 1;
        if self.script.hang_at_checkpoint == Some(number) {
            self.hanging.notify_one();
            self.spec.cancel.cancelled().await;
            return Err(Failure::cancelled());
        }
        Ok(Checkpoint {
            session_id: "one".to_owned(),
            state: serde_json::to_vec(&self.state).unwrap(),
        })
    }

    async fn close(self: Box<Self>) {}
}

/// Returns eight questions, taught in one turn.
pub(crate) fn probe_set() -> ProbeSet {
    let probes: Vec<Probe> = (0..8)
        .map(|number| {
            let value = format!("value{number}");
            Probe {
                label: format!("AR-{number:02}"),
                dimension: Dimension::Ar,
                kind: ProbeKind::ConstantValue,
                question: format!("What is the value of CONSTANT_{number}_?"),
                grader: Grader::Exact {
                    accept: vec![value.clone()],
                },
                distractors: Vec::new(),
                source: None,
                key: Key {
                    combine: Combine::Single,
                    versions: vec![Version {
                        parts: vec![Part {
                            evidence: vec![format!("CONSTANT_{number}_ = {value}")],
                            value,
                        }],
                    }],
                },
            }
        })
        .collect();
    let teaching = vec![Teaching {
        turn: 0,
        probes: probes.iter().map(|probe| probe.label.clone()).collect(),
        text: "All constants are as they are.".to_owned(),
    }];
    ProbeSet {
        seed: 7,
        probes,
        teaching,
        report: GeneratorReport::default(),
    }
}

/// Returns the change that the questions are about.
pub(crate) fn changed_file(set: &ProbeSet) -> ChangedFile {
    let mut patch = "diff --git a/src/constants.py b/src/constants.py\n".to_owned();
    for probe in &set.probes {
        patch.push_str(&format!(
            "+{}\n",
            probe.key.versions[0].parts[0].evidence[0]
        ));
    }
    ChangedFile {
        path: "src/constants.py".to_owned(),
        old_path: None,
        status: FileStatus::Modified,
        content: Content::Text,
        patch,
        hunks: Vec::new(),
        head_text: None,
    }
}

/// Creates a prepared task with so many queued runs of the scripted agent.
pub(crate) async fn prepared_task(installation: &Installation, trials: i32) -> TaskId {
    prepared_task_of(installation, "scripted", trials).await
}

/// Does the same for another agent.
pub(crate) async fn prepared_task_of(
    installation: &Installation,
    agent: &str,
    trials: i32,
) -> TaskId {
    let set = probe_set();
    let file = changed_file(&set);
    prepared(installation, &[agent], trials, &set, file).await
}

/// Does the same for other questions and several agents.
pub(crate) async fn prepared(
    installation: &Installation,
    agents: &[&str],
    trials: i32,
    set: &ProbeSet,
    file: ChangedFile,
) -> TaskId {
    let database = &installation.platform.database;
    let repository = repository::build(installation.folder.path());
    let dimensions: std::collections::BTreeSet<&str> = set
        .probes
        .iter()
        .map(|probe| probe.dimension.as_str())
        .collect();
    let mut row = builders::task();
    row.source = json!({
        "kind": "local",
        "path": repository.path,
        "base": repository.base,
        "head": repository.head,
    });
    row.agents = json!(agents);
    row.rubric = json!(dimensions);
    row.trials = trials;
    row.status = TaskStatus::Running;
    row.probe_set_hash = Some(set.hash());
    row.prompt_hash = Some(prompts::version());
    row.head_sha = Some(repository.head.clone());
    let task = builders::store(database, row).await.unwrap();
    for (position, probe) in set.probes.iter().enumerate() {
        let row = probe::ActiveModel {
            id: Set(ProbeId::new()),
            task_id: Set(task.id),
            position: Set(i32::try_from(position).unwrap()),
            label: Set(probe.label.clone()),
            dimension: Set(probe.dimension.as_str().parse().unwrap()),
            kind: Set("constant_value".to_owned()),
            question: Set(probe.question.clone()),
            spec: Set(serde_json::to_value(probe).unwrap()),
            created_at: Set(builders::some_time()),
        };
        probe::Entity::insert(row)
            .exec_without_returning(database)
            .await
            .unwrap();
    }
    let pull_request = PullRequest {
        title: None,
        base: repository.base,
        head: repository.head,
        files: vec![file],
        dropped: Vec::new(),
        other_paths: vec!["docs/chapter_1.md".to_owned()],
    };
    let material = json!({"pull_request": pull_request, "probe_set": set});
    installation
        .platform
        .artifacts
        .put_private(
            database,
            task.id,
            None,
            ".material.json",
            serde_json::to_vec(&material).unwrap().into(),
        )
        .await
        .unwrap();
    let mut works = Vec::new();
    for agent in agents {
        for trial in 1..=trials {
            let run = builders::stored_run(database, task.id, agent, trial)
                .await
                .unwrap();
            works.push(Work::RunAgent {
                task: task.id,
                run,
                agent: (*agent).to_owned(),
            });
        }
    }
    let rings = enqueue_all(database, &works).await.unwrap();
    installation.platform.notifier.notify(&rings).await.unwrap();
    task.id
}

/// Cancels a task like a user's request: first the jobs, then the task and the runs that no worker
/// holds.
pub(crate) async fn cancel(installation: &Installation, id: TaskId) {
    let database = &installation.platform.database;
    platform::queue::lease::request_cancel(database, id)
        .await
        .unwrap();
    task::Entity::update_many()
        .set(task::ActiveModel {
            status: Set(TaskStatus::Cancelled),
            ..Default::default()
        })
        .filter(task::Column::Id.eq(id))
        .exec(database)
        .await
        .unwrap();
    let held: Vec<_> = entity::job::Entity::find()
        .filter(entity::job::Column::TaskId.eq(id))
        .filter(entity::job::Column::State.eq(JobState::Leased))
        .all(database)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|job| job.run_id)
        .collect();
    entity::agent_run::Entity::update_many()
        .set(entity::agent_run::ActiveModel {
            status: Set(RunStatus::Cancelled),
            ..Default::default()
        })
        .filter(entity::agent_run::Column::TaskId.eq(id))
        .filter(entity::agent_run::Column::Id.is_not_in(held))
        .exec(database)
        .await
        .unwrap();
}
