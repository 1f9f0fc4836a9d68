//! `OpenAI`'s Responses API.

use serde_json::{Value, json};

use super::answer::{Answer, Billed};
use super::conversation::{
    Block, Conversation, Role, Tool, elements, parse_arguments, strings_of, text_of,
};
use super::rules::Reply;

/// Parses a request.
pub(super) fn parse(body: &Value) -> Conversation {
    let mut system = text_of(&body["instructions"]);
    let mut blocks = Vec::new();
    if let Value::String(text) = &body["input"] {
        blocks.push(Block::Text {
            role: Role::User,
            text: text.clone(),
        });
    }
    for item in elements(body, "input") {
        match item["type"].as_str() {
            Some("function_call" | "custom_tool_call" | "local_shell_call") => {
                let args = item
                    .get("arguments")
                    .or_else(|| item.get("input"))
                    .or_else(|| item.get("action"))
                    .map(parse_arguments);
                blocks.push(Block::Call {
                    args: args.unwrap_or_default(),
                });
            }
            Some("function_call_output" | "custom_tool_call_output") => {
                blocks.push(Block::Result {
                    text: strings_of(&item["output"]),
                });
            }
            Some("message") | None => match item["role"].as_str() {
                Some("system" | "developer") => {
                    system.push('\n');
                    system.push_str(&text_of(&item["content"]));
                }
                Some("assistant") => blocks.extend(texts(Role::Assistant, &item["content"])),
                _ => blocks.extend(texts(Role::User, &item["content"])),
            },
            Some(_) => {}
        }
    }
    Conversation {
        model: body["model"].as_str().map(str::to_owned),
        stream: body["stream"] == json!(true),
        system,
        blocks,
        tools: elements(body, "tools")
            .chain(hidden_tools(body))
            .map(|tool| Tool {
                name: tool
                    .get("name")
                    .or_else(|| tool.get("type"))
                    .map(text_of)
                    .unwrap_or_default(),
                schema: tool["parameters"].clone(),
            })
            .collect(),
    }
}

/// Returns the tools that an item of the input offers, as for some models.
fn hidden_tools(body: &Value) -> impl Iterator<Item = &Value> {
    elements(body, "input")
        .filter(|item| item["type"] == "additional_tools")
        .flat_map(|item| elements(item, "tools"))
}

fn texts(role: Role, content: &Value) -> Vec<Block> {
    let text = |part: &Value| Block::Text {
        role,
        text: text_of(part),
    };
    if let Value::Array(parts) = content {
        parts.iter().map(text).collect()
    } else {
        vec![text(content)]
    }
}

/// Writes an answer.
pub(super) fn write(conversation: &Conversation, reply: &Reply, billed: Billed) -> Answer {
    let id = format!("resp_stub_{}", billed.number);
    let model = conversation.model.as_deref().unwrap_or("stub");
    let mut items = Vec::new();
    if !reply.text.is_empty() || reply.calls.is_empty() {
        items.push(json!({
            "id": format!("msg_stub_{}", billed.number),
            "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": reply.text, "annotations": []}],
        }));
    }
    for (number, call) in reply.calls.iter().enumerate() {
        items.push(json!({
            "id": format!("fc_stub_{}_{number}", billed.number),
            "type": "function_call", "status": "completed",
            "call_id": format!("call_{}_{number}", billed.number),
            "name": call.name,
            "arguments": call.args.to_string(),
        }));
    }
    let response = |status: &str, output: &[Value]| {
        json!({
            "id": id, "object": "response", "created_at": 0, "model": model, "status": status,
            "output": output,
            "usage": {
                "input_tokens": billed.input,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": billed.output,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": billed.input + billed.output,
            },
        })
    };
    if !conversation.stream {
        return Answer::Whole(response("completed", &items));
    }
    let mut begun = response("in_progress", &[]);
    begun["usage"] = Value::Null;
    let mut events = vec![(
        Some("response.created"),
        json!({"type": "response.created", "response": begun}),
    )];
    for (index, item) in items.iter().enumerate() {
        events.push((
            Some("response.output_item.added"),
            json!({"type": "response.output_item.added", "output_index": index, "item": item}),
        ));
        if item["type"] == "message" {
            events.push((
                Some("response.output_text.delta"),
                json!({
                    "type": "response.output_text.delta", "output_index": index,
                    "content_index": 0, "item_id": item["id"], "delta": reply.text,
                }),
            ));
        }
        events.push((
            Some("response.output_item.done"),
            json!({"type": "response.output_item.done", "output_index": index, "item": item}),
        ));
    }
    events.push((
        Some("response.completed"),
        json!({"type": "response.completed", "response": response("completed", &items)}),
    ));
    Answer::Events(events)
}
