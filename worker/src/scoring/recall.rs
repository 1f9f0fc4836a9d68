//! Free recalls and answers to open questions of a run, graded as claims against facts.

use std::collections::BTreeMap;

use agents::adapters::adapter_for;
use chrono::Utc;
use domain::Tokens;
use domain::vocabulary::{Arm, OpenTopic, Topic};
use entity::{RecallId, agent_run, recall, task};
use evaluation::claims::{AtomicFact, Finding, OpenFact, Recall, atomic_facts};
use evaluation::facts::FactSheet;
use evaluation::judging::{Exclusion, aliases, exclusion, majority, strip_identity};
use sea_orm::{ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};

use results::document::JudgePart;

use crate::job_context::{ClaimedJob, TextArtifact, Worker};
use crate::job_error::JobError;
use crate::judges::judge::Judge;
use crate::material::{MAX_FACTS, Material, OPEN_FACTS};
use crate::run::phases::free_recall::recall_artifact;
use crate::run::phases::open_questions::open_answer_artifact;

/// Name of the jury. A juror is a model that may rank and that is not excluded from judging the
/// agent; a jury has one or more.
pub(crate) const JURY: &str = "jury";
/// Stored name of the judge if no judge could grade an answer.
const NO_JUDGE: &str = "none";

/// Grades of a run's free recalls and open answers, and all votes.
pub(crate) struct RecallGrades {
    rows: Vec<recall::ActiveModel>,
    votes: String,
}

/// One line of a run's votes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteLine {
    #[serde(default = "free_recall")]
    pub(crate) topic: Topic,
    pub(crate) arm: String,
    #[serde(rename = "break")]
    pub(crate) break_index: i32,
    pub(crate) judge: String,
    pub(crate) model: Option<String>,
    /// Whether the judge is excluded from this run: its model is the agent's own, or of the same
    /// family.
    #[serde(default)]
    pub(crate) left_out: bool,
    #[serde(default)]
    pub(crate) why_left_out: Option<Exclusion>,
    /// Fact → finding, null if there is no readable verdict.
    pub(crate) findings: BTreeMap<String, Option<Finding>>,
    /// Replies of the judge and error responses of its provider, verbatim.
    pub(crate) raw: Vec<String>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) cost_usd: Option<f64>,
}

fn free_recall() -> Topic {
    Topic::FreeRecall
}

/// Returns the name of the artifact with the votes of a run.
pub(crate) fn votes_artifact(number: i32) -> String {
    format!("votes-{number}.jsonl")
}

/// Facts that the texts of a task are graded against.
pub(crate) struct JudgedFacts {
    /// Facts for free recall, `None` if the fact sheet is missing.
    free: Option<Vec<AtomicFact>>,
    open: Vec<(Topic, Vec<AtomicFact>)>,
}

impl JudgedFacts {
    fn for_topic(&self, topic: Topic) -> Option<&[AtomicFact]> {
        match topic {
            Topic::FreeRecall => self.free.as_deref(),
            Topic::Purpose | Topic::Risks | Topic::Rollback => {
                let own = self.open.iter().find(|(own, _)| *own == topic);
                Some(own.map_or(&[], |(_, facts)| facts.as_slice()))
            }
        }
    }
}

/// Loads the facts of all topics. A task of an older version has none for open questions.
pub(crate) async fn load_facts(
    worker: &Worker,
    task: &task::Model,
    material: &Material,
) -> Result<JudgedFacts, JobError> {
    let stored: Vec<OpenFact> = match worker.load_artifact(task.id, None, OPEN_FACTS).await? {
        Some(bytes) => serde_json::from_slice(&bytes)?,
        None => Vec::new(),
    };
    let of = |topic: OpenTopic| {
        let own = stored.iter().filter(|one| one.topic == topic);
        let facts = own.map(|one| one.fact.clone()).collect();
        (topic.into(), facts)
    };
    Ok(JudgedFacts {
        free: free_facts(worker, task, material).await?,
        open: OpenTopic::ALL.into_iter().map(of).collect(),
    })
}

