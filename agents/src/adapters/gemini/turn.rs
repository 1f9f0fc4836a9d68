//! One turn: what is prepared for it, what is read after it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::fs;
use tokio::io::AsyncReadExt;

use super::super::words;
use super::GeminiSession;
use super::faults::{self, Fault};
use super::session::{self, Applied};
use super::settings::{self, Compress};
use super::stream::Reading;
use super::telemetry::Telemetry;
use crate::adapter::{Access, Stream, Turn};
use crate::event::{Compaction, CompactionTrigger, Proof, Reinjected, ReinjectedKind, Usage};
use crate::failure::{Cause, Failure};
use crate::gathering::Gathering;
use crate::process::{self, Launch};

/// What the program reads of its standard input; it would cut the rest off.
const LONGEST_PROMPT: usize = 8 << 20;
/// The time in the name of our session files: none that the program would write itself.
const TIME: &str = "1970-01-01T00-00";

impl GeminiSession {
    /// A turn after whose failure the session is as it was before.
    pub(super) async fn turn(&mut self, prompt: &str, compress: Compress) -> Result<Turn, Fault> {
        let before = self.file().await?;
        let turn = self.try_turn(prompt, compress, before.as_deref()).await;
        if turn.is_err()
            && let Err(failure) = self.put_back(before.as_deref()).await
        {
            tracing::warn!(error = %failure, "a session of Gemini CLI could not be put back");
        }
        turn
    }

    async fn try_turn(
        &mut self,
        prompt: &str,
        compress: Compress,
        before: Option<&[u8]>,
    ) -> Result<Turn, Fault> {
        let begun = Instant::now();
        let folder = self.folder().await?;
        let input = words::plain(prompt, &folder).into_bytes();
        if input.is_empty() || input.len() > LONGEST_PROMPT {
            return Err(Failure::harness("Gemini CLI takes no prompt of this length").into());
        }
        self.turns += 1;
        let telemetry = self.home(&format!("telemetry-{}.json", self.turns));
        self.prepare(&folder, compress, &telemetry).await?;
        let launch = Launch {
            program: self.found.path.clone(),
            args: self.args(before.is_some()).map(Into::into).to_vec(),
            folder,
            needs: self.found.folders.clone(),
            home: self.spec.home.clone(),
            environment: settings::environment(&self.spec, &self.found),
            input,
        };
        self.spec.raw.line(Stream::Stdin, &launch.input);
        let mut reading = Reading::default();
        let ended = process::run(&launch, &self.spec, |line| reading.line(line)).await;
        let told = self.read_and_remove(&telemetry).await;
        self.remove_reports().await;
        if let Some(fault) = faults::fault(&reading, &ended?) {
            return Err(fault);
        }
        self.settle_file().await?;
        let after = self.file().await?.unwrap_or_default();
        let mut gathering = reading.gathering;
        let telemetry = told.as_deref().map(Telemetry::read).unwrap_or_default();
        if telemetry.requests.is_empty() {
            gathering.error("Gemini CLI left no telemetry: tokens are not known");
        }
        for retry in &telemetry.retries {
            gathering.retry(retry.attempt, &retry.why);
        }
        let applied = session::applied(before.unwrap_or_default(), &after);
        if let Some(settled) = session::settled(&after) {
            write(&self.file_path(), &settled).await?;
        }
        breaks(&mut gathering, &telemetry, applied);
        if let Some(context) = telemetry.context() {
            gathering.usage(Usage {
                context,
                window: Some(settings::window(&self.model)),
            });
        }
        let tokens = telemetry.billed(reading.outcome.and_then(|outcome| outcome.stats));
        let cost = tokens.and_then(|_| telemetry.cost());
        gathering.billed(tokens, cost);
        self.hand_on(&mut gathering).await?;
        if gathering.turn().text.is_empty() && telemetry.context().is_none() {
            let silent = "Gemini CLI ended its turn without asking the model";
            return Err(Failure::new(Cause::AgentCrashed, silent).into());
        }
        Ok(gathering.finish(begun.elapsed()))
    }

    fn args(&self, resumes: bool) -> [&str; 6] {
        let session = if resumes { "--resume" } else { "--session-id" };
        [
            "--output-format",
            "stream-json",
            "--model",
            &self.model,
            session,
            &self.id,
        ]
    }

    /// The folder that the program works in. A sealed one is not even told where the workspace is.
    async fn folder(&self) -> Result<PathBuf, Failure> {
        let folder = match (&self.spec.workspace, self.spec.access) {
            (Some(workspace), Access::Workspace) => workspace.clone(),
            (_, Access::Sealed) | (None, Access::Workspace) => {
                let empty = self.home("empty");
                fs::create_dir_all(&empty)
                    .await
                    .map_err(cannot("be made", &empty))?;
                empty
            }
        };
        // The program knows it by this name.
        fs::canonicalize(&folder)
            .await
            .map_err(cannot("be found", &folder))
    }

    async fn prepare(
        &self,
        folder: &Path,
        compress: Compress,
        telemetry: &Path,
    ) -> Result<(), Failure> {
        let settings = settings::settings(&self.spec, &self.model, compress, telemetry);
        let projects = settings::projects(folder)?;
        write(
            &self.home(".gemini/settings.json"),
            settings.to_string().as_bytes(),
        )
        .await?;
        write(
            &self.home(".gemini/projects.json"),
            projects.to_string().as_bytes(),
        )
        .await
    }

