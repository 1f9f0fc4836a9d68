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


/// How many probes are asked at once.
const AT_ONCE: usize = 4;
/// Every so many answers an event tells how far an arm is.
const TELL_EVERY: usize = 8;
/// Rows per insert.
const ROWS: usize = 100;
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

/// The break that an answer belongs to.
fn break_of(context: &RunContext, arm: Arm) -> i32 {
    match arm {
        Arm::Cold => 0,
        Arm::Baseline | Arm::Post => context.break_index,
    }
}

/// Asks the probes of an arm that are not answered yet; `only` these, where it is not all.
pub(crate) async fn ask_all(
    context: &mut RunContext,
    arm: Arm,
    mut origin: Origin<'_>,
    only: Option<&BTreeSet<ProbeId>>,
) -> Result<(), JobError> {
    let already: Vec<ProbeId> = answer::Entity::find()
        .select_only()
        .column(answer::Column::ProbeId)
        .filter(answer::Column::RunId.eq(context.who.run))
        .filter(answer::Column::Arm.eq(arm))
        .filter(answer::Column::BreakIndex.eq(break_of(context, arm)))
        .into_tuple()
        .all(&context.worker.platform.database)
        .await?;
    let already: BTreeSet<ProbeId> = already.into_iter().collect();
    let mut done = already.len();
    let of = only.map_or(context.probes.len(), BTreeSet::len);
    let mut waiting = questions(context, arm, &already, only)?.into_iter();
    if let Origin::Same(session) = &mut origin {
        for question in waiting {
            let turn = session.prompt(&question.text).await?;
            context.main_line(&turn);
            let before = done;
            done += question.probes.len();
            let batch = vec![Asked { question, turn }];
            take(context, arm, batch, Progress { before, done, of }).await?;
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
                    let spec = context.spec(Access::Sealed).await?;
                    context.adapter.open(spec).await?
                }
            };
            asking.push(async move {
                let turn = session.prompt(&question.text).await?;
                session.close().await;
                Ok::<Asked, JobError>(Asked { question, turn })
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
        take(context, arm, batch, Progress { before, done, of }).await?;
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
    context: &mut RunContext,
    arm: Arm,
    batch: Vec<Asked>,
    progress: Progress,
) -> Result<(), JobError> {
    for asked in &batch {
        let labels: Vec<&str> = asked
            .question
            .probes
            .iter()
            .map(|(_, label)| label.as_str())
            .collect();
        let heading = format!("{} of {}", labels.join(", "), arm.as_str());
        context.note(&heading, &asked.question.text, &asked.turn);
        context.check_asked(&asked.turn, &heading).await?;
    }
    store(context, arm, batch, progress).await?;
    context.look_at_spending().await
}

/// What is still to be asked, in an order drawn per trial and arm; then as many to a prompt as the task
/// says.
fn questions(
    context: &RunContext,
    arm: Arm,
    already: &BTreeSet<ProbeId>,
    only: Option<&BTreeSet<ProbeId>>,
) -> Result<Vec<Question>, JobError> {
    let seed = seed(context.task.seed, &context.who);
    let mut waiting: Vec<&(ProbeId, Probe)> = context
        .probes
        .iter()
        .filter(|(id, _)| !already.contains(id) && only.is_none_or(|only| only.contains(id)))
        .collect();
    waiting.sort_by_cached_key(|(_, probe)| {
        Sha256::digest(format!("{seed}/{}/{}", arm.as_str(), probe.label))
    });
    let per_prompt = usize::try_from(context.task.probes_per_prompt).unwrap_or(1);
    waiting
        .chunks(per_prompt.max(1))
        .map(asked_together)
        .collect()
}

/// One prompt. What is left over for a prompt of its own is asked as any single probe.
fn asked_together(probes: &[&(ProbeId, Probe)]) -> Result<Question, JobError> {
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
    context: &mut RunContext,
    arm: Arm,
    batch: Vec<Asked>,
    progress: Progress,
) -> Result<(), JobError> {
    let now = Utc::now();
    let break_index = break_of(context, arm);
    let redactor = context.worker.platform.redactor.clone();
    let rows: Vec<answer::ActiveModel> = batch
        .iter()
        .flat_map(|asked| parts(asked).into_iter().map(move |part| (asked, part)))
        .map(|(asked, (probe, text))| answer::ActiveModel {
            id: Set(AnswerId::new()),
            run_id: Set(context.who.run),
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
    insert(context, arm, rows, progress).await
}

async fn insert(
    context: &mut RunContext,
    arm: Arm,
    rows: Vec<answer::ActiveModel>,
    progress: Progress,
) -> Result<(), JobError> {
    let Progress { before, done, of } = progress;
    let mut events = Vec::new();
    if done == of || done / TELL_EVERY > before / TELL_EVERY {
        let event = Event::Answered {
            agent: context.who.agent.clone(),
            trial: context.who.trial,
            arm: arm.as_str().to_owned(),
            done,
            of,
        };
        events.push(context.who.event(Level::Info, event));
    }
    let transaction = context.worker.begin(&context.job).await?;
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
    context
        .write_in(&transaction, context.progress_row(), &events)
        .await?;
    transaction.commit().await?;
    if !events.is_empty() {
        context.worker.notify(context.who.task, &[]).await;
    }
    Ok(())
}