/// Loads the facts for free recall. Returns `None` if the fact sheet is missing.
async fn free_facts(
    worker: &Worker,
    task: &task::Model,
    material: &Material,
) -> Result<Option<Vec<AtomicFact>>, JobError> {
    let bytes = worker
        .load_artifact(task.id, None, "fact_sheet.json")
        .await?;
    let Some(bytes) = bytes else {
        // Free recall stays ungraded, with the reason. Closed probes need no fact sheet.
        tracing::warn!(task.id = %task.id, "the fact sheet of task {} is missing", task.id);
        return Ok(None);
    };
    let sheet: FactSheet = serde_json::from_slice(&bytes)?;
    let seed = task.seed.cast_unsigned();
    let facts = atomic_facts(&sheet, &material.probe_set, seed, MAX_FACTS);
    Ok(Some(facts))
}

/// Returns the texts of a break with the names of their artifacts. Break 0 is the cold arm.
fn texts(break_index: i32) -> Vec<(Topic, Arm, String)> {
    let arms: &[Arm] = match break_index {
        0 => &[Arm::Cold],
        _ => &[Arm::Baseline, Arm::Post],
    };
    let mut texts = Vec::new();
    for arm in arms {
        if *arm != Arm::Cold {
            texts.push((Topic::FreeRecall, *arm, recall_artifact(*arm, break_index)));
        }
        for topic in OpenTopic::ALL {
            let name = open_answer_artifact(topic, *arm, break_index);
            texts.push((topic.into(), *arm, name));
        }
    }
    texts
}

/// Grades the free recalls of a run and its answers to open questions.
///
/// Only models can grade open questions, because a literal reader mistakes other wordings for
/// silence. Without facts the figures of every judge are missing, with the reason.
pub(crate) async fn judge_recalls(
    worker: &Worker,
    run: &agent_run::Model,
    number: i32,
    facts: &JudgedFacts,
    judges: &[JudgePart],
) -> Result<RecallGrades, JobError> {
    let mut recalls = RecallGrades {
        rows: Vec::new(),
        votes: String::new(),
    };
    let breaks = run.breaks.as_array().map_or(0, Vec::len);
    let agent = run.agent.split(':').next().unwrap_or(&run.agent);
    let program = adapter_for(&worker.adapters, &run.agent)
        .ok()
        .map(|adapter| adapter.profile().display_name.clone());
    let names = aliases(agent, program.as_deref(), run.model.as_deref());
    let jurors = worker.judges.iter().any(|judge| judge.juror().is_some());
    for break_index in 0..=i32::try_from(breaks).unwrap_or(i32::MAX) {
        for (topic, arm, name) in texts(break_index) {
            let facts = facts.for_topic(topic);
            if facts.is_some_and(<[AtomicFact]>::is_empty) {
                continue;
            }
            let bytes = worker
                .load_artifact(run.task_id, Some(run.id), &name)
                .await?;
            let Some(bytes) = bytes else { continue };
            let recall_text = RecallText {
                run,
                number,
                topic,
                arm,
                break_index,
            };
            let Some(facts) = facts else {
                recalls.add_ungraded(worker, &recall_text);
                continue;
            };
            if topic != Topic::FreeRecall && !jurors {
                // The question was asked and stays ungraded: there is no default grade.
                let nothing = vec![None; facts.len()];
                recalls.rows.push(recall_text.row(NO_JUDGE, &nothing));
                continue;
            }
            let text = String::from_utf8_lossy(&bytes);
            let stripped = strip_identity(&text, &names);
            let mut jury: Vec<Vec<Option<Finding>>> = Vec::new();
            for judge in &worker.judges {
                let juror = judge.juror();
                if topic != Topic::FreeRecall && juror.is_none() {
                    continue;
                }
                let mut line = recall_text.line(judge.as_ref());
                let kept_out =
                    juror.and_then(|juror| exclusion(juror, agent, run.model.as_deref()));
                if kept_out.is_some() {
                    line.left_out = true;
                    line.why_left_out = kept_out;
                    recalls.add_vote(&line)?;
                    continue;
                }
                // The deterministic judge cannot favour an agent, so it reads the original text.
                let read = if juror.is_some() { &stripped } else { &*text };
                let judged = judge.judge(read, facts).await;
                line.findings = facts
                    .iter()
                    .zip(&judged.findings)
                    .map(|(fact, finding)| (fact.id.clone(), *finding))
                    .collect();
                line.raw = judged.raw;
                line.tokens = judged.tokens;
                line.cost_usd = judged.cost_usd;
                recalls.add_vote(&line)?;
                recalls
                    .rows
                    .push(recall_text.row(judge.name(), &judged.findings));
                let ranks = judges
                    .iter()
                    .any(|part| part.name == judge.name() && part.may_rank);
                if juror.is_some() && ranks {
                    jury.push(judged.findings);
                }
            }
            if jurors {
                recalls.rows.push(recall_text.jury(facts, &jury));
            }
        }
    }
    Ok(recalls)
}

