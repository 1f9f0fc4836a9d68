//! The answer key for control agents and for a model stub. No real agent gets one.

use std::path::Path;

use agents::adapter::Profile;
use agents::control::KEY_FILE;
use agents::control::key::{self, AnswerKey, Entry, Statement};
use evaluation::claims::OpenFact;
use evaluation::probe::{self, Probe, ProbeSet};

use entity::task;
use platform::artifacts;
use platform::connect::Platform;
use platform::telemetry::chain;
use sea_orm::{EntityTrait, QueryOrder};

use crate::job_error::{JobError, io_error};
use crate::material::{MATERIAL, Material};

/// Writes the answer key into the HOME of a control agent. Does nothing for any other agent.
pub(crate) async fn write_answer_key(
    profile: &Profile,
    material: &Material,
    home: &Path,
) -> Result<(), JobError> {
    if !profile.control {
        return Ok(());
    }
    let path = home.join(KEY_FILE);
    let bytes = serde_json::to_vec(&key_of(&material.probe_set, &material.open))?;
    let target = path.clone();
    tokio::task::spawn_blocking(move || write_for_owner(&target, &bytes))
        .await
        .map_err(|error| JobError::harness(format!("could not write the answer key: {error}")))?
        .map_err(|error| io_error("writing an answer key", &path, error))
}

/// Writes a file that only its owner can read, from its first byte on.
fn write_for_owner(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

/// Returns the answer key to a set of probes and to the facts behind open questions.
pub fn key_of(probe_set: &ProbeSet, open: &[OpenFact]) -> AnswerKey {
    AnswerKey {
        entries: probe_set.probes.iter().map(entry).collect(),
        statements: open
            .iter()
            .map(|one| Statement {
                id: format!("{}-{}", one.topic.as_str(), one.fact.id),
                text: one.fact.statement.clone(),
                evidence: one.evidence.clone(),
            })
            .collect(),
    }
}

/// Returns the answer key of the newest task, for a model stub. Returns `None` if the task is not
/// prepared yet.
///
/// # Errors
///
/// The material of the task cannot be read.
pub async fn answer_key(platform: &Platform) -> Result<Option<AnswerKey>, String> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| chain(error);
    let newest = task::Entity::find()
        .order_by_desc(task::Column::Id)
        .one(&platform.database)
        .await
        .map_err(|error| unreadable(&error))?;
    let Some(newest) = newest else {
        return Ok(None);
    };
    let found = artifacts::find(&platform.database, newest.id, None, MATERIAL)
        .await
        .map_err(|error| unreadable(&error))?;
    let Some(found) = found else {
        return Ok(None);
    };
    let bytes = platform
        .artifacts
        .get(&found)
        .await
        .map_err(|error| unreadable(&error))?;
    let material: Material = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    Ok(Some(key_of(&material.probe_set, &material.open)))
}

fn entry(probe: &Probe) -> Entry {
    Entry {
        id: probe.label.clone(),
        question: probe.question.clone(),
        combine: match probe.key.combine {
            probe::Combine::Single => key::Combine::Single,
            probe::Combine::Set => key::Combine::Set,
            probe::Combine::Sequence => key::Combine::Sequence,
        },
        versions: probe.key.versions.iter().map(version).collect(),
        distractors: probe.distractors.clone(),
    }
}

fn version(version: &probe::Version) -> key::Version {
    let parts = version.parts.iter().map(|part| key::Part {
        evidence: part.evidence.clone(),
        value: part.value.clone(),
    });
    key::Version {
        parts: parts.collect(),
    }
}
