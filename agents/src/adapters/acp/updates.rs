//! What a program tells while it works, over the Agent Client Protocol.

use agent_client_protocol::v1::schema::{ContentBlock, SessionUpdate, ToolCallStatus};
use serde_json::Value;

use crate::event::{AgentEvent, ToolCall, Usage};
use crate::gathering::Gathering;

/// How much of what a tool is used on is told.
const TARGET_CHARS: usize = 200;

/// A turn as far as it was told.
#[derive(Debug, Default)]
pub(in crate::adapters) struct Updates {
    pub(in crate::adapters) gathering: Gathering,
    /// Calls that were announced before it was known what they are on.
    waiting: Vec<ToolCall>,
}

impl Updates {
    /// Takes one update; one of an unknown kind is none of ours.
    pub(in crate::adapters) fn take(&mut self, update: &Value) -> Vec<AgentEvent> {
        if let Ok(update) = serde_json::from_value::<SessionUpdate>(update.clone()) {
            self.known(update);
        }
        self.gathering.take_events()
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the protocol grows, and most of it is not about what an agent does"
    )]
    fn known(&mut self, update: SessionUpdate) {
        match update {
            SessionUpdate::AgentMessageChunk(chunk) => {
                if let ContentBlock::Text(text) = chunk.content {
                    self.gathering.chunk(&text.text);
                }
            }
            SessionUpdate::ToolCall(call) => {
                let target = call
                    .locations
                    .first()
                    .map(|location| location.path.display().to_string());
                let input = call.raw_input.as_ref().map(target_of);
                let call = ToolCall {
                    id: call.tool_call_id.to_string(),
                    tool: call.title,
                    target: cut(&target.or(input).unwrap_or_default()),
                };
                if call.target.is_empty() {
                    self.waiting.push(call);
                } else {
                    self.gathering.tool_call(call);
                }
            }
            SessionUpdate::ToolCallUpdate(update) => {
                let id = update.tool_call_id.to_string();
                let fields = update.fields;
                let over = fields.status.is_some_and(|status| {
                    matches!(status, ToolCallStatus::Completed | ToolCallStatus::Failed)
                });
                let location = fields.locations.as_ref().and_then(|locations| {
                    let first = locations.first()?;
                    Some(first.path.display().to_string())
                });
                let target = location
                    .or_else(|| fields.raw_input.as_ref().map(target_of))
                    .or_else(|| fields.title.clone());
                let at = self.waiting.iter().position(|call| call.id == id);
                if let Some(at) = at
                    && (target.is_some() || over)
                {
                    let mut call = self.waiting.swap_remove(at);
                    call.target = cut(&target.unwrap_or_default());
                    self.gathering.tool_call(call);
                }
                if over {
                    let failed = matches!(fields.status, Some(ToolCallStatus::Failed));
                    let bytes = fields
                        .content
                        .and_then(|content| serde_json::to_string(&content).ok())
                        .map_or(0, |content| content.len() as u64);
                    self.gathering.tool_result(&id, failed, bytes);
                }
            }
            SessionUpdate::UsageUpdate(usage) => self.gathering.usage(Usage {
                context: usage.used,
                window: Some(usage.size),
            }),
            _ => {}
        }
    }

    /// What was told in all. A call that was announced and never heard of again was made all the
    /// same.
    pub(in crate::adapters) fn finish(mut self) -> Gathering {
        for call in std::mem::take(&mut self.waiting) {
            self.gathering.tool_call(call);
        }
        self.gathering
    }
}

/// What a tool is used on, by its arguments.
fn target_of(input: &Value) -> String {
    let named = ["file_path", "absolute_path", "path", "pattern", "command"]
        .iter()
        .find_map(|name| input.get(*name)?.as_str());
    named.map_or_else(|| input.to_string(), str::to_owned)
}

fn cut(text: &str) -> String {
    text.chars().take(TARGET_CHARS).collect()
}
