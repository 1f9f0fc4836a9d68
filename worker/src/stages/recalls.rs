//! The free recalls of a run and its answers to open questions, judged as claims against facts; and the
//! judging they belong to, with what the adversarial battery found of each judge.

use std::collections::BTreeMap;

use agents::event::Tokens;
use chrono::Utc;
use entity::status::{Arm, JudgingStatus, Topic};
use entity::{JudgingId, RecallId, TaskId, agent_run, judging, recall, task};
use evaluation::claims::Topic as OpenTopic;
use evaluation::claims::{AtomicFact, Finding, OpenFact, Recall, atomic_facts};
use evaluation::facts::FactSheet;
use evaluation::judging::{Rate, family, gate, majority, strip_identity};
use evaluation::leaderboard::Estimate;
use evaluation::statistics::{cohens_kappa, krippendorff_alpha};
use platform::artifacts;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter,
    QueryOrder,
};
use serde::{Deserialize, Serialize};

use crate::job::{Job, StageError, Text, Worker};
use crate::judges::{Judge, Tried, try_judge};
use crate::material::Material;
use crate::phases::{open, recall::artifact};
use crate::result::{AgreementPart, JudgePart, TokensPart};
use crate::stages::prepare::OPEN_FACTS;

/// Facts that one free recall is held against, at most.
const MOST_FACTS: usize = 40;
/// The judge that most of the models that may rank agree with.
const JURY: &str = "jury";

/// What stands for a judge where nobody there could judge an answer.
const NOBODY: &str = "none";

/// The figures of the free recalls of a run and of its open answers, and every vote.
pub(crate) struct Recalls {
    rows: Vec<recall::ActiveModel>,
    votes: String,
}

/// A line of the votes of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteLine {
    #[serde(default = "free_recall")]
    pub(crate) topic: Topic,
    pub(crate) arm: String,
    #[serde(rename = "break")]
    pub(crate) break_index: i32,
    pub(crate) judge: String,
    pub(crate) model: Option<String>,
    /// Not a juror of this run, because its model is of the agent's family.
    #[serde(default)]
    pub(crate) left_out: bool,
    /// Fact → finding; null where there is no readable verdict.
    pub(crate) findings: BTreeMap<String, Option<Finding>>,
    /// What the judge said, word for word.
    pub(crate) raw: Vec<String>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) cost_usd: Option<f64>,
}

fn free_recall() -> Topic {
    Topic::FreeRecall
}

/// The name of the artifact that holds the votes of a run.
pub(crate) fn votes_artifact(number: i32) -> String {
    format!("votes-{number}.jsonl")
}

/// What the texts of a task are held against.
pub(crate) struct Facts {
    free: Vec<AtomicFact>,
    open: Vec<(Topic, Vec<AtomicFact>)>,
}

impl Facts {
    fn of(&self, topic: Topic) -> &[AtomicFact] {
        let open = || self.open.iter().find(|(own, _)| *own == topic);
        match topic {
            Topic::FreeRecall => &self.free,
            Topic::Purpose | Topic::Risks | Topic::Rollback => {
                open().map_or(&[], |(_, facts)| facts.as_slice())
            }
        }
    }
}

fn stored_topic(topic: OpenTopic) -> Topic {
    match topic {
        OpenTopic::Purpose => Topic::Purpose,
        OpenTopic::Risks => Topic::Risks,
        OpenTopic::Rollback => Topic::Rollback,
    }
}

/// The facts of all topics. A task of an older version has none for open questions.
pub(crate) async fn facts(
    worker: &Worker,
    task: &task::Model,
    material: &Material,
) -> Result<Facts, StageError> {
    let found = artifacts::find(&worker.platform.database, task.id, None, OPEN_FACTS).await?;
    let stored: Vec<OpenFact> = match found {
        Some(found) => serde_json::from_slice(&worker.platform.artifacts.get(&found).await?)?,
        None => Vec::new(),
    };
    let of = |topic: OpenTopic| {
        let own = stored.iter().filter(|one| one.topic == topic);
        let facts = own.map(|one| one.fact.clone()).collect();
        (stored_topic(topic), facts)
    };
    Ok(Facts {
        free: free_facts(worker, task, material).await?,
        open: OpenTopic::ALL.into_iter().map(of).collect(),
    })
}

/// The facts that the free recalls of a task are held against.
async fn free_facts(
    worker: &Worker,
    task: &task::Model,
    material: &Material,
) -> Result<Vec<AtomicFact>, StageError> {
    let database = &worker.platform.database;
    let Some(found) = artifacts::find(database, task.id, None, "fact_sheet.json").await? else {
        // Free recall stays unjudged; the closed probes need no sheet.
        tracing::warn!(task.id = %task.id, "the fact sheet of task {} is gone", task.id);
        return Ok(Vec::new());
    };
    let bytes = worker.platform.artifacts.get(&found).await?;
    let sheet: FactSheet = serde_json::from_slice(&bytes)?;
    let seed = task.seed.cast_unsigned();
    Ok(atomic_facts(&sheet, &material.probe_set, seed, MOST_FACTS))
}

