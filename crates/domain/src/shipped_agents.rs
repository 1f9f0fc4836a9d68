//! The agents that this project ships adapters for.
//!
//! A worker reports what it can run. Until then the API accepts these names, and it has no adapters
//! to ask; so the names stand here, and a test of the adapters compares them.

/// Names and display names of the agent programs.
pub const PROGRAMS: [(&str, &str); 5] = [
    ("claude", "Claude Code"),
    ("gemini", "Gemini CLI"),
    ("codex", "Codex"),
    ("iflow", "iFlow CLI"),
    ("qwen", "Qwen Code"),
];

/// Names and descriptions of the control agents.
pub const CONTROLS: [(&str, &str); 8] = [
    ("control-perfect", "Control: remembers everything"),
    ("control-amnesiac", "Control: forgets everything"),
    ("control-lossy", "Control: forgets a known share"),
    ("control-stale", "Control: keeps what was corrected"),
    ("control-guesser", "Control: guesses"),
    ("control-cheater", "Control: uses tools while sealed"),
    ("control-vague", "Control: says nothing at length"),
    ("control-silent", "Control: does not answer"),
];
