//! Asks the probes of an arm, sealed, each in a conversation of its own.

use agents::adapter::{Access, Turn};
use chrono::Utc;
use domain::vocabulary::{Arm, Attribution, Level};
use entity::{AnswerId, ProbeId, answer};
use evaluation::grading::numbered_parts;
use evaluation::probe::Probe;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use platform::events::Event;
use prompts::Prompt;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

use crate::job_error::JobError;
use crate::run::context::{RunContext, Session, millis, run_seed};

/// Number of probes that are asked at once.
const AT_ONCE: usize = 4;
/// Number of answers between two progress events.
const TELL_EVERY: usize = 8;
/// Rows per insert.
const ROWS: usize = 100;
/// Source of the sessions of an arm.
pub(crate) enum SessionSource<'a> {
    /// Forks of a session, one per prompt.
    Fork(&'a mut Session),
    /// The session itself, one prompt after the other, for an agent that cannot fork.
    Same(&'a mut Session),
    /// New sessions.
    New,
}

/// A prompt with one probe or several.
struct ProbePrompt {
    /// Probes in the order in which they are asked, with their labels.
    probes: Vec<(ProbeId, String)>,
    text: String,
}

/// A prompt with its reply.
struct AnsweredPrompt {
    question: ProbePrompt,
    turn: Turn,
}

/// Returns the break that an answer of an arm belongs to.
fn break_of(context: &RunContext, arm: Arm) -> i32 {
    match arm {
        Arm::Cold => 0,
        Arm::Baseline | Arm::Post => context.break_index,
    }
}

/// Asks the unanswered probes of an arm, restricted to `only` if it is given.
pub(crate) async fn ask_all(
    context: &mut RunContext,
    arm: Arm,
    mut source: SessionSource<'_>,
    only: Option<&BTreeSet<ProbeId>>,
) -> Result<(), JobError> {
    let already: Vec<ProbeId> = answer::Entity::find()
        .select_only()
        .column(answer::Column::ProbeId)
        .filter(answer::Column::RunId.eq(context.identity.run))
        .filter(answer::Column::Arm.eq(arm))
        .filter(answer::Column::BreakIndex.eq(break_of(context, arm)))
        .into_tuple()
        .all(&context.worker.platform.database)
        .await?;
    let already: BTreeSet<ProbeId> = already.into_iter().collect();
    let mut done = already.len();
    let of = only.map_or(context.probes.len(), BTreeSet::len);
    let mut waiting = prompts_to_ask(context, arm, &already, only)?.into_iter();
    if let SessionSource::Same(session) = &mut source {
        for question in waiting {
            let turn = session.prompt(&question.text).await?;
            context.record_main_line(&turn);
            let before = done;
            done += question.probes.len();
            let batch = vec![AnsweredPrompt { question, turn }];
            record_answers(context, arm, batch, ArmProgress { before, done, of }).await?;
        }
        return Ok(());
    }
    let mut asking = FuturesUnordered::new();
    loop {
        while asking.len() < AT_ONCE {
            let Some(question) = waiting.next() else {
                break;
            };
            let mut session = match &mut source {
                SessionSource::Fork(session) | SessionSource::Same(session) => {
                    session.fork(Access::Sealed).await?
                }
                SessionSource::New => {
                    let spec = context.spec(Access::Sealed).await?;
                    context.adapter.open(spec).await?
                }
            };
            asking.push(async move {
                let turn = session.prompt(&question.text).await?;
                session.close().await;
                Ok::<AnsweredPrompt, JobError>(AnsweredPrompt { question, turn })
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
        record_answers(context, arm, batch, ArmProgress { before, done, of }).await?;
    }
    Ok(())
}

/// Progress of an arm.
#[derive(Clone, Copy)]
pub(super) struct ArmProgress {
    pub(super) before: usize,
    pub(super) done: usize,
    pub(super) of: usize,
}

/// Records answers in the transcript and the database, and checks the seal.
async fn record_answers(
    context: &mut RunContext,
    arm: Arm,
    batch: Vec<AnsweredPrompt>,
    progress: ArmProgress,
) -> Result<(), JobError> {
    for asked in &batch {
        let labels: Vec<&str> = asked
            .question
            .probes
            .iter()
            .map(|(_, label)| label.as_str())
            .collect();
        let heading = format!("{} of {}", labels.join(", "), arm.as_str());
        context.record_turn(&heading, &asked.question.text, &asked.turn);
        context.check_asked(&asked.turn, &heading).await?;
    }
    store_answers(context, arm, batch, progress).await?;
    context.check_task_cost().await
}

/// Returns the prompts with unanswered probes, in an order drawn per trial and arm.
fn prompts_to_ask(
    context: &RunContext,
    arm: Arm,
    already: &BTreeSet<ProbeId>,
    only: Option<&BTreeSet<ProbeId>>,
) -> Result<Vec<ProbePrompt>, JobError> {
    let seed = run_seed(context.task.seed, &context.identity);
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
        .map(joint_prompt)
        .collect()
}

/// Returns one prompt with these probes. A single remaining probe is asked like any single probe.
fn joint_prompt(probes: &[&(ProbeId, Probe)]) -> Result<ProbePrompt, JobError> {
    let questions: Vec<&str> = probes
        .iter()
        .map(|(_, probe)| probe.question.as_str())
        .collect();
    let text = match questions.as_slice() {
        [question] => prompts::Probe { question }.render()?,
        several => prompts::Probes { questions: several }.render()?,
    };
    let named = probes.iter().map(|(id, probe)| (*id, probe.label.clone()));
    Ok(ProbePrompt {
        probes: named.collect(),
        text,
    })
}

/// Returns each probe with its own part of the reply.
fn split_reply(asked: &AnsweredPrompt) -> Vec<(ProbeId, String)> {
    let probes = asked.question.probes.iter().map(|(id, _)| *id);
    let texts = match asked.question.probes.len() {
        1 => vec![asked.turn.text.clone()],
        several => numbered_parts(&asked.turn.text, several),
    };
    probes.zip(texts).collect()
}

async fn store_answers(
    context: &mut RunContext,
    arm: Arm,
    batch: Vec<AnsweredPrompt>,
    progress: ArmProgress,
) -> Result<(), JobError> {
    let now = Utc::now();
    let break_index = break_of(context, arm);
    let redactor = context.worker.platform.redactor.clone();
    let rows: Vec<answer::ActiveModel> = batch
        .iter()
        .flat_map(|asked| {
            split_reply(asked)
                .into_iter()
                .map(move |part| (asked, part))
        })
        .map(|(asked, (probe, text))| answer::ActiveModel {
            id: Set(AnswerId::new()),
            run_id: Set(context.identity.run),
            probe_id: Set(probe),
            arm: Set(arm),
            break_index: Set(break_index),
            text: Set(redactor.redact(&text).into_owned()),
            grade: Set(None),
            verdict: Set(None),
            grader: Set(None),
            copied_from: Set(None),
            // Tool calls are known only now. Judging determines the other attributions.
            attribution: Set((arm == Arm::Post && !asked.turn.tool_calls.is_empty())
                .then_some(Attribution::Reread)),
            in_summary: Set(None),
            confidence: Set(None),
            // Each answer gets its share of the turn.
            duration_ms: Set(i64::try_from(
                millis(asked.turn.duration) / asked.question.probes.len().max(1) as u64,
            )
            .unwrap_or(i64::MAX)),
            created_at: Set(now),
        })
        .collect();
    insert_answers(context, arm, rows, progress).await
}

pub(super) async fn insert_answers(
    context: &mut RunContext,
    arm: Arm,
    rows: Vec<answer::ActiveModel>,
    progress: ArmProgress,
) -> Result<(), JobError> {
    let ArmProgress { before, done, of } = progress;
    let mut events = Vec::new();
    if done == of || done / TELL_EVERY > before / TELL_EVERY {
        let event = Event::Answered {
            agent: context.identity.agent.clone(),
            trial: context.identity.trial,
            arm: arm.as_str().to_owned(),
            done,
            of,
        };
        events.push(context.identity.event(Level::Info, event));
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
        context.worker.notify(context.identity.task, &[]).await;
    }
    Ok(())
}