/// The judging of this number; where it is not there yet, every judge is tried with the battery first.
/// Of workers that try at once one result is kept.
pub(crate) async fn judging_of(
    worker: &Worker,
    job: &Job,
    task: TaskId,
    number: i32,
) -> Result<Vec<JudgePart>, StageError> {
    if let Some(judges) = stored(&worker.platform.database, task, number).await? {
        return Ok(judges);
    }
    let mut judges = Vec::with_capacity(worker.judges.len());
    for judge in &worker.judges {
        let found = try_judge(judge.as_ref()).await;
        judges.push(tried(worker, judge.as_ref(), &found));
    }
    let transaction = worker.begin(job).await?;
    let row = judging::ActiveModel {
        id: Set(JudgingId::new()),
        task_id: Set(task),
        number: Set(number),
        status: Set(JudgingStatus::Done),
        judges: Set(serde_json::to_value(&judges)?),
        agreement: Set(None),
        error_message: Set(None),
        created_by: Set(None),
        created_at: Set(Utc::now()),
        completed_at: Set(None),
    };
    // What a user asked for is there already, and waits for its judges.
    let filled = judging::Entity::update_many()
        .set(judging::ActiveModel {
            judges: Set(serde_json::to_value(&judges)?),
            ..Default::default()
        })
        .filter(judging::Column::TaskId.eq(task))
        .filter(judging::Column::Number.eq(number))
        .filter(judging::Column::Status.eq(JudgingStatus::Queued))
        .exec(&transaction)
        .await?;
    if filled.rows_affected > 0 {
        transaction.commit().await?;
        return Ok(judges);
    }
    judging::Entity::insert(row)
        .on_conflict(
            OnConflict::columns([judging::Column::TaskId, judging::Column::Number])
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(&transaction)
        .await?;
    transaction.commit().await?;
    Ok(stored(&worker.platform.database, task, number)
        .await?
        .unwrap_or(judges))
}

async fn stored(
    connection: &impl ConnectionTrait,
    task: TaskId,
    number: i32,
) -> Result<Option<Vec<JudgePart>>, StageError> {
    let row = judging::Entity::find()
        .filter(judging::Column::TaskId.eq(task))
        .filter(judging::Column::Number.eq(number))
        .one(connection)
        .await?;
    let judges: Option<Vec<JudgePart>> = row
        .map(|row| serde_json::from_value(row.judges))
        .transpose()?;
    Ok(judges.filter(|judges| !judges.is_empty()))
}

fn tried(worker: &Worker, judge: &dyn Judge, tried: &Tried) -> JudgePart {
    let rate = |rate: &Rate| Estimate {
        mean: rate.share,
        low: rate.interval.map(|interval| interval.low),
        high: rate.interval.map(|interval| interval.high),
    };
    let result = &tried.result;
    let gate = gate(result, worker.settings.judges.false_accept_limit);
    let model = judge.model().map(str::to_owned);
    JudgePart {
        name: judge.name().to_owned(),
        prompt_version: model.as_ref().map(|_| prompts::judge_version()),
        false_accept: rate(&result.false_accept),
        false_reject: rate(&result.false_reject),
        cases: result.unread.of as usize,
        unread: result.unread.hits as usize,
        may_rank: gate.may_rank,
        why: gate.why,
        tokens: tried
            .tokens
            .filter(|_| model.is_some())
            .map(|tokens| TokensPart {
                input: tokens.input,
                cached: tokens.cached,
                output: tokens.output,
            }),
        cost_usd: tried.cost_usd.filter(|_| model.is_some()),
        model,
    }
}

/// The texts that belong to a break, with their artifacts; to none (0) what the cold arm says.
fn texts(break_index: i32) -> Vec<(Topic, Arm, String)> {
    let arms: &[Arm] = match break_index {
        0 => &[Arm::Cold],
        _ => &[Arm::Baseline, Arm::Post],
    };
    let mut texts = Vec::new();
    for arm in arms {
        if *arm != Arm::Cold {
            texts.push((Topic::FreeRecall, *arm, artifact(*arm, break_index)));
        }
        for topic in OpenTopic::ALL {
            let name = open::artifact(topic, *arm, break_index);
            texts.push((stored_topic(topic), *arm, name));
        }
    }
    texts
}

/// Judges the free recalls of a run, and its answers to open questions. The latter only models can
/// judge: who reads literally takes another wording for silence.
pub(crate) async fn judge_recalls(
    worker: &Worker,
    run: &agent_run::Model,
    number: i32,
    facts: &Facts,
    judges: &[JudgePart],
) -> Result<Recalls, StageError> {
    let database = &worker.platform.database;
    let breaks = run.breaks.as_array().map_or(0, Vec::len);
    let mut recalls = Recalls {
        rows: Vec::new(),
        votes: String::new(),
    };
    let own_family = run
        .model
        .as_deref()
        .and_then(family)
        .or_else(|| family(&run.agent));
    for break_index in 0..=i32::try_from(breaks).unwrap_or(i32::MAX) {
        for (topic, arm, name) in texts(break_index) {
            let facts = facts.of(topic);
            if facts.is_empty() {
                continue;
            }
            let found = artifacts::find(database, run.task_id, Some(run.id), &name).await?;
            let Some(found) = found else { continue };
            let bytes = worker.platform.artifacts.get(&found).await?;
            let text = String::from_utf8_lossy(&bytes);
            let agent = run.agent.split(':').next().unwrap_or(&run.agent);
            let text = strip_identity(&text, &[agent]);
            let place = Place {
                run,
                number,
                topic,
                arm,
                break_index,
            };
            let rows_before = recalls.rows.len();
            let mut jury: Vec<Vec<Option<Finding>>> = Vec::new();
            for judge in &worker.judges {
                if topic != Topic::FreeRecall && judge.model().is_none() {
                    continue;
                }
                let of_family = judge
                    .model()
                    .is_some_and(|model| own_family.is_some() && family(model) == own_family);
                let mut line = place.line(judge.as_ref());
                if of_family {
                    line.left_out = true;
                    recalls.vote(&line)?;
                    continue;
                }
                let judged = judge.judge(&text, facts).await;
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
                if judge.model().is_some() && ranks {
                    jury.push(judged.findings);
                }
            }
            if recalls.rows.len() == rows_before {
                // It was asked, and stays ungraded: no default.
                recalls
                    .rows
                    .push(place.row(NOBODY, &vec![None; facts.len()]));
            }
            if jury.len() > 1 {
                let findings: Vec<Option<Finding>> = (0..facts.len())
                    .map(|fact| {
                        let votes: Vec<_> = jury
                            .iter()
                            .map(|findings| findings.get(fact).copied().flatten())
                            .collect();
                        majority(&votes)
                    })
                    .collect();
                recalls.rows.push(place.row(JURY, &findings));
            }
        }
    }
    Ok(recalls)
}

/// Which free recall, or open answer.
struct Place<'a> {
    run: &'a agent_run::Model,
    number: i32,
    topic: Topic,
    arm: Arm,
    break_index: i32,
}

