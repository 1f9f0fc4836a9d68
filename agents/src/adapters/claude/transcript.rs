//! What a compaction put back beside its summary, as the transcript tells it.

use serde_json::Value;

use crate::event::{Reinjected, ReinjectedKind};

/// What belongs to the last compaction of a transcript: the messages that it preserved, and the
/// files that it read again. Empty where there is no compaction, or nothing was put back.
pub(super) fn put_back(transcript: &[u8]) -> Vec<Reinjected> {
    let lines: Vec<Value> = transcript
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let Some(boundary) = lines
        .iter()
        .rposition(|line| line["subtype"] == "compact_boundary")
    else {
        return Vec::new();
    };
    let mut put_back = preserved(&lines, &lines[boundary]);
    put_back.extend(lines[boundary..].iter().filter_map(file));
    put_back
}

/// The messages that were kept word for word. Each stands in the transcript before the boundary,
/// some twice.
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
        .map(|line| said(&line["message"]["content"]))
        .filter(|text| !text.is_empty())
        .collect();
    if texts.is_empty() {
        return Vec::new();
    }
    vec![Reinjected {
        kind: ReinjectedKind::Tail,
        name: None,
        text: texts.join("\n\n"),
    }]
}

fn file(line: &Value) -> Option<Reinjected> {
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

/// The text of a message: a string, or blocks of text, of tools used and of their results.
fn said(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| {
                if block["type"] == "tool_use" {
                    block["input"].to_string()
                } else {
                    said(
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
