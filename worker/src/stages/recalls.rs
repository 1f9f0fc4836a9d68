//! The free recalls of a run, judged as claims against the fact sheet.

use std::collections::BTreeMap;

use agents::adapters::adapter_for;
use agents::event::Tokens;
use chrono::Utc;
use entity::status::Arm;
use entity::{RecallId, agent_run, recall, task};
use evaluation::claims::{AtomicFact, Finding, Recall, atomic_facts};
use evaluation::facts::FactSheet;
use evaluation::judging::{LeftOut, aliases, left_out, majority, strip_identity};
use platform::artifacts;
use sea_orm::{ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};

use crate::job::{Job, StageError, Text, Worker};
use crate::judges::Judge;
use crate::material::Material;
use crate::phases::recall::artifact;
use crate::result::JudgePart;

/// Facts that one free recall is held against, at most.
pub(crate) const MOST_FACTS: usize = 40;
/// What most of the jurors say. A juror is a model that may rank and is not kept from judging the
/// agent; one of them is a jury.
pub(crate) const JURY: &str = "jury";

/// The figures of the free recalls of a run, and every vote.
pub(crate) struct Recalls {
    rows: Vec<recall::ActiveModel>,
    votes: String,
}

/// A line of the votes of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteLine {
    pub(crate) arm: String,
    #[serde(rename = "break")]
    pub(crate) break_index: i32,
    pub(crate) judge: String,
    pub(crate) model: Option<String>,
    /// Not a juror of this run: its model may be the agent's own, or of its family.
    #[serde(default)]
    pub(crate) left_out: bool,
    #[serde(default)]
    pub(crate) why_left_out: Option<LeftOut>,
    /// Fact → finding; null where there is no readable verdict.
    pub(crate) findings: BTreeMap<String, Option<Finding>>,
    /// What the judge said, word for word, and what its provider said where that was no answer.
    pub(crate) raw: Vec<String>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) cost_usd: Option<f64>,
}

/// The name of the artifact that holds the votes of a run.
pub(crate) fn votes_artifact(number: i32) -> String {
    format!("votes-{number}.jsonl")
}

/// The facts that the free recalls of a task are held against; none where the sheet is gone.
pub(crate) async fn facts(
    worker: &Worker,
    task: &task::Model,
    material: &Material,
) -> Result<Option<Vec<AtomicFact>>, StageError> {
    let database = &worker.platform.database;
    let Some(found) = artifacts::find(database, task.id, None, "fact_sheet.json").await? else {
        // Free recall stays ungraded, and says why; the closed probes need no sheet.
        tracing::warn!(task.id = %task.id, "the fact sheet of task {} is gone", task.id);
        return Ok(None);
    };
    let bytes = worker.platform.artifacts.get(&found).await?;
    let sheet: FactSheet = serde_json::from_slice(&bytes)?;
    let seed = task.seed.cast_unsigned();
    let facts = atomic_facts(&sheet, &material.probe_set, seed, MOST_FACTS);
    Ok(Some(facts))
}

