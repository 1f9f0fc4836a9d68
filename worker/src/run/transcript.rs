//! The transcript of a run, limited in size.

use agents::adapter::Turn;

/// Size limit of the transcript, in bytes.
const TRANSCRIPT_BYTES: usize = 16 << 20;
/// All prompts and replies, as Markdown.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    text: String,
}

impl Transcript {
    /// Continues the transcript of an earlier attempt.
    pub(crate) fn restored(text: String) -> Self {
        Self { text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Adds one turn.
    pub(crate) fn add(&mut self, heading: &str, prompt: &str, turn: &Turn) {
        if self.text.len() >= TRANSCRIPT_BYTES {
            return;
        }
        let context = turn
            .usage
            .map(|usage| format!(", {} tokens in the context", usage.context))
            .unwrap_or_default();
        let mut entry = format!(
            "## {heading}\n\n_{} ms{context}_\n\n### Prompt\n\n{prompt}\n\n### Reply\n\n{}\n\n",
            turn.duration.as_millis(),
            turn.text,
        );
        for call in &turn.tool_calls {
            entry.push_str(&format!("* tool `{}` on `{}`\n", call.tool, call.target));
        }
        for compaction in &turn.compactions {
            entry.push_str(&format!(
                "* **compacted**: {:?} → {:?} tokens\n",
                compaction.tokens_before, compaction.tokens_after
            ));
        }
        entry.push('\n');
        self.text.push_str(&entry);
        if self.text.len() >= TRANSCRIPT_BYTES {
            self.text
                .push_str("\n_The transcript is longer than is kept._\n");
        }
    }
}
