//! The judging of a task: its judges with their battery results and, once all runs are judged, the
//! agreement of the jurors and the cost of their votes.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use domain::Tokens;
use domain::vocabulary::{JudgingStatus, Topic};
use entity::{JudgingId, TaskId, agent_run, judging, task};
use evaluation::judging::{BatteryResult, Rate, gate};
use evaluation::leaderboard::Estimate;
use evaluation::statistics::{cohens_kappa, krippendorff_alpha};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
};

use results::document::{AgreementPart, JudgePart};

use crate::job_context::{ClaimedJob, Worker};
use crate::job_error::JobError;
use crate::judges::battery::{BatteryRun, run_jury_battery};
use crate::judges::judge::Judge;
use crate::scoring::recall::{JURY, VoteLine, votes_artifact};

/// Summary of a judging, once all runs of its task are judged.
pub(crate) struct JudgingSummary {
    /// Judges, with the cost of their votes.
    pub(crate) judges: Vec<JudgePart>,
    /// Agreement of the jurors, `None` with fewer than two.
    pub(crate) agreement: Option<AgreementPart>,
}

impl JudgingSummary {
    /// Returns the columns of the judging's row.
    pub(crate) fn columns(&self) -> Result<judging::ActiveModel, JobError> {
        let agreement = self.agreement.as_ref().map(serde_json::to_value);
        Ok(judging::ActiveModel {
            judges: Set(serde_json::to_value(&self.judges)?),
            agreement: Set(agreement.transpose()?),
            ..Default::default()
        })
    }
}