/// Judges the free recalls of a run. Without facts (their sheet is gone) every judge's figures are
/// missing, with the reason.
pub(crate) async fn judge_recalls(
    worker: &Worker,
    run: &agent_run::Model,
    number: i32,
    facts: Option<&[AtomicFact]>,
    judges: &[JudgePart],
) -> Result<Recalls, StageError> {
    let mut recalls = Recalls {
        rows: Vec::new(),
        votes: String::new(),
    };
    if facts.is_some_and(<[AtomicFact]>::is_empty) {
        return Ok(recalls);
    }
    let database = &worker.platform.database;
    let breaks = run.breaks.as_array().map_or(0, Vec::len);
    let agent = run.agent.split(':').next().unwrap_or(&run.agent);
    let program = adapter_for(&worker.adapters, &run.agent)
        .ok()
        .map(|adapter| adapter.profile().display_name.clone());
    let names = aliases(agent, program.as_deref(), run.model.as_deref());
    for break_index in 1..=i32::try_from(breaks).unwrap_or(i32::MAX) {
        for arm in [Arm::Baseline, Arm::Post] {
            let name = artifact(arm, break_index);
            let found = artifacts::find(database, run.task_id, Some(run.id), &name).await?;
            let Some(found) = found else { continue };
            let place = Place {
                run,
                number,
                arm,
                break_index,
            };
            let Some(facts) = facts else {
                recalls.unknown(worker, &place);
                continue;
            };
            let bytes = worker.platform.artifacts.get(&found).await?;
            let text = String::from_utf8_lossy(&bytes);
            let stripped = strip_identity(&text, &names);
            let mut jury: Vec<Vec<Option<Finding>>> = Vec::new();
            for judge in &worker.judges {
                let mut line = place.line(judge.as_ref());
                let juror = judge.juror();
                let kept_out = juror.and_then(|juror| left_out(juror, agent, run.model.as_deref()));
                if kept_out.is_some() {
                    line.left_out = true;
                    line.why_left_out = kept_out;
                    recalls.vote(&line)?;
                    continue;
                }
                // Who reads literally cannot favour anybody, and reads what was said.
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
                recalls.vote(&line)?;
                recalls.rows.push(place.row(judge.name(), &judged.findings));
                let ranks = judges
                    .iter()
                    .any(|part| part.name == judge.name() && part.may_rank);
                if juror.is_some() && ranks {
                    jury.push(judged.findings);
                }
            }
            if worker.judges.iter().any(|judge| judge.juror().is_some()) {
                recalls.rows.push(place.jury(facts, &jury));
            }
        }
    }
    Ok(recalls)
}

/// Which free recall.
struct Place<'a> {
    run: &'a agent_run::Model,
    number: i32,
    arm: Arm,
    break_index: i32,
}

impl Place<'_> {
    fn line(&self, judge: &dyn Judge) -> VoteLine {
        VoteLine {
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
        let figures = Recall::of(findings);
        let count = |figure: usize| i32::try_from(figure).unwrap_or(i32::MAX);
        recall::ActiveModel {
            id: Set(RecallId::new()),
            run_id: Set(self.run.id),
            judging: Set(self.number),
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

    /// What most jurors find, fact by fact.
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
            .then(|| "no juror may both rank and judge this agent".to_owned());
        recall::ActiveModel {
            jurors: Set(i32::try_from(jury.len()).ok()),
            note: Set(note),
            ..self.row(JURY, &findings)
        }
    }
}

impl Recalls {
    /// A free recall that nobody can judge.
    fn unknown(&mut self, worker: &Worker, place: &Place<'_>) {
        for judge in &worker.judges {
            self.rows.push(recall::ActiveModel {
                note: Set(Some(
                    "ungraded: the fact sheet of the task is gone".to_owned(),
                )),
                ..place.row(judge.name(), &[])
            });
        }
    }

    fn vote(&mut self, line: &VoteLine) -> Result<(), StageError> {
        self.votes.push_str(&serde_json::to_string(line)?);
        self.votes.push('\n');
        Ok(())
    }

    /// Stores the votes, before the transaction that makes the figures count.
    pub(crate) async fn keep(
        &self,
        worker: &Worker,
        job: &Job,
        run: &agent_run::Model,
        number: i32,
    ) -> Result<(), StageError> {
        if self.votes.is_empty() {
            return Ok(());
        }
        let name = votes_artifact(number);
        let text = Text {
            name: &name,
            media_type: "application/x-ndjson",
            text: &self.votes,
        };
        worker.keep(job, Some(run.id), &[text]).await
    }

    /// Stores the figures. What an earlier attempt at the same judging stored is replaced.
    pub(crate) async fn store(
        self,
        transaction: &DatabaseTransaction,
        run: &agent_run::Model,
        number: i32,
    ) -> Result<(), StageError> {
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
