//! Open questions: purpose, risks and rollback of the pull request.
//!
//! They are asked after free recall, each in its own fork if the agent can fork, and of a session
//! that never saw the pull request, which shows how much can be guessed.

use agents::adapter::{Access, Turn};
use domain::vocabulary::{Arm, OpenTopic};
use entity::{RunId, agent_run};
use futures::future::try_join_all;
use prompts::{Open, Prompt};
use sea_orm::EntityTrait;

use crate::job_error::JobError;
use crate::run::context::{RunContext, Session};
use crate::run::phases::break_::break_artifact;

/// Returns the name of the artifact with the answer to an open question.
pub(crate) fn open_answer_artifact(topic: OpenTopic, arm: Arm, break_index: i32) -> String {
    let topic = topic.as_str();
    match arm {
        Arm::Cold => format!("open_{topic}_cold"),
        Arm::Baseline => break_artifact(&format!("open_{topic}_baseline"), break_index),
        Arm::Post => break_artifact(&format!("open_{topic}"), break_index),
    }
}

/// Returns the topics with facts, the same in every arm and run of a task.
fn topics(context: &RunContext) -> Vec<OpenTopic> {
    let open = &context.material.open;
    let known = |topic: &OpenTopic| open.iter().any(|one| one.topic == *topic);
    OpenTopic::ALL.into_iter().filter(known).collect()
}

/// Asks sealed forks, or the session itself, one question after the other, if the agent cannot
/// fork.
pub(crate) async fn ask_open_questions(
    context: &mut RunContext,
    session: &mut Session,
    arm: Arm,
) -> Result<(), JobError> {
    let topics = topics(context);
    if !context.can_fork() {
        for topic in topics {
            let text = question(topic)?;
            let turn = session.prompt(&text).await?;
            store_answer(context, topic, arm, &text, &turn).await?;
        }
        return Ok(());
    }
    let mut copies = Vec::with_capacity(topics.len());
    for topic in topics {
        copies.push((topic, session.fork(Access::Sealed).await?));
    }
    ask_sessions(context, arm, copies).await
}

/// Asks sessions that never saw the pull request.
///
/// Answers of the run `source`, from which the cold answers were copied, are reused: these
/// questions mention nothing of the pull request, and agent, model and prompts are the same.
pub(crate) async fn ask_open_questions_cold(
    context: &mut RunContext,
    source: Option<RunId>,
) -> Result<(), JobError> {
    let mut fresh = Vec::new();
    for topic in topics(context) {
        match reused_answer(context, source, topic).await? {
            Some(text) => {
                let name = open_answer_artifact(topic, Arm::Cold, 0);
                context.store_text(&name, "text/markdown", &text).await?;
            }
            None => {
                let spec = context.spec(Access::Sealed).await?;
                fresh.push((topic, context.adapter.open(spec).await?));
            }
        }
    }
    ask_sessions(context, Arm::Cold, fresh).await
}

fn question(topic: OpenTopic) -> Result<String, JobError> {
    let topic = topic.as_str();
    Ok(Open { topic }.render()?)
}

async fn ask_sessions(
    context: &mut RunContext,
    arm: Arm,
    sessions: Vec<(OpenTopic, Session)>,
) -> Result<(), JobError> {
    let asking = sessions.into_iter().map(|(topic, mut session)| async move {
        let text = question(topic)?;
        let turn = session.prompt(&text).await?;
        session.close().await;
        Ok::<_, JobError>((topic, text, turn))
    });
    for (topic, text, turn) in try_join_all(asking).await? {
        store_answer(context, topic, arm, &text, &turn).await?;
    }
    Ok(())
}

async fn store_answer(
    context: &mut RunContext,
    topic: OpenTopic,
    arm: Arm,
    text: &str,
    turn: &Turn,
) -> Result<(), JobError> {
    let heading = format!("{} of {}", topic.as_str(), arm.as_str());
    context.record_turn(&heading, text, turn);
    context.check_asked(turn, &heading).await?;
    let name = open_answer_artifact(topic, arm, context.break_index);
    context
        .store_text(&name, "text/markdown", &turn.text)
        .await?;
    context.check_cost_limit()
}

async fn reused_answer(
    context: &RunContext,
    source: Option<RunId>,
    topic: OpenTopic,
) -> Result<Option<String>, JobError> {
    let database = &context.worker.platform.database;
    let Some(source) = source else {
        return Ok(None);
    };
    let Some(run) = agent_run::Entity::find_by_id(source).one(database).await? else {
        return Ok(None);
    };
    let name = open_answer_artifact(topic, Arm::Cold, 0);
    let worker = &context.worker;
    let bytes = worker
        .load_artifact(run.task_id, Some(run.id), &name)
        .await?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}
