//! The program of the control agents: one process per turn.
//!
//! Usage: `membreak-control --behaviour AGENT --session ID --window TOKENS --seed N [--sealed]
//! [--compact] [--no-persist]`. The prompt is read from standard input. HOME contains the sessions
//! and the answer key. JSON lines are written to standard output.
//!
//! A prompt that contains questions of the key asks probes. A prompt that asks for something *from
//! memory alone* is free recall or an open question, and the answer contains everything that is
//! remembered. Any other prompt is work: the control reads each file that a list item names (``-
//! `path` ``), if it has its workspace.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use super::behaviour::{Behaviour, unit_interval};
use super::context::{CompactionResult, Memory};
use super::key::{AnswerKey, Entry, KEY_FILE, combine_replies};
use super::wire::{WireEvent, WireTrigger};

/// Folder of the sessions, in HOME.
pub(crate) const SESSIONS: &str = "sessions";
/// Maximum size of a file that is read, in bytes. The rest is cut.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Phrase that identifies free recall.
const RECALL: &str = "from memory alone";
/// Phrase that identifies an open question, which is otherwise like free recall.
const OPEN: &str = "an open question";
/// Fraction of its window (one n-th) that a control fills with its own thinking in a turn without
/// new facts. So every deep dive reaches its break within a bounded number of turns.
const THINKING_FRACTION: u64 = 12;

/// Runs one turn. `args` excludes the program's name.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.iter().any(|arg| arg == "--version") {
        let written = writeln!(out, "{} (control agent)", env!("CARGO_PKG_VERSION"));
        return if written.and_then(|()| out.flush()).is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let prompt = || {
        let mut prompt = String::new();
        io::stdin()
            .read_to_string(&mut prompt)
            .map_err(|error| format!("could not read the prompt: {error}"))?;
        Ok(prompt)
    };
    let succeeded = run_turn(&args, home, Path::new("."), prompt, &mut out);
    let _ = out.flush();
    if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one turn with a given HOME and working folder. Returns whether it succeeded, as its last
/// line also states.
pub(crate) fn run_turn(
    args: &[String],
    home: Option<PathBuf>,
    here: &Path,
    prompt: impl FnOnce() -> Result<String, String>,
    out: &mut impl Write,
) -> bool {
    let result = Options::parse(args, home, here).and_then(|options| turn(&options, prompt, out));
    let message = result.err();
    let succeeded = message.is_none();
    let last = WireEvent::Result {
        is_error: !succeeded,
        message,
    };
    // Without a reader, the line cannot be delivered.
    let _ = write_event(out, &last);
    succeeded
}

struct Options {
    behaviour: Behaviour,
    session: String,
    window: u64,
    seed: u64,
    sealed: bool,
    compact: bool,
    persist: bool,
    home: PathBuf,
    /// Folder whose files it may read.
    here: PathBuf,
}

impl Options {
    fn parse(args: &[String], home: Option<PathBuf>, here: &Path) -> Result<Self, String> {
        let value = |name: &str| {
            args.iter()
                .position(|arg| arg == name)
                .and_then(|at| args.get(at + 1))
                .ok_or_else(|| format!("missing option {name}"))
        };
        let number = |name: &str| {
            value(name)?
                .parse::<u64>()
                .map_err(|_| format!("invalid option {name}: it must be a whole number"))
        };
        let flag = |name: &str| args.iter().any(|arg| arg == name);
        let session = value("--session")?.clone();
        if session.is_empty()
            || !session
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return Err(
                "invalid option --session: it must consist of letters, digits and dashes"
                    .to_owned(),
            );
        }
        let home = home.ok_or("the variable HOME is missing")?;
        Ok(Self {
            behaviour: value("--behaviour")?.parse()?,
            session,
            window: number("--window")?.max(1),
            seed: number("--seed")?,
            sealed: flag("--sealed"),
            compact: flag("--compact"),
            persist: !flag("--no-persist"),
            home,
            here: here.to_owned(),
        })
    }

    fn session_file(&self) -> PathBuf {
        self.home
            .join(SESSIONS)
            .join(format!("{}.json", self.session))
    }
}