/// Returns the judges of a judging, and creates the judging if necessary.
///
/// A new judging first runs the battery on every judge. If several workers do so at once, one
/// result is kept.
pub(crate) async fn ensure_judging(
    worker: &Worker,
    job: &ClaimedJob,
    task: TaskId,
    number: i32,
) -> Result<Vec<JudgePart>, JobError> {
    if let Some(judges) = stored(&worker.platform.database, task, number).await? {
        return Ok(judges);
    }
    let mut judges = Vec::with_capacity(worker.judges.len() + 1);
    let mut jurors = Vec::new();
    let holds = worker.settings.judges.battery_holds;
    for judge in &worker.judges {
        let (battery_run, now) = worker.batteries.get_or_run(judge.as_ref(), holds).await;
        let part = judge_part(worker, judge.as_ref(), &battery_run, now);
        if judge.juror().is_some() && part.may_rank {
            jurors.push(battery_run);
        }
        judges.push(part);
    }
    if worker.judges.iter().any(|judge| judge.juror().is_some()) {
        judges.push(jury_part(worker, &jurors));
    }
    let transaction = worker.begin(job).await?;
    let id = JudgingId::new();
    let row = judging::ActiveModel {
        id: Set(id),
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
    // A judging that a user requested exists already and waits for its judges.
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
    let is_first = judging::Entity::find_by_id(id).one(&transaction).await?;
    let judges = match is_first {
        Some(_) => judges,
        None => with_bills(&transaction, task, number, judges).await?,
    };
    transaction.commit().await?;
    Ok(judges)
}

/// Returns the judges that another run of the task stored first, and adds the cost of our batteries
/// to them.
async fn with_bills(
    transaction: &impl ConnectionTrait,
    task: TaskId,
    number: i32,
    own: Vec<JudgePart>,
) -> Result<Vec<JudgePart>, JobError> {
    let of_this = Condition::all()
        .add(judging::Column::TaskId.eq(task))
        .add(judging::Column::Number.eq(number));
    // Two workers that add their costs wait for each other here.
    judging::Entity::update_many()
        .set(judging::ActiveModel {
            number: Set(number),
            ..Default::default()
        })
        .filter(of_this.clone())
        .exec(transaction)
        .await?;
    let Some(mut judges) = stored(transaction, task, number).await? else {
        return Ok(own);
    };
    for own in &own {
        if let Some(part) = judges.iter_mut().find(|part| part.name == own.name) {
            add_bill(part, own);
        }
    }
    judging::Entity::update_many()
        .set(judging::ActiveModel {
            judges: Set(serde_json::to_value(&judges)?),
            ..Default::default()
        })
        .filter(of_this)
        .exec(transaction)
        .await?;
    Ok(judges)
}

/// Adds the cost of a second battery run. The sum is unknown if one of them is.
fn add_bill(part: &mut JudgePart, own: &JudgePart) {
    let tokens = part.tokens.zip(own.tokens);
    part.tokens = tokens.and_then(|(one, other)| one.plus(other));
    let costs = part.cost_usd.zip(own.cost_usd);
    part.cost_usd = costs.map(|(one, other)| one + other);
}

async fn stored(
    connection: &impl ConnectionTrait,
    task: TaskId,
    number: i32,
) -> Result<Option<Vec<JudgePart>>, JobError> {
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

fn estimate(rate: &Rate) -> Estimate {
    Estimate::new(rate.share, rate.interval)
}

fn measured(worker: &Worker, result: &BatteryResult) -> JudgePart {
    let gate = gate(result, worker.settings.judges.false_accept_limit);
    JudgePart {
        false_accept: estimate(&result.false_accept),
        false_reject: estimate(&result.false_reject),
        cases: result.unread.of as usize,
        unread: result.unread.hits as usize,
        may_rank: gate.may_rank,
        why: gate.why,
        ..JudgePart::default()
    }
}

fn judge_part(worker: &Worker, judge: &dyn Judge, tried: &BatteryRun, now: bool) -> JudgePart {
    let model = judge.model().map(str::to_owned);
    let is_model = model.is_some();
    // The result of an earlier task is not billed again.
    let tokens = if now {
        tried.tokens
    } else {
        Some(Tokens::default())
    };
    let cost_usd = if now { tried.cost_usd } else { Some(0.0) };
    JudgePart {
        name: judge.name().to_owned(),
        prompt_version: model.as_ref().map(|_| prompts::judge_version()),
        family: judge
            .juror()
            .and_then(|juror| juror.family)
            .map(str::to_owned),
        battery: Some(tried.battery.clone()),
        tried_at: Some(tried.at.to_rfc3339_opts(SecondsFormat::Micros, true)),
        tokens: tokens.filter(|_| is_model),
        cost_usd: cost_usd.filter(|_| is_model),
        model,
        ..measured(worker, &tried.result)
    }
}

/// Returns the jury of all judges that may rank, as a judge of its own. The majority may be wrong
/// even if each member seldom is.
fn jury_part(worker: &Worker, jurors: &[Arc<BatteryRun>]) -> JudgePart {
    let mut part = JudgePart {
        name: JURY.to_owned(),
        jurors: Some(jurors.len()),
        battery: jurors.first().map(|tried| tried.battery.clone()),
        ..measured(worker, &run_jury_battery(jurors))
    };
    if jurors.is_empty() {
        part.why = Some("no judge with a model may rank".to_owned());
    }
    part
}

/// Summarizes the votes of a judging over all runs of its task.
///
/// Jurors are the models that may rank; the agreement of others does not matter. The facts of one
/// run are one cluster, because they are found in the same two texts.
pub(crate) async fn summarize_judging(
    worker: &Worker,
    task: &task::Model,
    number: i32,
) -> Result<Option<JudgingSummary>, JobError> {
    let database = &worker.platform.database;
    let Some(mut judges) = stored(database, task.id, number).await? else {
        return Ok(None);
    };
    let jurors: Vec<String> = judges
        .iter()
        .filter(|part| part.model.is_some() && part.may_rank)
        .map(|part| part.name.clone())
        .collect();
    let runs = agent_run::Entity::find()
        .filter(agent_run::Column::TaskId.eq(task.id))
        .order_by_asc(agent_run::Column::Id)
        .all(database)
        .await?;
    let mut clusters: Vec<Vec<Vec<Option<bool>>>> = Vec::new();
    let mut bills: BTreeMap<String, VoteBill> = BTreeMap::new();
    for run in runs {
        let name = votes_artifact(number);
        let bytes = worker.load_artifact(task.id, Some(run.id), &name).await?;
        let Some(bytes) = bytes else { continue };
        let mut items: BTreeMap<String, Vec<Option<bool>>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&bytes).lines() {
            let line: VoteLine = serde_json::from_str(line)?;
            if line.left_out {
                continue;
            }
            bills.entry(line.judge.clone()).or_default().add(&line);
            if line.topic != Topic::FreeRecall {
                continue;
            }
            let Some(juror) = jurors.iter().position(|name| *name == line.judge) else {
                continue;
            };
            for (fact, finding) in line.findings {
                let item = format!("{}/{}/{fact}", line.arm, line.break_index);
                let votes = items
                    .entry(item)
                    .or_insert_with(|| vec![None; jurors.len()]);
                votes[juror] = finding.map(|finding| finding.value_right);
            }
        }
        clusters.push(items.into_values().collect());
    }
    for part in judges.iter_mut().filter(|part| part.model.is_some()) {
        let bill = bills.remove(&part.name).unwrap_or_default();
        part.votes_tokens = bill.tokens;
        part.votes_cost_usd = bill.cost_usd;
    }
    let agreement = agreement(&clusters, jurors.len(), task.seed.cast_unsigned());
    Ok(Some(JudgingSummary { judges, agreement }))
}

/// Cost of a judge's votes, missing if one of them did not report it.
struct VoteBill {
    tokens: Option<Tokens>,
    cost_usd: Option<f64>,
}

impl Default for VoteBill {
    fn default() -> Self {
        Self {
            tokens: Some(Tokens::default()),
            cost_usd: Some(0.0),
        }
    }
}

impl VoteBill {
    fn add(&mut self, line: &VoteLine) {
        let tokens = self.tokens.zip(line.tokens);
        self.tokens = tokens.and_then(|(before, more)| before.plus(more));
        let cost = self.cost_usd.zip(line.cost_usd);
        self.cost_usd = cost.map(|(before, more)| before + more);
    }
}

fn agreement(
    clusters: &[Vec<Vec<Option<bool>>>],
    jurors: usize,
    seed: u64,
) -> Option<AgreementPart> {
    let (measure, agreement) = match jurors {
        0 | 1 => return None,
        2 => {
            let both = |votes: &Vec<Option<bool>>| Some(((*votes.first()?)?, (*votes.get(1)?)?));
            let pairs: Vec<Vec<(bool, bool)>> = clusters
                .iter()
                .map(|items| items.iter().filter_map(both).collect())
                .collect();
            ("cohens_kappa", cohens_kappa(&pairs, seed))
        }
        _ => ("krippendorff_alpha", krippendorff_alpha(clusters, seed)),
    };
    agreement.map(|agreement| AgreementPart {
        measure: measure.to_owned(),
        value: Estimate::new(Some(agreement.value), agreement.interval),
        items: agreement.items,
    })
}
