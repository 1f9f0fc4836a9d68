//! One turn: what is prepared for it, what is read after it.

use std::time::Instant;

use super::launch::{KEY, Size};
use super::stream::{Fault, Reading};
use super::{CodexSession, home, rollout};
use crate::adapter::{Stream, Turn};
use crate::event::{CompactionTrigger, Usage};
use crate::failure::{Cause, Failure};
use crate::gathering::Gathering;
use crate::prices;
use crate::process;

/// What a turn is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    Prompt(&'a str, Size),
    /// The program's own command.
    Compaction,
}

impl CodexSession {
    /// A turn after whose failure the conversation is as it was before.
    pub(super) async fn turn(&mut self, asked: Asked<'_>) -> Result<Turn, Fault> {
        let known = self.id.clone();
        let before = self.rollout().await?;
        let turn = self.try_turn(asked, before.as_deref()).await;
        if turn.is_err() {
            self.id = known;
            if let Err(failure) = self.put_back(before.as_deref()).await {
                tracing::warn!(error = %failure, "a conversation of Codex could not be put back");
            }
        }
        turn.map_err(|fault| self.without_key(fault))
    }

    async fn try_turn(&mut self, asked: Asked<'_>, before: Option<&[u8]>) -> Result<Turn, Fault> {
        let begun = Instant::now();
        let (mut gathering, trigger, ran_commands) = match asked {
            Asked::Prompt(prompt, size) => {
                let reading = self.say(prompt, size).await?;
                let ran_commands = reading.ran_commands();
                (reading.gathering, CompactionTrigger::Auto, ran_commands)
            }
            Asked::Compaction => (self.command().await?, CompactionTrigger::Manual, true),
        };
        let after = self.rollout().await?.unwrap_or_default();
        let told = rollout::told(before.unwrap_or_default(), &after, trigger)
            .ok_or_else(|| crashed("Codex changed what it had written of the conversation"))?;
        if let Some(result) = told.not_started.filter(|_| !ran_commands) {
            let last = result.lines().last().unwrap_or_default();
            return Err(Failure::harness(format!(
                "Codex's own sandbox does not work here, so that no command can read anything: \
                 {last}"
            ))
            .into());
        }
        for compaction in told.compactions {
            gathering.compacted(compaction);
        }
        if let Some(context) = told.context {
            let catalogue = self.catalogue.as_ref();
            gathering.usage(Usage {
                context,
                window: catalogue.and_then(|catalogue| catalogue.window),
            });
        }
        let cost = told
            .billed
            .and_then(|tokens| prices::cost(&self.model, tokens));
        gathering.billed(told.billed, cost);
        self.hand_on(&mut gathering).await?;
        Ok(gathering.finish(begun.elapsed()))
    }

    async fn say(&mut self, prompt: &str, size: Size) -> Result<Reading, Fault> {
        if prompt.trim().is_empty() {
            return Err(Failure::harness("Codex takes no empty prompt").into());
        }
        let folder = self.prepare(size).await?;
        let launch = self.exec(folder, prompt);
        self.spec.raw.line(Stream::Stdin, &launch.input);
        let mut reading = Reading::default();
        let ended = process::run(&launch, &self.spec, |line| Ok(reading.line(line))).await?;
        if let Some(fault) = reading.fault(&ended) {
            return Err(fault);
        }
        self.keep(reading.thread.as_deref()).await?;
        Ok(reading)
    }

    /// Takes the conversation that the turn was of for this session's.
    async fn keep(&mut self, thread: Option<&str>) -> Result<(), Failure> {
        let thread = thread
            .and_then(home::thread_id)
            .ok_or_else(|| crashed("Codex told no id of the conversation"))?;
        match &self.id {
            None => {
                self.settle(&thread).await?;
                self.id = Some(thread);
                Ok(())
            }
            Some(id) if *id == thread => Ok(()),
            Some(_) => Err(crashed("Codex went on with another conversation")),
        }
    }

    /// Hands events on that only the end of the turn told.
    pub(super) async fn hand_on(&self, gathering: &mut Gathering) -> Result<(), Failure> {
        let events = gathering.take_events();
        let handing_on = async {
            for event in events {
                // Nobody listening is no reason to fail a turn.
                let _ = self.spec.events.send(event).await;
            }
        };
        tokio::select! {
            () = self.spec.cancel.cancelled() => Err(Failure::cancelled()),
            handed = tokio::time::timeout(self.spec.limits.turn, handing_on) => handed
                .map_err(|_| Failure::harness("the agent's events were not taken")),
        }
    }

    /// Providers quote a key that they refuse.
    fn without_key(&self, mut fault: Fault) -> Fault {
        if let Some(key) = self.spec.environment.get(KEY).filter(|key| !key.is_empty()) {
            fault.failure.message = fault.failure.message.replace(key.as_str(), "(key)");
        }
        fault
    }
}

pub(super) fn crashed(what: &str) -> Failure {
    Failure::new(Cause::AgentCrashed, what)
}