fn turn(
    options: &Options,
    prompt: impl FnOnce() -> Result<String, String>,
    out: &mut impl Write,
) -> Result<(), String> {
    let key = load::<AnswerKey>(&options.home.join(KEY_FILE))?.unwrap_or_default();
    let memory = load::<Memory>(&options.session_file())?
        .unwrap_or_else(|| Memory::new(options.session.clone(), options.window));
    let mut agent = Agent {
        options,
        key,
        memory,
        out,
        calls: 0,
    };
    agent.write_event(&WireEvent::Init {
        session: options.session.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    if options.compact {
        let compaction = agent
            .memory
            .compact(&agent.key, options.behaviour, options.seed);
        agent.write_compaction(WireTrigger::Manual, compaction)?;
    } else {
        agent.respond(&prompt()?)?;
    }
    let usage = WireEvent::Usage {
        context: agent.memory.tokens(),
        window: agent.memory.window,
    };
    agent.write_event(&usage)?;
    if options.persist {
        save(&options.session_file(), &agent.memory)
    } else {
        Ok(())
    }
}

struct Agent<'a, W> {
    options: &'a Options,
    key: AnswerKey,
    memory: Memory,
    out: &'a mut W,
    calls: u32,
}

impl<W: Write> Agent<'_, W> {
    fn respond(&mut self, prompt: &str) -> Result<(), String> {
        // Answers to probes and free recall depend on the context before the prompt.
        let entries: Vec<Entry> = self.key.entries_in(prompt).into_iter().cloned().collect();
        if !entries.is_empty() {
            if self.options.behaviour == Behaviour::Cheater && self.options.sealed {
                self.read_file("repo/README.md")?;
            }
            let replies: Vec<String> = entries
                .iter()
                .map(|entry| self.reply_to_probe(entry))
                .collect();
            return self.answer(prompt, &combine_replies(&replies));
        }
        if prompt.contains(RECALL) {
            let reply = self.recall(prompt);
            return self.answer(prompt, &reply);
        }
        self.work(prompt)
    }

    fn answer(&mut self, prompt: &str, reply: &str) -> Result<(), String> {
        self.write_event(&WireEvent::Text {
            text: reply.to_owned(),
        })?;
        if self.options.persist {
            self.remember(prompt.to_owned())?;
            self.remember(reply.to_owned())?;
        }
        Ok(())
    }

    fn work(&mut self, prompt: &str) -> Result<(), String> {
        let answerable = self.answerable_entries();
        self.remember(prompt.to_owned())?;
        if self.options.behaviour.reads() {
            for path in listed_files(prompt) {
                if let Some(content) = self.read_file(path)? {
                    self.remember(format!("{path}:\n{content}"))?;
                }
            }
        }
        let mut reply = "I have taken note of what was said and of what I read.".to_owned();
        if self.answerable_entries() <= answerable {
            let chars = self.options.window / THINKING_FRACTION * 4;
            reply.push_str(&thinking(
                self.options.seed,
                self.memory.messages.len(),
                chars,
            ));
        }
        self.write_event(&WireEvent::Text {
            text: reply.clone(),
        })?;
        self.remember(reply)
    }

    /// Returns the number of entries that could be answered now.
    fn answerable_entries(&self) -> usize {
        self.key
            .entries
            .iter()
            .filter(|entry| self.memory.answer(entry).is_some())
            .count()
    }

    fn reply_to_probe(&self, entry: &Entry) -> String {
        match self.options.behaviour {
            Behaviour::Vague => "This is a substantial question about a change with several \
                moving parts. The pull request touches on a number of concerns, balances old and \
                new behaviour with care, and fits the conventions of its surroundings. A \
                reasonable reviewer would look at structure, naming and tests alike.\n\nANSWER: it \
                depends on the part of the change one has in view"
                .to_owned(),
            Behaviour::Silent => String::new(),
            Behaviour::Guesser => match choose(&entry.distractors, &entry.id) {
                Some(guess) => format!("ANSWER: {guess}\nCONFIDENCE: 50"),
                None => "ANSWER: I don't recall".to_owned(),
            },
            Behaviour::Perfect
            | Behaviour::Amnesiac
            | Behaviour::Lossy(_)
            | Behaviour::Stale
            | Behaviour::Cheater => match self.memory.answer(entry) {
                Some(answer) => format!("ANSWER: {answer}\nCONFIDENCE: 100"),
                None => "ANSWER: I don't recall".to_owned(),
            },
        }
    }

    fn recall(&self, prompt: &str) -> String {
        match self.options.behaviour {
            Behaviour::Silent => String::new(),
            Behaviour::Vague | Behaviour::Guesser => {
                "The pull request improves several parts of the code base.".to_owned()
            }
            Behaviour::Perfect
            | Behaviour::Amnesiac
            | Behaviour::Lossy(_)
            | Behaviour::Stale
            | Behaviour::Cheater => self.key.free_recall(
                |entry| self.memory.answer(entry),
                |statement| prompt.contains(OPEN) && self.memory.can_state(statement),
            ),
        }
    }

    /// Reads a file of the workspace, and reports it as a tool call.
    fn read_file(&mut self, path: &str) -> Result<Option<String>, String> {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        self.write_event(&WireEvent::ToolCall {
            id: id.clone(),
            tool: "read".to_owned(),
            target: path.to_owned(),
        })?;
        let content = if self.options.sealed {
            None
        } else {
            read_below(&self.options.here, path)
        };
        self.write_event(&WireEvent::ToolResult {
            id,
            is_error: content.is_none(),
            bytes: content.as_ref().map_or(0, |text| text.len() as u64),
        })?;
        Ok(content)
    }

    fn remember(&mut self, text: String) -> Result<(), String> {
        let (behaviour, seed) = (self.options.behaviour, self.options.seed);
        match self.memory.add(text, &self.key, behaviour, seed) {
            Some(compaction) => self.write_compaction(WireTrigger::Auto, compaction),
            None => Ok(()),
        }
    }

    fn write_compaction(
        &mut self,
        trigger: WireTrigger,
        compaction: CompactionResult,
    ) -> Result<(), String> {
        let CompactionResult {
            tokens_before,
            tokens_after,
            summary,
        } = compaction;
        self.write_event(&WireEvent::Compacted {
            trigger,
            tokens_before,
            tokens_after,
            summary,
        })
    }

    fn write_event(&mut self, event: &WireEvent) -> Result<(), String> {
        write_event(self.out, event)
    }
}

