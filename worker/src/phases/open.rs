//! Open questions: what the pull request is for, what it puts at risk, how it is taken back. Asked after
//! free recall, each in a copy of its own where the agent can be copied; and of a session that never saw
//! the pull request, which shows what can be guessed.

use agents::adapter::{Access, Turn};
use domain::vocabulary::{Arm, OpenTopic};
use entity::{RunId, agent_run};
use futures::future::try_join_all;
use platform::artifacts;
use prompts::{Open, Prompt};
use sea_orm::EntityTrait;

use super::breaking::of_break;
use super::running::{Running, Session};
use crate::job::StageError;

/// The artifact that holds the answer to an open question.
pub(crate) fn artifact(topic: OpenTopic, arm: Arm, break_index: i32) -> String {
    let topic = topic.as_str();
    match arm {
        Arm::Cold => format!("open_{topic}_cold"),
        Arm::Baseline => of_break(&format!("open_{topic}_baseline"), break_index),
        Arm::Post => of_break(&format!("open_{topic}"), break_index),
    }
}

/// What there is something to ask about: the same in every arm and run of a task.
fn topics(running: &Running) -> Vec<OpenTopic> {
    let open = &running.material.open;
    let known = |topic: &OpenTopic| open.iter().any(|one| one.topic == *topic);
    OpenTopic::ALL.into_iter().filter(known).collect()
}

/// Asks sealed copies; or the session itself, one question after the other, where it cannot be copied.
pub(crate) async fn ask(
    running: &mut Running,
    session: &mut Session,
    arm: Arm,
) -> Result<(), StageError> {
    let topics = topics(running);
    if !running.forks() {
        for topic in topics {
            let text = question(topic)?;
            let turn = session.prompt(&text).await?;
            keep(running, topic, arm, &text, &turn).await?;
        }
        return Ok(());
    }
    let mut copies = Vec::with_capacity(topics.len());
    for topic in topics {
        copies.push((topic, session.fork(Access::Sealed).await?));
    }
    answers(running, arm, copies).await
}

/// Asks sessions that never saw the pull request.
///
/// What the run that the cold answers were taken from (`source`) said is taken over too, where it was
/// asked: these questions name nothing of the pull request, and its agent, model and prompts are the same.
pub(crate) async fn cold(running: &mut Running, source: Option<RunId>) -> Result<(), StageError> {
    let mut fresh = Vec::new();
    for topic in topics(running) {
        match taken_over(running, source, topic).await? {
            Some(text) => {
                let name = artifact(topic, Arm::Cold, 0);
                running.keep(&name, "text/markdown", &text).await?;
            }
            None => {
                let spec = running.spec(Access::Sealed).await?;
                fresh.push((topic, running.adapter.open(spec).await?));
            }
        }
    }
    answers(running, Arm::Cold, fresh).await
}

fn question(topic: OpenTopic) -> Result<String, StageError> {
    let topic = topic.as_str();
    Ok(Open { topic }.render()?)
}

async fn answers(
    running: &mut Running,
    arm: Arm,
    sessions: Vec<(OpenTopic, Session)>,
) -> Result<(), StageError> {
    let asking = sessions.into_iter().map(|(topic, mut session)| async move {
        let text = question(topic)?;
        let turn = session.prompt(&text).await?;
        session.close().await;
        Ok::<_, StageError>((topic, text, turn))
    });
    for (topic, text, turn) in try_join_all(asking).await? {
        keep(running, topic, arm, &text, &turn).await?;
    }
    Ok(())
}

async fn keep(
    running: &mut Running,
    topic: OpenTopic,
    arm: Arm,
    text: &str,
    turn: &Turn,
) -> Result<(), StageError> {
    let heading = format!("{} of {}", topic.as_str(), arm.as_str());
    running.note(&heading, text, turn);
    running.check_asked(turn, &heading).await?;
    let name = artifact(topic, arm, running.break_index);
    running.keep(&name, "text/markdown", &turn.text).await?;
    running.check_spending()
}

async fn taken_over(
    running: &Running,
    source: Option<RunId>,
    topic: OpenTopic,
) -> Result<Option<String>, StageError> {
    let database = &running.worker.platform.database;
    let Some(source) = source else {
        return Ok(None);
    };
    let Some(run) = agent_run::Entity::find_by_id(source).one(database).await? else {
        return Ok(None);
    };
    let name = artifact(topic, Arm::Cold, 0);
    let Some(found) = artifacts::find(database, run.task_id, Some(run.id), &name).await? else {
        return Ok(None);
    };
    let bytes = running.worker.platform.artifacts.get(&found).await?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
