//! Session updates that a program sends during a turn, over the Agent Client Protocol.

use agent_client_protocol::v1::schema::{ContentBlock, SessionUpdate, ToolCallStatus};
use serde_json::Value;

use crate::adapters::cli_adapter::MAX_TARGET_CHARS;
use crate::adapters::cli_adapter::json::{shorten, tool_target};
use crate::event::{AgentEvent, ToolCall, Usage};
use crate::turn_builder::TurnBuilder;

/// Arguments of tools that name their target.
const TARGET_ARGUMENTS: [&str; 5] = ["file_path", "absolute_path", "path", "pattern", "command"];

/// The turn up to the last update.
#[derive(Debug, Default)]
pub(in crate::adapters) struct Updates {
    pub(in crate::adapters) turn: TurnBuilder,
    /// Calls that were announced without their target.
    pending_calls: Vec<ToolCall>,
}

impl Updates {
    /// Applies one update and returns its events. Unknown kinds are ignored.
    pub(in crate::adapters) fn apply(&mut self, update: &Value) -> Vec<AgentEvent> {
        if let Ok(update) = serde_json::from_value::<SessionUpdate>(update.clone()) {
            self.apply_known(update);
        }
        self.turn.drain_events()
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the protocol grows, and most of it is not about what an agent does"
    )]
    fn apply_known(&mut self, update: SessionUpdate) {
        match update {
            SessionUpdate::AgentMessageChunk(chunk) => {
                if let ContentBlock::Text(text) = chunk.content {
                    self.turn.chunk(&text.text);
                }
            }
            SessionUpdate::ToolCall(call) => {
                let target = call
                    .locations
                    .first()
                    .map(|location| location.path.display().to_string());
                let input = call.raw_input.as_ref().map(raw_target);
                let call = ToolCall {
                    id: call.tool_call_id.to_string(),
                    tool: call.title,
                    target: shorten(&target.or(input).unwrap_or_default(), MAX_TARGET_CHARS),
                };
                if call.target.is_empty() {
                    self.pending_calls.push(call);
                } else {
                    self.turn.tool_call(call);
                }
            }
            SessionUpdate::ToolCallUpdate(update) => {
                let id = update.tool_call_id.to_string();
                let fields = update.fields;
                let is_finished = fields.status.is_some_and(|status| {
                    matches!(status, ToolCallStatus::Completed | ToolCallStatus::Failed)
                });
                let location = fields.locations.as_ref().and_then(|locations| {
                    let first = locations.first()?;
                    Some(first.path.display().to_string())
                });
                let target = location
                    .or_else(|| fields.raw_input.as_ref().map(raw_target))
                    .or_else(|| fields.title.clone());
                let at = self.pending_calls.iter().position(|call| call.id == id);
                if let Some(at) = at
                    && (target.is_some() || is_finished)
                {
                    let mut call = self.pending_calls.swap_remove(at);
                    call.target = shorten(&target.unwrap_or_default(), MAX_TARGET_CHARS);
                    self.turn.tool_call(call);
                }
                if is_finished {
                    let failed = matches!(fields.status, Some(ToolCallStatus::Failed));
                    let bytes = fields
                        .content
                        .and_then(|content| serde_json::to_string(&content).ok())
                        .map_or(0, |content| content.len() as u64);
                    self.turn.tool_result(&id, failed, bytes);
                }
            }
            SessionUpdate::UsageUpdate(usage) => self.turn.usage(Usage {
                context: usage.used,
                window: Some(usage.size),
            }),
            _ => {}
        }
    }

    /// Returns the turn. A call without any later update counts as made.
    pub(in crate::adapters) fn finish(mut self) -> TurnBuilder {
        for call in std::mem::take(&mut self.pending_calls) {
            self.turn.tool_call(call);
        }
        self.turn
    }
}

fn raw_target(arguments: &Value) -> String {
    tool_target(arguments, &TARGET_ARGUMENTS)
}
