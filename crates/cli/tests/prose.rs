//! Measures the language of comments, messages and documents against the limits in CONTRIBUTING.md.
//!
//! The limits are frequencies that other well-kept code bases stay below. They cannot prove that a text
//! is clear. They find the words of a private dialect.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Words with the largest allowed frequency per 10,000 words of comments. Messages and documents, which
/// are shorter, may have twice as many.
const LIMITS: [(&[&str], f64); 4] = [
    (&["what"], 25.0),
    (&["tell", "tells", "told"], 4.0),
    (&["who", "whoever", "nobody", "somebody"], 8.0),
    (
        &[
            "bell", "bells", "doorbell", "ring", "rings", "rung", "ear", "ears", "mend", "mended",
        ],
        1.0,
    ),
];

/// Words with which no comment begins, and their largest share of all comments in percent.
const OPENINGS: ([&str; 6], f64) = (
    ["What", "Who", "Whoever", "Whatever", "How far", "How long"],
    1.0,
);

/// Largest width of a line of prose in documents, in characters. Tables, code and links may be wider.
const MAX_WIDTH: usize = 100;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace")
}

/// Returns the files that git tracks with their contents.
fn tracked(pattern: &str) -> Vec<(String, String)> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            pattern,
        ])
        .current_dir(root())
        .output()
        .expect("git");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|name| {
            let text = std::fs::read_to_string(root().join(name)).ok()?;
            Some((name.to_owned(), text))
        })
        .collect()
}

/// Returns the comment blocks of a Rust file, each as one line.
fn comments(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        match line.trim_start().strip_prefix("//") {
            Some(comment) => block.push(comment.trim_start_matches(['/', '!']).trim()),
            None if block.is_empty() => {}
            None => {
                blocks.push(block.join(" ").trim().to_owned());
                block.clear();
            }
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// Returns the string literals of four or more words in a Rust file.
fn messages(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find('"') {
        let body = &rest[start + 1..];
        let mut escaped = false;
        let end = body.find(|letter: char| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { break };
        let literal = body[..end].replace("\\\n", " ");
        if !literal.contains('\n') && literal.split_whitespace().count() >= 4 {
            found.push(literal);
        }
        rest = &body[end + 1..];
    }
    found
}

/// Returns the prose of a Markdown file: without code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            is_code ^= fence;
            !is_code && !fence
        })
        .collect();
    let text = lines.join("\n");
    text.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Returns the words of some texts, in lower case.
fn words(texts: &[String]) -> Vec<String> {
    texts
        .join(" ")
        .to_lowercase()
        .split(|letter: char| !letter.is_ascii_lowercase() && letter != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the limits that some texts exceed.
fn violations(source: &str, texts: &[String], factor: f64) -> Vec<String> {
    let words = words(texts);
    LIMITS
        .iter()
        .filter_map(|(searched, limit)| {
            let count = words
                .iter()
                .filter(|word| searched.contains(&word.as_str()))
                .count();
            let frequency = count as f64 * 10_000.0 / words.len().max(1) as f64;
            (frequency > limit * factor).then(|| {
                format!(
                    "{source}: {} {frequency:.1} times per 10,000 words, limit {:.1}",
                    searched.join(", "),
                    limit * factor
                )
            })
        })
        .collect()
}

#[test]
fn the_language_stays_within_its_limits() {
    let sources = tracked("*.rs");
    assert!(sources.len() > 300, "{} files", sources.len());
    let blocks: Vec<String> = sources
        .iter()
        .flat_map(|(_, text)| comments(text))
        .collect();
    let strings: Vec<String> = sources
        .iter()
        .filter(|(name, _)| !name.contains("/tests/"))
        .flat_map(|(_, text)| messages(text))
        .collect();
    let documents: Vec<String> = tracked("*.md")
        .iter()
        .map(|(_, text)| prose(text))
        .collect();
    let mut found = violations("comments", &blocks, 1.0);
    found.extend(violations("messages", &strings, 2.0));
    found.extend(violations("documents", &documents, 2.0));
    let openings = blocks
        .iter()
        .filter(|block| {
            OPENINGS.0.iter().any(|opening| {
                block
                    .strip_prefix(opening)
                    .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
            })
        })
        .count();
    let share = 100.0 * openings as f64 / blocks.len() as f64;
    if share > OPENINGS.1 {
        found.push(format!(
            "{share:.1} % of comments begin with a question word"
        ));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_text_in_the_old_dialect_is_found() {
    let text = vec!["what tells nobody rings the bell".to_owned()];
    assert_eq!(violations("comments", &text, 1.0).len(), LIMITS.len());
    assert!(violations("comments", &["Returns the queue.".to_owned()], 1.0).is_empty());
}

#[test]
fn documents_have_short_lines() {
    for (name, text) in tracked("*.md") {
        // A template is what an agent reads: each of its line ends is part of the prompt.
        if name.starts_with("prompts/templates/") {
            continue;
        }
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            let is_wide = line.chars().count() > MAX_WIDTH;
            let may_be_wide = is_code || line.starts_with('|') || line.contains("](");
            assert!(
                !is_wide || may_be_wide,
                "{name}:{} has more than {MAX_WIDTH} characters",
                number + 1
            );
        }
    }
}

#[test]
fn the_readme_is_short() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    assert!(readme.lines().count() <= 150);
}

#[test]
fn links_between_documents_lead_somewhere() {
    for (name, text) in tracked("*.md") {
        let folder = root().join(&name);
        let folder = folder.parent().expect("a folder");
        for link in prose(&text).split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(folder.join(target).exists(), "{name} links to {target}");
        }
    }
}
