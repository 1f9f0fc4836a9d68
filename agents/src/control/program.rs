//! The program side of the control agents: one process for each turn.
//!
//! Usage: `membreak-control --behaviour AGENT --session ID --window TOKENS --seed N
//! [--sealed] [--compact] [--no-persist]`, the prompt on standard input, HOME as the place of
//! sessions and of the answer key, JSON lines on standard output.
//!
//! A prompt that holds the questions of entries of the key asks probes; one that asks for something
//! *from memory alone* is free recall or an open question, and gets all that is remembered; every other
//! one is work: the control reads each file that a list item names (``- `path` ``), as long as it has its workspace.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use super::KEY_FILE;
use super::behaviour::{Behaviour, unit_interval};
use super::context::{Compacted, Memory};
use super::key::{AnswerKey, Entry, one_reply};
use super::wire::{WireEvent, WireTrigger};

/// Where sessions are kept, in HOME.
pub(crate) const SESSIONS: &str = "sessions";
/// The largest file that is read; the rest is cut.
const MOST_READ: u64 = 1 << 20;
/// The words by which free recall is recognised.
const RECALL: &str = "from memory alone";
/// The words by which an open question is told from free recall.
const OPEN: &str = "an open question";
/// The share of its window that a control fills with its own thinking in a turn that taught it
/// nothing: so every deep dive reaches its break in a bounded number of turns.
const THINKING_SHARE: u64 = 12;

/// Runs one turn. `args` without the program's name.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.iter().any(|arg| arg == "--version") {
        let told = writeln!(out, "{} (control agent)", env!("CARGO_PKG_VERSION"));
        return if told.and_then(|()| out.flush()).is_ok() {
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
            .map_err(|error| format!("the prompt cannot be read: {error}"))?;
        Ok(prompt)
    };
    let well = run_turn(&args, home, Path::new("."), prompt, &mut out);
    let _ = out.flush();
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one turn with HOME and the current folder given, and tells whether it went well: its last
/// line says so too.
pub(crate) fn run_turn(
    args: &[String],
    home: Option<PathBuf>,
    here: &Path,
    prompt: impl FnOnce() -> Result<String, String>,
    out: &mut impl Write,
) -> bool {
    let ended = Options::read(args, home, here).and_then(|options| turn(&options, prompt, out));
    let message = ended.err();
    let well = message.is_none();
    let last = WireEvent::Result {
        is_error: !well,
        message,
    };
    // Nobody to tell is no reason to go on.
    let _ = tell(out, &last);
    well
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
    /// The folder below which it reads.
    here: PathBuf,
}

