//! Anthropic's Messages API.

use serde_json::{Value, json};

use super::answer::{Answer, Billed};
use super::conversation::{Block, Conversation, Role, Tool, elements, strings_of, text_of};
use super::rules::Reply;

/// Parses a request.
pub(super) fn parse(body: &Value) -> Conversation {
    let mut blocks = Vec::new();
    for message in elements(body, "messages") {
        let role = match message["role"].as_str() {
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            _ => Role::User,
        };
        let content = &message["content"];
        if let Value::Array(parts) = content {
            blocks.extend(parts.iter().filter_map(|part| block(role, part)));
        } else {
            blocks.push(Block::Text {
                role,
                text: text_of(content),
            });
        }
    }
    Conversation {
        model: body["model"].as_str().map(str::to_owned),
        stream: body["stream"] == json!(true),
        system: text_of(&body["system"]),
        blocks,
        tools: elements(body, "tools")
            .map(|tool| Tool {
                name: text_of(&tool["name"]),
                schema: tool["input_schema"].clone(),
            })
            .collect(),
    }
}

fn block(role: Role, part: &Value) -> Option<Block> {
    match part["type"].as_str()? {
        "text" => Some(Block::Text {
            role,
            text: text_of(&part["text"]),
        }),
        "tool_use" => Some(Block::Call {
            args: part["input"].clone(),
        }),
        "tool_result" => Some(Block::Result {
            text: strings_of(&part["content"]),
        }),
        _ => None,
    }
}

/// Writes an answer.
pub(super) fn write(conversation: &Conversation, reply: &Reply, billed: Billed) -> Answer {
    let model = conversation.model.as_deref().unwrap_or("stub");
    let id = format!("msg_stub_{}", billed.number);
    let mut content = Vec::new();
    if !reply.text.is_empty() {
        content.push(json!({"type": "text", "text": reply.text}));
    }
    for (number, call) in reply.calls.iter().enumerate() {
        content.push(json!({
            "type": "tool_use",
            "id": format!("toolu_{}_{number}", billed.number),
            "name": call.name,
            "input": call.args,
        }));
    }
    let stop = if reply.calls.is_empty() {
        "end_turn"
    } else {
        "tool_use"
    };
    let usage = |output: u64| {
        json!({
            "input_tokens": billed.input,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output,
        })
    };
    let message = |content: Value, stop: Value, output: u64| {
        json!({
            "id": id, "type": "message", "role": "assistant", "model": model,
            "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": usage(output),
        })
    };
    if !conversation.stream {
        return Answer::Whole(message(json!(content), json!(stop), billed.output));
    }
    let mut events = vec![(
        Some("message_start"),
        json!({"type": "message_start", "message": message(json!([]), Value::Null, 1)}),
    )];
    for (index, block) in content.iter().enumerate() {
        let (empty, delta) = if block["type"] == "text" {
            (
                json!({"type": "text", "text": ""}),
                json!({"type": "text_delta", "text": block["text"]}),
            )
        } else {
            let mut empty = block.clone();
            empty["input"] = json!({});
            let args = block["input"].to_string();
            (
                empty,
                json!({"type": "input_json_delta", "partial_json": args}),
            )
        };
        events.push((
            Some("content_block_start"),
            json!({"type": "content_block_start", "index": index, "content_block": empty}),
        ));
        events.push((
            Some("content_block_delta"),
            json!({"type": "content_block_delta", "index": index, "delta": delta}),
        ));
        events.push((
            Some("content_block_stop"),
            json!({"type": "content_block_stop", "index": index}),
        ));
    }
    events.push((
        Some("message_delta"),
        json!({
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": null},
            "usage": {"output_tokens": billed.output},
        }),
    ));
    events.push((Some("message_stop"), json!({"type": "message_stop"})));
    Answer::Events(events)
}