    /// Hands events on that only the end of the turn told.
    pub(super) async fn hand_on(&self, gathering: &mut Gathering) -> Result<(), Failure> {
        let events = gathering.take_events();
        let handing_on = async {
            for event in events {
                // Nobody listening is no reason to fail a turn.
                let _ = self.spec.events.send(event).await;
            }
        };
        tokio::select! {
            () = self.spec.cancel.cancelled() => Err(Failure::cancelled()),
            handed = tokio::time::timeout(self.spec.limits.turn, handing_on) => handed
                .map_err(|_| Failure::harness("the agent's events were not taken")),
        }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.spec.home.join(name)
    }

    /// How the names of this session's files end, whoever made them.
    fn file_ending(&self) -> String {
        format!("-{}.jsonl", self.id.chars().take(8).collect::<String>())
    }

    fn file_path(&self) -> PathBuf {
        let name = format!("session-{TIME}{}", self.file_ending());
        settings::chats(&self.spec.home).join(name)
    }

    /// The session's file; none before its first turn.
    pub(super) async fn file(&self) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.file_path();
        match fs::read(&path).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("be read", &path)(error)),
        }
    }

    /// Makes the session what `file` holds.
    pub(super) async fn put_back(&self, file: Option<&[u8]>) -> Result<(), Failure> {
        for path in self.files().await? {
            fs::remove_file(&path)
                .await
                .map_err(cannot("be removed", &path))?;
        }
        match file {
            Some(file) => write(&self.file_path(), file).await,
            None => Ok(()),
        }
    }

    /// All files that the program would look for this session in.
    async fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let folder = settings::chats(&self.spec.home);
        let ending = self.file_ending();
        entries(&folder, |name| {
            name.starts_with("session-") && name.ends_with(&ending)
        })
        .await
    }

    /// Leaves the one file that holds the conversation, under our name.
    async fn settle_file(&self) -> Result<(), Failure> {
        let ours = self.file_path();
        for path in self.files().await?.into_iter().filter(|path| *path != ours) {
            let file = fs::read(&path).await.map_err(cannot("be read", &path))?;
            if session::has_conversation(&file) && !ours.exists() {
                fs::rename(&path, &ours)
                    .await
                    .map_err(cannot("be renamed", &path))?;
            } else {
                fs::remove_file(&path)
                    .await
                    .map_err(cannot("be removed", &path))?;
            }
        }
        if ours.exists() {
            Ok(())
        } else {
            Err(Failure::new(
                Cause::AgentCrashed,
                "Gemini CLI did not keep the session",
            ))
        }
    }

    /// What the telemetry of a turn says; none where it cannot be read, or is longer than a turn's
    /// output may be.
    async fn read_and_remove(&self, telemetry: &Path) -> Option<Vec<u8>> {
        let mut told = Vec::new();
        let most = self.spec.limits.output_bytes;
        let file = fs::File::open(telemetry).await;
        let read = match file {
            Ok(file) => file.take(most).read_to_end(&mut told).await.is_ok(),
            Err(_) => false,
        };
        // What cannot be removed goes with the run's folder.
        let _ = fs::remove_file(telemetry).await;
        read.then_some(told)
    }

    /// Removes the reports of errors, with the conversations in them.
    async fn remove_reports(&self) {
        let reports = entries(&self.spec.home, |name| {
            name.starts_with("gemini-client-error-")
        });
        for report in reports.await.unwrap_or_default() {
            // What cannot be removed goes with the run's folder.
            let _ = fs::remove_file(report).await;
        }
    }
}

/// Takes for a break what the telemetry and the session file both tell of, and says so where only
/// one of them does.
pub(super) fn breaks(gathering: &mut Gathering, telemetry: &Telemetry, applied: Vec<Applied>) {
    let reductions = telemetry.reductions();
    for _ in applied.len()..reductions.len() {
        gathering.error(
            "no break: the telemetry tells of a compression, the session file shows none applied",
        );
    }
    for _ in reductions.len()..applied.len() {
        gathering
            .error("no break: the session file shows a compression, the telemetry tells of none");
    }
    for (reduction, applied) in reductions.into_iter().zip(applied) {
        let tail = (!applied.tail.is_empty()).then_some(Reinjected {
            kind: ReinjectedKind::Tail,
            name: None,
            text: applied.tail,
        });
        gathering.compacted(Compaction {
            trigger: CompactionTrigger::Auto,
            tokens_before: Some(reduction.before),
            tokens_after: Some(reduction.after),
            summary: Some(applied.summary),
            proof: Proof::Reported,
            reinjected: tail.into_iter().collect(),
        });
    }
}

/// The files of a folder, which may not be there.
async fn entries(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let mut names = match fs::read_dir(folder).await {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot("be read", folder)(error)),
    };
    let mut found = Vec::new();
    while let Some(entry) = names
        .next_entry()
        .await
        .map_err(cannot("be read", folder))?
    {
        if wanted(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

async fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .await
            .map_err(cannot("be made", folder))?;
    }
    fs::write(path, bytes)
        .await
        .map_err(cannot("be written", path))
}

fn cannot(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let message = format!("{} cannot {what}", path.display());
    move |error| Failure::harness(format!("{message}: {error}"))
}