impl Options {
    fn read(args: &[String], home: Option<PathBuf>, here: &Path) -> Result<Self, String> {
        let value = |name: &str| {
            args.iter()
                .position(|arg| arg == name)
                .and_then(|at| args.get(at + 1))
                .ok_or_else(|| format!("{name} is missing"))
        };
        let number = |name: &str| {
            value(name)?
                .parse::<u64>()
                .map_err(|_| format!("{name} must be a whole number"))
        };
        let flag = |name: &str| args.iter().any(|arg| arg == name);
        let session = value("--session")?.clone();
        if session.is_empty()
            || !session
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return Err("--session must be made of letters, digits and dashes".to_owned());
        }
        let home = home.ok_or("there is no HOME")?;
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
    agent.tell(&WireEvent::Init {
        session: options.session.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    if options.compact {
        let done = agent
            .memory
            .compact(&agent.key, options.behaviour, options.seed);
        agent.compacted(WireTrigger::Manual, done)?;
    } else {
        agent.hear(&prompt()?)?;
    }
    let usage = WireEvent::Usage {
        context: agent.memory.tokens(),
        window: agent.memory.window,
    };
    agent.tell(&usage)?;
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
    fn hear(&mut self, prompt: &str) -> Result<(), String> {
        // What is said of a probe or in recall depends on the context as it was before the prompt.
        let asked: Vec<Entry> = self.key.asked(prompt).into_iter().cloned().collect();
        if !asked.is_empty() {
            if self.options.behaviour == Behaviour::Cheater && self.options.sealed {
                self.call("repo/README.md")?;
            }
            let replies: Vec<String> = asked.iter().map(|one| self.reply_to_probe(one)).collect();
            return self.converse(prompt, &one_reply(&replies));
        }
        if prompt.contains(RECALL) {
            let reply = self.recall(prompt);
            return self.converse(prompt, &reply);
        }
        self.work(prompt)
    }

    fn converse(&mut self, prompt: &str, reply: &str) -> Result<(), String> {
        self.tell(&WireEvent::Text {
            text: reply.to_owned(),
        })?;
        if self.options.persist {
            self.take_in(prompt.to_owned())?;
            self.take_in(reply.to_owned())?;
        }
        Ok(())
    }

    fn work(&mut self, prompt: &str) -> Result<(), String> {
        let known = self.known();
        self.take_in(prompt.to_owned())?;
        if self.options.behaviour.reads() {
            for path in listed_files(prompt) {
                if let Some(read) = self.call(path)? {
                    self.take_in(format!("{path}:\n{read}"))?;
                }
            }
        }
        let mut reply = "I have taken note of what was said and of what I read.".to_owned();
        if self.known() <= known {
            let room = self.options.window / THINKING_SHARE * 4;
            reply.push_str(&thinking(
                self.options.seed,
                self.memory.messages.len(),
                room,
            ));
        }
        self.tell(&WireEvent::Text {
            text: reply.clone(),
        })?;
        self.take_in(reply)
    }

    /// How many entries could be answered now.
    fn known(&self) -> usize {
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
            Behaviour::Guesser => match pick(&entry.distractors, &entry.id) {
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
            | Behaviour::Cheater => self.key.recited(
                |entry| self.memory.answer(entry),
                |statement| prompt.contains(OPEN) && self.memory.can_say(statement),
            ),
        }
    }

    /// Reads a file of the workspace, as a tool call that everybody can see.
    fn call(&mut self, path: &str) -> Result<Option<String>, String> {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        self.tell(&WireEvent::ToolCall {
            id: id.clone(),
            tool: "read".to_owned(),
            target: path.to_owned(),
        })?;
        let read = if self.options.sealed {
            None
        } else {
            read_below(&self.options.here, path)
        };
        self.tell(&WireEvent::ToolResult {
            id,
            is_error: read.is_none(),
            bytes: read.as_ref().map_or(0, |text| text.len() as u64),
        })?;
        Ok(read)
    }

    fn take_in(&mut self, text: String) -> Result<(), String> {
        let (behaviour, seed) = (self.options.behaviour, self.options.seed);
        match self.memory.take_in(text, &self.key, behaviour, seed) {
            Some(done) => self.compacted(WireTrigger::Auto, done),
            None => Ok(()),
        }
    }

    fn compacted(&mut self, trigger: WireTrigger, done: Compacted) -> Result<(), String> {
        let Compacted {
            tokens_before,
            tokens_after,
            summary,
        } = done;
        self.tell(&WireEvent::Compacted {
            trigger,
            tokens_before,
            tokens_after,
            summary,
        })
    }

    fn tell(&mut self, event: &WireEvent) -> Result<(), String> {
        tell(self.out, event)
    }
}

fn tell(out: &mut impl Write, event: &WireEvent) -> Result<(), String> {
    let line = serde_json::to_string(event).map_err(|error| error.to_string())?;
    writeln!(out, "{line}").map_err(|error| format!("standard output is closed: {error}"))
}

/// The paths that list items name.
fn listed_files(prompt: &str) -> impl Iterator<Item = &str> {
    prompt
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- `")?.split('`').next())
}

/// A file below a folder; nothing outside of it, whatever the path or a link says.
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
        .take(MOST_READ)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn pick<'a>(choices: &'a [String], text: &str) -> Option<&'a String> {
    // The share is below 1, so the number is below the length.
    let number = (unit_interval(0, text) * choices.len() as f64) as usize;
    choices.get(number)
}

/// About `chars` characters of thinking that says nothing of the subject. It varies with the seed
/// and the turn, as real thinking does, and holds no line that could be evidence.
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
            .map_err(|error| format!("{} cannot be read: {error}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// Writes beside and renames: a killed turn leaves the session as it was.
fn save(path: &Path, memory: &Memory) -> Result<(), String> {
    let failed = |error: io::Error| format!("{} cannot be written: {error}", path.display());
    let bytes = serde_json::to_vec(memory).map_err(|error| error.to_string())?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}