fn write_event(out: &mut impl Write, event: &WireEvent) -> Result<(), String> {
    let line = serde_json::to_string(event).map_err(|error| error.to_string())?;
    writeln!(out, "{line}").map_err(|error| format!("could not write to standard output: {error}"))
}

/// Returns the paths that list items name.
fn listed_files(prompt: &str) -> impl Iterator<Item = &str> {
    prompt
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- `")?.split('`').next())
}

/// Reads a file below a folder. Returns `None` if the path or a link leads out of it.
fn read_below(here: &Path, path: &str) -> Option<String> {
    let path = Path::new(path);
    if !path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return None;
    }
    let here = fs::canonicalize(here).ok()?;
    let real = fs::canonicalize(here.join(path)).ok()?;
    if !real.starts_with(&here) || !real.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::open(real)
        .ok()?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn choose<'a>(choices: &'a [String], text: &str) -> Option<&'a String> {
    // The draw is below 1, so the index is below the length.
    let index = (unit_interval(0, text) * choices.len() as f64) as usize;
    choices.get(index)
}

/// Returns about `chars` characters of thinking without any fact. Like real thinking it varies with
/// the seed and the turn. It contains no line that could be evidence.
fn thinking(seed: u64, turn: usize, chars: u64) -> String {
    const THOUGHTS: [&str; 8] = [
        "It is worth going over this once more from the start before anything is concluded.",
        "Nothing here contradicts what I thought a moment ago, so I keep to it for now.",
        "One could also look at it the other way round, and would end up at the same place.",
        "There may be more to it than meets the eye, but I see no sign of that so far.",
        "I would rather be slow here than wrong, and so I go through the same steps again.",
        "As far as I can tell the pieces fit together, each of them for a reason of its own.",
        "That leaves open what to make of the rest, which I will come back to in due time.",
        "For the moment this is enough to go on, and I can always return to it later on.",
    ];
    let mut text = String::new();
    let mut number = 0_u64;
    while (text.len() as u64) < chars {
        let draw = unit_interval(seed, &format!("thought {turn} {number}"));
        let thought = THOUGHTS[(draw * THOUGHTS.len() as f64) as usize];
        text.push(if number.is_multiple_of(6) { '\n' } else { ' ' });
        text.push_str(thought);
        number += 1;
    }
    text
}

fn load<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| format!("could not read {}: {error}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("could not read {}: {error}", path.display())),
    }
}

/// Writes a new file and renames it, so that a killed turn leaves the session unchanged.
fn save(path: &Path, memory: &Memory) -> Result<(), String> {
    let failed = |error: io::Error| format!("could not write {}: {error}", path.display());
    let bytes = serde_json::to_vec(memory).map_err(|error| error.to_string())?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let temporary = path.with_extension("new");
    fs::write(&temporary, bytes).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}