impl Place<'_> {
    fn line(&self, judge: &dyn Judge) -> VoteLine {
        VoteLine {
            topic: self.topic,
            arm: self.arm.as_str().to_owned(),
            break_index: self.break_index,
            judge: judge.name().to_owned(),
            model: judge.model().map(str::to_owned),
            left_out: false,
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
            created_at: Set(Utc::now()),
        }
    }
}

impl Recalls {
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

/// How far the jurors of a judging agree on whether facts are said rightly in free recall, over all runs
/// of the task: none with fewer than two.
pub(crate) async fn agreement(
    worker: &Worker,
    task: &task::Model,
    number: i32,
) -> Result<Option<AgreementPart>, StageError> {
    let database = &worker.platform.database;
    let models: Vec<&str> = worker
        .judges
        .iter()
        .filter(|judge| judge.model().is_some())
        .map(|judge| judge.name())
        .collect();
    if models.len() < 2 {
        return Ok(None);
    }
    let runs = agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task.id))
        .order_by_asc(agent_run::Column::Id)
        .all(database)
        .await?;
    let mut items: BTreeMap<String, Vec<Option<bool>>> = BTreeMap::new();
    for run in runs {
        let name = votes_artifact(number);
        let found = artifacts::find(database, task.id, Some(run.id), &name).await?;
        let Some(found) = found else { continue };
        let bytes = worker.platform.artifacts.get(&found).await?;
        for line in String::from_utf8_lossy(&bytes).lines() {
            let line: VoteLine = serde_json::from_str(line)?;
            if line.topic != Topic::FreeRecall {
                continue;
            }
            let Some(juror) = models.iter().position(|name| *name == line.judge) else {
                continue;
            };
            for (fact, finding) in line.findings {
                let item = format!("{}/{}/{}/{fact}", run.id, line.arm, line.break_index);
                let votes = items
                    .entry(item)
                    .or_insert_with(|| vec![None; models.len()]);
                votes[juror] = finding.map(|finding| finding.value_right);
            }
        }
    }
    let items: Vec<Vec<Option<bool>>> = items.into_values().collect();
    let seed = task.seed.cast_unsigned();
    let both: Vec<(bool, bool)> = items
        .iter()
        .filter_map(|votes| Some(((*votes.first()?)?, (*votes.get(1)?)?)))
        .collect();
    let (measure, found) = if models.len() == 2 {
        ("cohens_kappa", cohens_kappa(&both, seed))
    } else {
        ("krippendorff_alpha", krippendorff_alpha(&items, seed))
    };
    Ok(found.map(|found| AgreementPart {
        measure: measure.to_owned(),
        value: Estimate {
            mean: Some(found.value),
            low: found.interval.map(|interval| interval.low),
            high: found.interval.map(|interval| interval.high),
        },
        items: found.items,
    }))
}
