//! Skeleton of an adapter: copy this file to begin a new one (docs/how-to/add-an-agent.md).
//!
//! It drives an imaginary program `skeleton-agent` that is compiled and tested, and never shipped.
//! The program reads one prompt from standard input and prints JSON lines. Its conversation is the
//! file `conversation.jsonl` in HOME, so a fork, a checkpoint and a resume are copies of that file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use async_trait::async_trait;
use serde::Deserialize;

use super::cli_adapter::adapter::{CliTool, StartingSession};
use super::cli_adapter::program::CliDescription;
use super::cli_adapter::session::CliSession;
use super::cli_adapter::{NEUTRAL_PROMPT, files};
use crate::adapter::{Access, AgentSession, Capabilities, Checkpoint, Endpoint, Turn};
use crate::event::{Compaction, CompactionTrigger, Proof};
use crate::failure::{Cause, Failure};
use crate::process;
use crate::turn_builder::TurnBuilder;

/// Step 1: describe the program, and add this constant to `adapters::all`.
pub(super) static SKELETON: CliTool = CliTool {
    description: CliDescription {
        name: "skeleton-agent",
        display_name: "Skeleton",
        install_hint: "npm install -g skeleton-agent",
        default_model: "skeleton-1",
        // Declare only what the conformance suite confirms.
        capabilities: Capabilities {
            fork: true,
            manual_compaction: true,
            auto_compaction: true,
            forced_compaction: false,
            resume: true,
            usage: false,
            tools_off: true,
        },
        environment: &["SKELETON_API_KEY", "SKELETON_BASE_URL"],
        runs_on_node: true,
    },
    endpoint_environment,
    start,
};

/// Step 2: return the variables that point the program to another endpoint, such as the model stub.
fn endpoint_environment(endpoint: &Endpoint) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("SKELETON_BASE_URL".to_owned(), endpoint.url.clone()),
        ("SKELETON_API_KEY".to_owned(), endpoint.key.clone()),
    ])
}

/// Step 3: start a session, or continue from a checkpoint.
fn start(cli: CliSession, checkpoint: Option<&Checkpoint>) -> StartingSession<'_> {
    Box::pin(async move {
        let session = SkeletonSession { cli };
        if let Some(checkpoint) = checkpoint {
            files::write(&session.conversation(), &checkpoint.state).await?;
        }
        Ok(Box::new(session) as Box<dyn AgentSession>)
    })
}

/// A conversation: one process per turn.
struct SkeletonSession {
    cli: CliSession,
}

impl SkeletonSession {
    fn conversation(&self) -> PathBuf {
        self.cli.spec.home.join("conversation.jsonl")
    }

    /// Step 4: run one turn. Returns only a turn whose end the program reported.
    async fn turn(&self, prompt: &str, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        let started = Instant::now();
        let folder = self.cli.working_folder().await?;
        let mut args = vec![
            "--json".into(),
            "--model".into(),
            self.cli.model.clone().into(),
        ];
        if self.cli.is_sealed() {
            args.push("--no-tools".into());
        }
        let launch = self.cli.launch(
            args,
            folder,
            self.cli.environment(),
            prompt.as_bytes().to_vec(),
        );
        let mut turn = TurnBuilder::default();
        let mut is_complete = false;
        let exit = process::run(&launch, &self.cli.spec, |line| {
            read_line(&line.bytes, trigger, &mut turn, &mut is_complete);
            Ok(turn.drain_events())
        })
        .await?;
        if !is_complete {
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!(
                    "Skeleton exited without the end of its turn: {}",
                    exit.stderr
                ),
            ));
        }
        Ok(turn.finish(started.elapsed()))
    }
}

/// Step 5: read the program's output. Unknown lines are ignored.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OutputLine {
    Text {
        text: String,
    },
    Compacted {
        before: Option<u64>,
        after: Option<u64>,
        summary: Option<String>,
    },
    Done,
    #[serde(other)]
    Other,
}

fn read_line(
    bytes: &[u8],
    trigger: CompactionTrigger,
    turn: &mut TurnBuilder,
    is_complete: &mut bool,
) {
    match serde_json::from_slice(bytes) {
        Ok(OutputLine::Text { text }) => turn.text(&text),
        Ok(OutputLine::Compacted {
            before,
            after,
            summary,
        }) => turn.compacted(Compaction {
            trigger,
            tokens_before: before,
            tokens_after: after,
            summary,
            proof: Proof::Reported,
            reinjected: Vec::new(),
        }),
        Ok(OutputLine::Done) => *is_complete = true,
        Ok(OutputLine::Other) | Err(_) => {}
    }
}

#[async_trait]
impl AgentSession for SkeletonSession {
    async fn prompt(&mut self, text: &str) -> Result<Turn, Failure> {
        self.turn(text, CompactionTrigger::Auto).await
    }

    async fn compact(&mut self, trigger: CompactionTrigger) -> Result<Turn, Failure> {
        match trigger {
            CompactionTrigger::Manual => self.turn("/compact", trigger).await,
            CompactionTrigger::Auto => self.turn(NEUTRAL_PROMPT, trigger).await,
        }
    }

    async fn fork(&self, access: Access) -> Result<Box<dyn AgentSession>, Failure> {
        let checkpoint = self.checkpoint().await?;
        let fork = Self {
            cli: self.cli.fork(access),
        };
        files::write(&fork.conversation(), &checkpoint.state).await?;
        Ok(Box::new(fork))
    }

    async fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        let state = files::read_if_exists(&self.conversation()).await?;
        Ok(Checkpoint {
            session_id: "skeleton".to_owned(),
            state: state.unwrap_or_default(),
        })
    }

    async fn close(self: Box<Self>) {
        self.cli.remove_fork().await;
    }
}

#[cfg(test)]
mod tests;
