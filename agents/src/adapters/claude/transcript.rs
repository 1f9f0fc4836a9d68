//! Parts of the conversation that a compaction reinjected beside its summary, as the transcript
//! records them.

use serde_json::Value;

use crate::adapters::cli_adapter::json;
use crate::event::{Reinjected, ReinjectedKind};

/// Returns the messages that the last compaction of a transcript preserved, and the files that it
/// read again. Empty if there is no compaction or nothing was reinjected.
pub(super) fn reinjected(transcript: &[u8]) -> Vec<Reinjected> {
    let lines: Vec<Value> = json::lines(transcript).collect();
    let Some(boundary) = lines
        .iter()
        .rposition(|line| line["subtype"] == "compact_boundary")
    else {
        return Vec::new();
    };
    let mut reinjected = preserved(&lines, &lines[boundary]);
    reinjected.extend(lines[boundary..].iter().filter_map(reread_file));
    reinjected
}

/// Returns the messages that were kept word for word. Each is in the transcript before the
/// boundary, some twice.
fn preserved(lines: &[Value], boundary: &Value) -> Vec<Reinjected> {
    let kept = &boundary["compactMetadata"]["preservedMessages"];
    let ids: Vec<&str> = kept
        .get("allUuids")
        .or_else(|| kept.get("uuids"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let texts: Vec<String> = ids
        .iter()
        .filter_map(|id| lines.iter().rfind(|line| line["uuid"] == **id))
        .map(|line| content_text(&line["message"]["content"]))
        .filter(|text| !text.is_empty())
        .collect();
    Reinjected::tail(&texts).into_iter().collect()
}

/// Returns the file that a line of the transcript reinjected.
fn reread_file(line: &Value) -> Option<Reinjected> {
    let attachment = line.get("attachment")?;
    if attachment["type"] != "file" {
        return None;
    }
    let file = &attachment["content"]["file"];
    let name = attachment
        .get("displayPath")
        .or_else(|| attachment.get("filename"))
        .and_then(Value::as_str);
    Some(Reinjected {
        kind: ReinjectedKind::File,
        name: name.map(str::to_owned),
        text: file.get("content")?.as_str()?.to_owned(),
    })
}

/// Returns the text of a message: a string, or blocks of text, tool calls and tool results.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| {
                if block["type"] == "tool_use" {
                    block["input"].to_string()
                } else {
                    content_text(
                        block
                            .get("text")
                            .or_else(|| block.get("content"))
                            .unwrap_or(&Value::Null),
                    )
                }
            })
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