/// One text of a run that is graded.
struct RecallText<'a> {
    run: &'a agent_run::Model,
    number: i32,
    topic: Topic,
    arm: Arm,
    break_index: i32,
}

impl RecallText<'_> {
    fn line(&self, judge: &dyn Judge) -> VoteLine {
        VoteLine {
            topic: self.topic,
            arm: self.arm.as_str().to_owned(),
            break_index: self.break_index,
            judge: judge.name().to_owned(),
            model: judge.model().map(str::to_owned),
            left_out: false,
            why_left_out: None,
            findings: BTreeMap::new(),
            raw: Vec::new(),
            tokens: None,
            cost_usd: None,
        }
    }

    fn row(&self, judge: &str, findings: &[Option<Finding>]) -> recall::ActiveModel {
        let figures = Recall::from_findings(findings);
        let count = |figure: usize| i32::try_from(figure).unwrap_or(i32::MAX);
        recall::ActiveModel {
            id: Set(RecallId::new()),
            run_id: Set(self.run.id),
            judging: Set(self.number),
            topic: Set(self.topic),
            arm: Set(self.arm),
            break_index: Set(self.break_index),
            judge: Set(judge.to_owned()),
            facts: Set(count(figures.facts)),
            claimed: Set(count(figures.claimed)),
            right: Set(count(figures.right)),
            ungraded: Set(count(figures.ungraded)),
            precision: Set(figures.precision),
            recall: Set(figures.recall),
            jurors: Set(None),
            note: Set(None),
            created_at: Set(Utc::now()),
        }
    }

    /// Returns the majority of the jurors, fact by fact.
    fn jury(&self, facts: &[AtomicFact], jury: &[Vec<Option<Finding>>]) -> recall::ActiveModel {
        let findings: Vec<Option<Finding>> = (0..facts.len())
            .map(|fact| {
                let votes: Vec<_> = jury
                    .iter()
                    .map(|findings| findings.get(fact).copied().flatten())
                    .collect();
                majority(&votes)
            })
            .collect();
        let note = jury
            .is_empty()
            .then(|| "no juror may rank and judge this agent".to_owned());
        recall::ActiveModel {
            jurors: Set(i32::try_from(jury.len()).ok()),
            note: Set(note),
            ..self.row(JURY, &findings)
        }
    }
}

impl RecallGrades {
    /// Adds a free recall that no judge can grade.
    fn add_ungraded(&mut self, worker: &Worker, recall_text: &RecallText<'_>) {
        for judge in &worker.judges {
            self.rows.push(recall::ActiveModel {
                note: Set(Some(
                    "ungraded: the fact sheet of the task is missing".to_owned(),
                )),
                ..recall_text.row(judge.name(), &[])
            });
        }
    }

    fn add_vote(&mut self, line: &VoteLine) -> Result<(), JobError> {
        self.votes.push_str(&serde_json::to_string(line)?);
        self.votes.push('\n');
        Ok(())
    }

    /// Stores the votes, before the transaction that stores the figures.
    pub(crate) async fn store_votes(
        &self,
        worker: &Worker,
        job: &ClaimedJob,
        run: &agent_run::Model,
        number: i32,
    ) -> Result<(), JobError> {
        if self.votes.is_empty() {
            return Ok(());
        }
        let name = votes_artifact(number);
        let text = TextArtifact {
            name: &name,
            media_type: "application/x-ndjson",
            text: &self.votes,
        };
        worker.store_texts(job, Some(run.id), &[text]).await
    }

    /// Stores the figures, and replaces those of an earlier attempt at the same judging.
    pub(crate) async fn store(
        self,
        transaction: &DatabaseTransaction,
        run: &agent_run::Model,
        number: i32,
    ) -> Result<(), JobError> {
        recall::Entity::delete_many()
            .filter(recall::Column::RunId.eq(run.id))
            .filter(recall::Column::Judging.eq(number))
            .exec(transaction)
            .await?;
        if !self.rows.is_empty() {
            recall::Entity::insert_many(self.rows)
                .exec_without_returning(transaction)
                .await?;
        }
        Ok(())
    }
}
