//! Google's Gemini API.

use serde_json::{Value, json};

use super::answer::{Answer, Billed};
use super::conversation::{Block, Conversation, Role, Tool, elements, strings_of, text_of};
use super::rules::Reply;

/// Parses a request. Its path contains the model, and whether it streams.
pub(super) fn parse(body: &Value, model: Option<String>, stream: bool) -> Conversation {
    let mut blocks = Vec::new();
    for content in elements(body, "contents") {
        let role = match content["role"].as_str() {
            Some("model") => Role::Assistant,
            _ => Role::User,
        };
        blocks.extend(elements(content, "parts").filter_map(|part| block(role, part)));
    }
    let system = body
        .get("systemInstruction")
        .or_else(|| body.get("system_instruction"))
        .map(|system| text_of(system.get("parts").unwrap_or(system)))
        .unwrap_or_default();
    Conversation {
        model,
        stream,
        system,
        blocks,
        tools: elements(body, "tools")
            .flat_map(|tool| elements(tool, "functionDeclarations"))
            .map(|tool| Tool {
                name: text_of(&tool["name"]),
                schema: tool
                    .get("parametersJsonSchema")
                    .or_else(|| tool.get("parameters"))
                    .cloned()
                    .unwrap_or_default(),
            })
            .collect(),
    }
}

fn block(role: Role, part: &Value) -> Option<Block> {
    if let Some(call) = part.get("functionCall") {
        return Some(Block::Call {
            args: call["args"].clone(),
        });
    }
    if let Some(result) = part.get("functionResponse") {
        return Some(Block::Result {
            text: strings_of(&result["response"]),
        });
    }
    Some(Block::Text {
        role,
        text: part.get("text")?.as_str()?.to_owned(),
    })
}

/// Writes an answer.
pub(super) fn write(conversation: &Conversation, reply: &Reply, billed: Billed) -> Answer {
    let mut parts = Vec::new();
    if !reply.text.is_empty() {
        parts.push(json!({"text": reply.text}));
    }
    for (number, call) in reply.calls.iter().enumerate() {
        let id = format!("call_{}_{number}", billed.number);
        parts.push(json!({"functionCall": {"id": id, "name": call.name, "args": call.args}}));
    }
    let answer = json!({
        "candidates": [{
            "content": {"role": "model", "parts": parts},
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": billed.input,
            "candidatesTokenCount": billed.output,
            "totalTokenCount": billed.input + billed.output,
        },
        "modelVersion": conversation.model,
        "responseId": format!("stub-{}", billed.number),
    });
    if conversation.stream {
        Answer::Events(vec![(None, answer)])
    } else {
        Answer::Whole(answer)
    }
}
