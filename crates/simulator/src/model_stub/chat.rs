//! `OpenAI`'s chat completions, and compatible APIs.

use serde_json::{Value, json};

use super::answer::{Answer, Billed};
use super::conversation::{Block, Conversation, Role, Tool, elements, parse_arguments, text_of};
use super::rules::Reply;

/// Parses a request.
pub(super) fn parse(body: &Value) -> Conversation {
    let mut system = String::new();
    let mut blocks = Vec::new();
    for message in elements(body, "messages") {
        let content = &message["content"];
        match message["role"].as_str() {
            Some("system" | "developer") => {
                system.push_str(&text_of(content));
                system.push('\n');
            }
            Some("tool") => blocks.push(Block::Result {
                text: text_of(content),
            }),
            Some("assistant") => {
                push_texts(&mut blocks, Role::Assistant, content);
                for call in elements(message, "tool_calls") {
                    blocks.push(Block::Call {
                        args: parse_arguments(&call["function"]["arguments"]),
                    });
                }
            }
            _ => push_texts(&mut blocks, Role::User, content),
        }
    }
    Conversation {
        model: body["model"].as_str().map(str::to_owned),
        stream: body["stream"] == json!(true),
        system,
        blocks,
        tools: elements(body, "tools")
            .map(|tool| Tool {
                name: text_of(&tool["function"]["name"]),
                schema: tool["function"]["parameters"].clone(),
            })
            .collect(),
    }
}

fn push_texts(blocks: &mut Vec<Block>, role: Role, content: &Value) {
    if let Value::Array(parts) = content {
        blocks.extend(parts.iter().map(|part| Block::Text {
            role,
            text: text_of(part),
        }));
    } else if !content.is_null() {
        blocks.push(Block::Text {
            role,
            text: text_of(content),
        });
    }
}

/// Writes an answer.
pub(super) fn write(conversation: &Conversation, reply: &Reply, billed: Billed) -> Answer {
    let id = format!("chatcmpl-stub-{}", billed.number);
    let model = conversation.model.as_deref().unwrap_or("stub");
    let calls: Vec<Value> = reply
        .calls
        .iter()
        .enumerate()
        .map(|(index, call)| {
            json!({
                "index": index,
                "id": format!("call_{}_{index}", billed.number),
                "type": "function",
                "function": {"name": call.name, "arguments": call.args.to_string()},
            })
        })
        .collect();
    let finish = if calls.is_empty() {
        "stop"
    } else {
        "tool_calls"
    };
    let usage = json!({
        "prompt_tokens": billed.input,
        "completion_tokens": billed.output,
        "total_tokens": billed.input + billed.output,
        "prompt_tokens_details": {"cached_tokens": 0},
    });
    let mut message = json!({"role": "assistant", "content": reply.text});
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    if !conversation.stream {
        return Answer::Whole(json!({
            "id": id, "object": "chat.completion", "created": 0, "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": usage,
        }));
    }
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": id, "object": "chat.completion.chunk", "created": 0, "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
    };
    let mut last = chunk(json!({}), json!(finish));
    last["usage"] = usage.clone();
    let usage_chunk = json!({
        "id": id, "object": "chat.completion.chunk", "created": 0, "model": model,
        "choices": [], "usage": usage,
    });
    Answer::Chunks(vec![chunk(message, Value::Null), last, usage_chunk])
}
