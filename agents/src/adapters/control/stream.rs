//! Event stream of the control agents.

use std::time::Duration;

use crate::adapter::Turn;
use crate::control::{WireEvent, WireTrigger};
use crate::event::{AgentEvent, Compaction, CompactionTrigger, Proof, ToolCall, Usage};
use crate::failure::{Cause, Failure};
use crate::process::{Line, ProgramExit};
use crate::turn_builder::TurnBuilder;

/// Reader for the lines of one turn.
#[derive(Default)]
pub(super) struct StreamReader {
    turn: TurnBuilder,
    /// Whether the turn failed, and why.
    result: Option<(bool, Option<String>)>,
}

impl StreamReader {
    pub(super) fn line(&mut self, line: &Line) -> Result<Vec<AgentEvent>, Failure> {
        if line.cut {
            return Err(Failure::harness(
                "a line of the control agent exceeds the limit",
            ));
        }
        let event = serde_json::from_slice::<WireEvent>(&line.bytes).map_err(|error| {
            Failure::harness(format!(
                "could not parse a line of the control agent: {error}"
            ))
        })?;
        let turn = &mut self.turn;
        match event {
            WireEvent::Init { .. } | WireEvent::Other => {}
            WireEvent::Text { text } => turn.text(&text),
            WireEvent::ToolCall { id, tool, target } => {
                turn.tool_call(ToolCall { id, tool, target });
            }
            WireEvent::ToolResult {
                id,
                is_error,
                bytes,
            } => turn.tool_result(&id, is_error, bytes),
            WireEvent::Compacted {
                trigger,
                tokens_before,
                tokens_after,
                summary,
            } => turn.compacted(Compaction {
                trigger: match trigger {
                    WireTrigger::Auto => CompactionTrigger::Auto,
                    WireTrigger::Manual => CompactionTrigger::Manual,
                },
                tokens_before: Some(tokens_before),
                tokens_after: Some(tokens_after),
                summary: Some(summary),
                proof: Proof::Reported,
                reinjected: Vec::new(),
            }),
            WireEvent::Usage { context, window } => turn.usage(Usage {
                context,
                window: Some(window),
            }),
            WireEvent::Result { is_error, message } => self.result = Some((is_error, message)),
        }
        Ok(turn.drain_events())
    }

    /// Returns the turn of a process that exited.
    pub(super) fn finish(self, exit: &ProgramExit, duration: Duration) -> Result<Turn, Failure> {
        match self.result {
            Some((false, _)) if exit.status.success() => Ok(self.turn.finish(duration)),
            Some((_, message)) => Err(Failure::new(
                Cause::AgentCrashed,
                message.unwrap_or_else(|| format!("the control agent exited with {}", exit.status)),
            )),
            None => Err(Failure::new(
                Cause::AgentCrashed,
                format!(
                    "the control agent exited with {} in the middle of a turn: {}",
                    exit.status, exit.stderr
                ),
            )),
        }
    }

    /// Returns the turn of a control that ran in this process.
    pub(super) fn finish_in_process(self, duration: Duration) -> Result<Turn, Failure> {
        match self.result {
            Some((false, _)) => Ok(self.turn.finish(duration)),
            Some((true, message)) => Err(Failure::new(
                Cause::AgentCrashed,
                message.unwrap_or_default(),
            )),
            None => Err(Failure::harness("the control agent reported no result")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A turn as the program wrote it.
    const RECORDED: &str = r#"{"type":"init","session":"s","version":"0.1.0"}
{"type":"tool_call","id":"call-1","tool":"read","target":"pull_request.diff"}
{"type":"tool_result","id":"call-1","is_error":false,"bytes":120}
{"type":"something_new","detail":[1,2]}
{"type":"compacted","trigger":"auto","tokens_before":900,"tokens_after":80,"summary":"[AR-01] x"}
{"type":"text","text":"one"}
{"type":"text","text":"two"}
{"type":"usage","context":110,"window":1000}
{"type":"result","is_error":false,"message":null}"#;

    fn line(bytes: &[u8]) -> Line {
        Line {
            bytes: bytes.to_vec(),
            cut: false,
            whole_length: bytes.len() as u64 + 1,
        }
    }

    #[test]
    fn a_recorded_turn_is_read_completely_and_unknown_kinds_are_skipped() {
        let mut reader = StreamReader::default();
        let events: Vec<_> = RECORDED
            .lines()
            .flat_map(|text| reader.line(&line(text.as_bytes())).expect("a good line"))
            .collect();
        assert_eq!(events.len(), 6);
        let turn = reader.turn.turn();
        assert_eq!(turn.text, "one\ntwo");
        assert_eq!(turn.tool_calls.len(), 1);
        assert_eq!(turn.compactions[0].tokens_before, Some(900));
        assert_eq!(turn.usage.map(|usage| usage.context), Some(110));
        assert_eq!(reader.result, Some((false, None)));
    }

    #[test]
    fn a_cut_line_is_a_harness_failure() {
        let mut cut = line(br#"{"type":"text","text":"one"}"#);
        cut.cut = true;
        let failure = StreamReader::default().line(&cut).expect_err("a cut line");
        assert_eq!(failure.cause, Cause::Harness);
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = StreamReader::default().line(&line(&bytes));
        }

        #[test]
        fn a_recorded_line_with_a_broken_byte_is_read_or_refused(
            number in 0_usize..9, at in 0_usize..90, byte in any::<u8>(),
        ) {
            let mut bytes = RECORDED.lines().nth(number).unwrap_or_default().as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = StreamReader::default().line(&line(&bytes));
        }
    }
}
