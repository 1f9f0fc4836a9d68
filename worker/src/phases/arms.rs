//! The arms: the same probes, sealed, each in a conversation of its own, just before the break,
//! after it, and by sessions that never saw the pull request.

use agents::adapter::{Access, Turn};
use chrono::Utc;
use domain::vocabulary::{Arm, Attribution, Level};
use entity::{AnswerId, ProbeId, RunId, agent_run, answer, probe, task};
use evaluation::grading::numbered_parts;
use evaluation::probe::Probe;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use platform::events::Event;
use prompts::Prompt;
use sea_orm::sea_query::{Expr, ExprTrait, Func, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    RelationTrait,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

use super::running::{Running, Session, millis, phase, seed};
use super::split;
use crate::job::StageError;

/// How many probes are asked at once.
const AT_ONCE: usize = 4;
/// Every so many answers an event tells how far an arm is.
const TELL_EVERY: usize = 8;
/// Rows per insert.
const ROWS: usize = 100;
/// What must be the same in the manifests of two runs for the one to take over the cold answers of
/// the other, beside what the rows say.
const COLD_KEY: [&str; 4] = [
    "instrument_version",
    "prompt_hash",
    "sandbox",
    "configuration_hash",
];
/// Runs whose cold answers are looked at.
const MOST_SOURCES: u64 = 100;

/// Where the conversations of an arm come from.
pub(crate) enum Origin<'a> {
    /// Copies of a conversation, one per probe.
    Fork(&'a mut Session),
    /// The conversation itself, one probe after the other: of an agent that cannot copy it.
    Same(&'a mut Session),
    /// New ones.
    Nothing,
}

/// A prompt on its way: of one probe, or of several.
struct Question {
    /// In the order in which they are asked, with their labels.
    probes: Vec<(ProbeId, String)>,
    text: String,
}

/// A question with what came of it.
struct Asked {
    question: Question,
    turn: Turn,
}

/// Asks the session just before the break.
pub(crate) async fn baseline(
    running: &mut Running,
    snapshot: &mut Session,
) -> Result<(), StageError> {
    running.enter(phase::BASELINE).await?;
    ask_all(running, Arm::Baseline, Origin::Fork(snapshot), None).await
}

/// Asks the session after the break: copies of it, or itself where it cannot be copied.
pub(crate) async fn post(running: &mut Running, main: &mut Session) -> Result<(), StageError> {
    running.enter(phase::EVALUATING).await?;
    if running.forks() {
        return ask_all(running, Arm::Post, Origin::Fork(main), None).await;
    }
    let half = split::halves(running).1;
    ask_all(running, Arm::Post, Origin::Same(main), Some(&half)).await
}

/// Asks sessions that never saw the pull request, or takes over what such sessions have said. The run
/// that it was taken from.
pub(crate) async fn cold(running: &mut Running) -> Result<Option<RunId>, StageError> {
    running.enter(phase::COLD).await?;
    let source = copy_cold(running).await?;
    if source.is_none() {
        ask_all(running, Arm::Cold, Origin::Nothing, None).await?;
    }
    Ok(source)
}

/// The break that an answer belongs to.
fn break_of(running: &Running, arm: Arm) -> i32 {
    match arm {
        Arm::Cold => 0,
        Arm::Baseline | Arm::Post => running.break_index,
    }
}

/// Asks the probes of an arm that are not answered yet; `only` these, where it is not all.
pub(crate) async fn ask_all(
    running: &mut Running,
    arm: Arm,
    mut origin: Origin<'_>,
    only: Option<&BTreeSet<ProbeId>>,
) -> Result<(), StageError> {
    let already: Vec<ProbeId> = answer::Entity::find()
        .select_only()
        .column(answer::Column::ProbeId)
        .filter(answer::Column::RunId.eq(running.who.run))
        .filter(answer::Column::Arm.eq(arm))
        .filter(answer::Column::BreakIndex.eq(break_of(running, arm)))
        .into_tuple()
        .all(&running.worker.platform.database)
        .await?;
    let already: BTreeSet<ProbeId> = already.into_iter().collect();
    let mut done = already.len();
    let of = only.map_or(running.probes.len(), BTreeSet::len);
    let mut waiting = questions(running, arm, &already, only)?.into_iter();
    if let Origin::Same(session) = &mut origin {
        for question in waiting {
            let turn = session.prompt(&question.text).await?;
            running.main_line(&turn);
            let before = done;
            done += question.probes.len();
            let batch = vec![Asked { question, turn }];
            take(running, arm, batch, Progress { before, done, of }).await?;
        }
        return Ok(());
    }
    let mut asking = FuturesUnordered::new();
    loop {
        while asking.len() < AT_ONCE {
            let Some(question) = waiting.next() else {
                break;
            };
            let mut session = match &mut origin {
                Origin::Fork(session) | Origin::Same(session) => {
                    session.fork(Access::Sealed).await?
                }
                Origin::Nothing => {
                    let spec = running.spec(Access::Sealed).await?;
                    running.adapter.open(spec).await?
                }
            };
            asking.push(async move {
                let turn = session.prompt(&question.text).await?;
                session.close().await;
                Ok::<Asked, StageError>(Asked { question, turn })
            });
        }
        let Some(first) = asking.next().await else {
            break;
        };
        let mut batch = vec![first?];
        while let Some(Some(next)) = asking.next().now_or_never() {
            batch.push(next?);
        }
        let before = done;
        done += batch
            .iter()
            .map(|asked| asked.question.probes.len())
            .sum::<usize>();
        take(running, arm, batch, Progress { before, done, of }).await?;
    }
    Ok(())
}

/// How far an arm is.
#[derive(Clone, Copy)]
struct Progress {
    before: usize,
    done: usize,
    of: usize,
}

/// Takes in answers: the transcript, the seal, the rows.
async fn take(
    running: &mut Running,
    arm: Arm,
    batch: Vec<Asked>,
    progress: Progress,
) -> Result<(), StageError> {
    for asked in &batch {
        let labels: Vec<&str> = asked
            .question
            .probes
            .iter()
            .map(|(_, label)| label.as_str())
            .collect();
        let heading = format!("{} of {}", labels.join(", "), arm.as_str());
        running.note(&heading, &asked.question.text, &asked.turn);
        running.check_asked(&asked.turn, &heading).await?;
    }
    store(running, arm, batch, progress).await?;
    running.look_at_spending().await
}

/// What is still to be asked, in an order drawn per trial and arm; then as many to a prompt as the task
/// says.
fn questions(
    running: &Running,
    arm: Arm,
    already: &BTreeSet<ProbeId>,
    only: Option<&BTreeSet<ProbeId>>,
) -> Result<Vec<Question>, StageError> {
    let seed = seed(running.task.seed, &running.who);
    let mut waiting: Vec<&(ProbeId, Probe)> = running
        .probes
        .iter()
        .filter(|(id, _)| !already.contains(id) && only.is_none_or(|only| only.contains(id)))
        .collect();
    waiting.sort_by_cached_key(|(_, probe)| {
        Sha256::digest(format!("{seed}/{}/{}", arm.as_str(), probe.label))
    });
    let per_prompt = usize::try_from(running.task.probes_per_prompt).unwrap_or(1);
    waiting
        .chunks(per_prompt.max(1))
        .map(asked_together)
        .collect()
}

/// One prompt. What is left over for a prompt of its own is asked as any single probe.
fn asked_together(probes: &[&(ProbeId, Probe)]) -> Result<Question, StageError> {
    let questions: Vec<&str> = probes
        .iter()
        .map(|(_, probe)| probe.question.as_str())
        .collect();
    let text = match questions.as_slice() {
        [question] => prompts::Probe { question }.render()?,
        several => prompts::Probes { questions: several }.render()?,
    };
    let named = probes.iter().map(|(id, probe)| (*id, probe.label.clone()));
    Ok(Question {
        probes: named.collect(),
        text,
    })
}

/// Who answered what: each probe with its own part of the reply.
fn parts(asked: &Asked) -> Vec<(ProbeId, String)> {
    let probes = asked.question.probes.iter().map(|(id, _)| *id);
    let texts = match asked.question.probes.len() {
        1 => vec![asked.turn.text.clone()],
        several => numbered_parts(&asked.turn.text, several),
    };
    probes.zip(texts).collect()
}

async fn store(
    running: &mut Running,
    arm: Arm,
    batch: Vec<Asked>,
    progress: Progress,
) -> Result<(), StageError> {
    let now = Utc::now();
    let break_index = break_of(running, arm);
    let redactor = running.worker.platform.redactor.clone();
    let rows: Vec<answer::ActiveModel> = batch
        .iter()
        .flat_map(|asked| parts(asked).into_iter().map(move |part| (asked, part)))
        .map(|(asked, (probe, text))| answer::ActiveModel {
            id: Set(AnswerId::new()),
            run_id: Set(running.who.run),
            probe_id: Set(probe),
            arm: Set(arm),
            break_index: Set(break_index),
            text: Set(redactor.redact(&text).into_owned()),
            grade: Set(None),
            verdict: Set(None),
            grader: Set(None),
            copied_from: Set(None),
            // A tool call is known now only; the rest is the judge's.
            attribution: Set((arm == Arm::Post && !asked.turn.tool_calls.is_empty())
                .then_some(Attribution::Reread)),
            in_summary: Set(None),
            confidence: Set(None),
            // Its share of the turn.
            duration_ms: Set(i64::try_from(
                millis(asked.turn.duration) / asked.question.probes.len().max(1) as u64,
            )
            .unwrap_or(i64::MAX)),
            created_at: Set(now),
        })
        .collect();
    insert(running, arm, rows, progress).await
}

async fn insert(
    running: &mut Running,
    arm: Arm,
    rows: Vec<answer::ActiveModel>,
    progress: Progress,
) -> Result<(), StageError> {
    let Progress { before, done, of } = progress;
    let mut events = Vec::new();
    if done == of || done / TELL_EVERY > before / TELL_EVERY {
        let event = Event::Answered {
            agent: running.who.agent.clone(),
            trial: running.who.trial,
            arm: arm.as_str().to_owned(),
            done,
            of,
        };
        events.push(running.who.event(Level::Info, event));
    }
    let transaction = running.worker.begin(&running.job).await?;
    for chunk in rows.chunks(ROWS) {
        answer::Entity::insert_many(chunk.to_vec())
            .on_conflict(
                OnConflict::columns([
                    answer::Column::RunId,
                    answer::Column::ProbeId,
                    answer::Column::Arm,
                    answer::Column::BreakIndex,
                ])
                .do_nothing()
                .to_owned(),
            )
            .exec_without_returning(&transaction)
            .await?;
    }
    running
        .write_in(&transaction, running.progress_row(), &events)
        .await?;
    transaction.commit().await?;
    if !events.is_empty() {
        running.worker.tell(running.who.task, &[]).await;
    }
    Ok(())
}

/// Takes over the cold answers of another run of the same agent, version, model and probes that was
/// asked in the same way. The run, where there was one.
async fn copy_cold(running: &mut Running) -> Result<Option<RunId>, StageError> {
    let Some(hash) = running.task.probe_set_hash.clone() else {
        return Ok(None);
    };
    let database = &running.worker.platform.database;
    let sources: Vec<RunId> = answer::Entity::find()
        .select_only()
        .column(answer::Column::RunId)
        .join(JoinType::InnerJoin, answer::Relation::AgentRun.def())
        .join(JoinType::InnerJoin, agent_run::Relation::Task.def())
        .filter(answer::Column::Arm.eq(Arm::Cold))
        .filter(answer::Column::CopiedFrom.is_null())
        .filter(agent_run::Column::Id.ne(running.who.run))
        .filter(agent_run::Column::Agent.eq(running.who.agent.as_str()))
        .filter(agent_run::Column::AgentVersion.eq(running.version.as_str()))
        .filter(match &running.model {
            Some(model) => agent_run::Column::Model.eq(model.as_str()),
            None => agent_run::Column::Model.is_null(),
        })
        .filter(agent_run::Column::SealBroken.eq(false))
        .filter(task::Column::OrgId.eq(running.task.org_id.as_str()))
        .filter(task::Column::ProbeSetHash.eq(hash))
        .filter(task::Column::ProbesPerPrompt.eq(running.task.probes_per_prompt))
        .group_by(answer::Column::RunId)
        .having(
            Expr::from(Func::count(Expr::col((answer::Entity, answer::Column::Id))))
                .eq(i64::try_from(running.probes.len()).unwrap_or(i64::MAX)),
        )
        .order_by_asc(answer::Column::RunId)
        .limit(MOST_SOURCES)
        .into_tuple()
        .all(database)
        .await?;
    let manifests: Vec<(RunId, Option<Value>)> = agent_run::Entity::find()
        .select_only()
        .columns([agent_run::Column::Id, agent_run::Column::Manifest])
        .filter(agent_run::Column::Id.is_in(sources))
        .order_by_asc(agent_run::Column::Id)
        .into_tuple()
        .all(database)
        .await?;
    let own = running.comparable();
    let source = manifests.into_iter().find_map(|(run, manifest)| {
        let manifest = manifest?;
        let same = COLD_KEY.iter().all(|name| manifest[*name] == own[*name]);
        same.then_some(run)
    });
    let Some(source) = source else {
        return Ok(None);
    };
    // Probes have ids of their own in every task; their labels are the same.
    let answers: Vec<(String, String, i64)> = answer::Entity::find()
        .select_only()
        .column(probe::Column::Label)
        .column(answer::Column::Text)
        .column(answer::Column::DurationMs)
        .join(JoinType::InnerJoin, answer::Relation::Probe.def())
        .filter(answer::Column::RunId.eq(source))
        .filter(answer::Column::Arm.eq(Arm::Cold))
        .into_tuple()
        .all(database)
        .await?;
    let ids: HashMap<&str, ProbeId> = running
        .probes
        .iter()
        .map(|(id, probe)| (probe.label.as_str(), *id))
        .collect();
    let now = Utc::now();
    let mut rows = Vec::with_capacity(answers.len());
    for (label, text, duration_ms) in answers {
        let Some(probe) = ids.get(label.as_str()) else {
            return Ok(None);
        };
        rows.push(answer::ActiveModel {
            id: Set(AnswerId::new()),
            run_id: Set(running.who.run),
            probe_id: Set(*probe),
            arm: Set(Arm::Cold),
            break_index: Set(0),
            text: Set(text),
            grade: Set(None),
            verdict: Set(None),
            grader: Set(None),
            copied_from: Set(Some(source)),
            attribution: Set(None),
            in_summary: Set(None),
            confidence: Set(None),
            duration_ms: Set(duration_ms),
            created_at: Set(now),
        });
    }
    let progress = Progress {
        before: 0,
        done: rows.len(),
        of: rows.len(),
    };
    insert(running, Arm::Cold, rows, progress).await?;
    Ok(Some(source))
}
