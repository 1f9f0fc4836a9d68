//! Progress display on standard error: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use platform::events::Event;

use crate::output::print_error;

/// Shows the progress of a task.
pub(crate) enum Progress {
    Bars {
        all: MultiProgress,
        task: ProgressBar,
        runs: BTreeMap<(String, u32), ProgressBar>,
    },
    Lines,
    Quiet,
}

impl Progress {
    /// Returns bars if standard error is a terminal, otherwise lines.
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let all = MultiProgress::new();
        let task = all.add(spinner("task"));
        Self::Bars {
            all,
            task,
            runs: BTreeMap::new(),
        }
    }

    /// Shows an event.
    pub(crate) fn show(&mut self, event: &Event) {
        let news = ProgressUpdate::of(event);
        match self {
            Self::Quiet => {}
            Self::Lines => {
                if let Some(line) = news.line() {
                    print_error(&line);
                }
            }
            Self::Bars { all, task, runs } => match news {
                ProgressUpdate::Nothing => {}
                ProgressUpdate::Task { text, last } => {
                    if is_estimate(event) {
                        // The estimate stays on the screen. An error means that the terminal is
                        // gone, and the bars with it.
                        let _ = all.println(text);
                    } else if last {
                        task.finish_with_message(text);
                    } else {
                        task.set_message(text);
                    }
                }
                ProgressUpdate::Run {
                    agent,
                    trial,
                    text,
                    share,
                    ended,
                } => {
                    let bar = runs
                        .entry((agent.clone(), trial))
                        .or_insert_with(|| all.add(spinner(&format!("{agent} #{trial}"))));
                    if let Some((done, of)) = share {
                        bar.set_style(style(true));
                        bar.set_length(of);
                        bar.set_position(done);
                    }
                    if ended {
                        bar.finish_with_message(text);
                    } else {
                        bar.set_message(text);
                    }
                }
            },
        }
    }
}

fn is_estimate(event: &Event) -> bool {
    matches!(event, Event::Progress { stage, .. } if stage == "estimate")
}

/// Returns a number with its noun, in the plural if needed.
fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn spinner(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(name.to_owned());
    bar.set_style(style(false));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn style(counted: bool) -> ProgressStyle {
    let template = if counted {
        "{spinner} {prefix:22} {msg:34} {wide_bar} {pos}/{len}"
    } else {
        "{spinner} {prefix:22} {msg}"
    };
    // A template that does not parse is a defect of this file. Plain bars are shown instead.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The part of an event that the progress display shows.
enum ProgressUpdate {
    Nothing,
    Task {
        text: String,
        last: bool,
    },
    Run {
        agent: String,
        trial: u32,
        text: String,
        share: Option<(u64, u64)>,
        ended: bool,
    },
}

impl ProgressUpdate {
    fn line(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Task { text, .. } => Some(text.clone()),
            Self::Run {
                agent,
                trial,
                text,
                share,
                ..
            } => Some(match share {
                Some((done, of)) => format!("{agent} #{trial}: {text} {done}/{of}"),
                None => format!("{agent} #{trial}: {text}"),
            }),
        }
    }

    fn of(event: &Event) -> Self {
        let task = |text: String| Self::Task { text, last: false };
        let run = |agent: &str, trial: u32, text: String| Self::Run {
            agent: agent.to_owned(),
            trial,
            text,
            share: None,
            ended: false,
        };
        match event {
            Event::TaskCreated { agents, trials } => task(format!(
                "{}, {} each",
                counted(agents.len(), "agent"),
                counted(*trials as usize, "trial")
            )),
            Event::TaskStarted {} => task("started".to_owned()),
            Event::Progress { stage, message, .. } => task(format!("{stage}: {message}")),
            Event::FilesDropped { count, reasons } => {
                task(format!("left out {count} files: {}", reasons.join("; ")))
            }
            Event::ProbesMade { counts, .. } => {
                let counts: Vec<String> = counts
                    .iter()
                    .map(|(dimension, n)| format!("{dimension} {n}"))
                    .collect();
                task(format!("probes: {}", counts.join(", ")))
            }
            Event::RunQueued { .. } | Event::Turn { .. } | Event::ToolCalled { .. } => {
                Self::Nothing
            }
            Event::RunStarted {
                agent,
                trial,
                attempt,
            } => run(agent, *trial, format!("started (attempt {attempt})")),
            Event::RunResumed {
                agent, trial, from, ..
            } => run(agent, *trial, format!("resumed from {from}")),
            Event::PhaseStarted {
                agent,
                trial,
                phase,
            } => run(agent, *trial, phase.clone()),
            Event::PhaseDone { .. } => Self::Nothing,
            Event::BreakSeen {
                agent,
                trial,
                trigger,
                tokens_before,
                tokens_after,
            } => {
                let tokens = |tokens: &Option<u64>| {
                    tokens.map_or_else(|| "?".to_owned(), |tokens| tokens.to_string())
                };
                let (before, after) = (tokens(tokens_before), tokens(tokens_after));
                run(
                    agent,
                    *trial,
                    format!("break ({trigger}): {before} → {after} tokens"),
                )
            }
            Event::NoBreak { agent, trial, why } => run(agent, *trial, format!("no break: {why}")),
            Event::SealBroken { agent, trial, tool } => run(
                agent,
                *trial,
                format!("used {tool} while sealed: the run is void"),
            ),
            Event::Answered {
                agent,
                trial,
                arm,
                done,
                of,
            } => Self::Run {
                agent: agent.clone(),
                trial: *trial,
                text: arm.clone(),
                share: Some((*done as u64, *of as u64)),
                ended: false,
            },
            Event::Retry {
                agent,
                trial,
                message,
            } => run(agent, *trial, message.clone()),
            Event::RunJudged {
                agent,
                trial,
                overall_score,
                ..
            } => run(
                agent,
                *trial,
                overall_score.map_or_else(
                    || "judged: no score".to_owned(),
                    |score| format!("judged: {score:.2}"),
                ),
            ),
            Event::RunDone {
                agent,
                trial,
                status,
            } => Self::Run {
                agent: agent.clone(),
                trial: *trial,
                text: status.clone(),
                share: None,
                ended: true,
            },
            Event::RunFailed {
                agent,
                trial,
                cause,
                message,
                will_retry,
            } => Self::Run {
                agent: agent.clone(),
                trial: *trial,
                text: format!("failed ({cause}): {message}"),
                share: None,
                ended: !will_retry,
            },
            Event::CancelRequested { .. } => task("cancelling".to_owned()),
            Event::TaskRetried { runs, .. } => task(format!("retrying {}", counted(*runs, "run"))),
            Event::Completed { status, message } => Self::Task {
                text: match message {
                    Some(message) => format!("{status}: {message}"),
                    None => status.clone(),
                },
                last: true,
            },
        }
    }
}
