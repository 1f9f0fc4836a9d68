//! `membreak doctor`: checks programs, services and settings, and suggests fixes.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use agents::adapter::Presence;
use agents::sandbox::Mode;
use platform::connect::Platform;
use platform::connect::check_redis;
use platform::settings::{self, Environment};
use platform::telemetry::chain;
use serde::Serialize;

use crate::all_in_one::Settings;
use crate::output::{print, print_json};
use crate::settings_report::{self, EffectiveSetting, SettingOrigin};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Show all settings, not only those that are set.
    #[arg(long)]
    settings: bool,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// One part is unusable, the rest works.
    Warn,
    Fail,
}

/// Result of one check.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    #[serde(rename = "what")]
    subject: String,
    verdict: Verdict,
    found: String,
    /// Suggested fix.
    fix: Option<String>,
}

impl Finding {
    fn ok(subject: &str, found: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict: Verdict::Ok,
            found: found.into(),
            fix: None,
        }
    }

    fn bad(
        verdict: Verdict,
        subject: &str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut findings = vec![git().await];
    match Settings::read(&Environment) {
        Ok(settings) => {
            findings.push(Finding::ok("settings", "everything is ready"));
            look_at(&settings, &mut findings).await;
        }
        Err(errors) => findings.extend(errors.0.iter().map(|error| {
            let fix = "see docs/reference/settings.md for the values of each setting";
            Finding::bad(
                Verdict::Fail,
                &format!("setting {}", error.name),
                &error.problem,
                fix,
            )
        })),
    }
    let file = settings::file::entries()?;
    let effective = settings_report::settings(&Environment, &file);
    let failed = findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Fail);
    if options.json {
        print_json(&serde_json::json!({
            "schema": 1,
            "ok": !failed,
            "findings": findings,
            "settings": effective,
        }))?;
    } else {
        for finding in &findings {
            let mark = match finding.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            print(&format!("{mark}  {}: {}", finding.subject, finding.found));
            if let Some(fix) = &finding.fix {
                print(&format!("      → {fix}"));
            }
        }
        print_settings(&effective, options.settings);
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Prints the settings that are set, or all settings.
fn print_settings(settings: &[EffectiveSetting], all: bool) {
    let set = |setting: &&EffectiveSetting| setting.origin != SettingOrigin::Default;
    let count = settings.iter().filter(set).count();
    let rest = settings.len() - count;
    print("");
    print(&match (count, all) {
        (0, true) => "no setting is set; the defaults are:".to_owned(),
        (0, false) => "no setting is set; --settings shows the defaults".to_owned(),
        (_, true) => format!("settings: {count} set, {rest} at their defaults:"),
        (_, false) => {
            format!("settings: {count} set, {rest} at their defaults (--settings shows them):")
        }
    });
    let mut section = "";
    for setting in settings.iter().filter(|setting| all || set(setting)) {
        if setting.section != section {
            section = &setting.section;
            print(&format!("\n{section}"));
        }
        let value = setting.value.as_deref().unwrap_or("(not set)");
        print(&format!(
            "  {} = {value}  [{}]",
            setting.name,
            setting.origin.words()
        ));
        if all {
            print(&format!("      {}", setting.help));
        }
    }
}

async fn look_at(settings: &Settings, findings: &mut Vec<Finding>) {
    findings.push(database(settings).await);
    findings.push(redis(settings).await);
    if !settings.platform.storage.contains("://") {
        findings.push(writable("storage", Path::new(&settings.platform.storage)));
    }
    findings.push(writable("work folder", &settings.worker.work_dir));
    findings.push(address(settings).await);
    findings.extend(sign_on(settings).await);
    findings.push(sandbox(settings));
    agents(settings, findings).await;
}

async fn git() -> Finding {
    let asked = tokio::process::Command::new("git")
        .arg("--version")
        .kill_on_drop(true)
        .output();
    let fix = "install git 2.30 or newer (apt-get install git)";
    match tokio::time::timeout(Duration::from_secs(10), asked).await {
        Ok(Ok(output)) if output.status.success() => {
            Finding::ok("git", String::from_utf8_lossy(&output.stdout).trim())
        }
        Ok(Ok(output)) => Finding::bad(
            Verdict::Fail,
            "git",
            format!("ended with {}", output.status),
            fix,
        ),
        Ok(Err(error)) => Finding::bad(Verdict::Fail, "git", error.to_string(), fix),
        Err(_) => Finding::bad(Verdict::Fail, "git", "does not answer", fix),
    }
}

async fn database(settings: &Settings) -> Finding {
    if let Some(file) = file_to_make(&settings.platform.database.url) {
        return to_be_made("database", &file, "choose another DATABASE_URL");
    }
    // Redis and a storage folder are checked separately: connecting would create the folder.
    let Ok(nowhere) = tempfile::tempdir() else {
        let fix = "set TMPDIR to a writable folder";
        return Finding::bad(Verdict::Fail, "database", "no temporary folder", fix);
    };
    let mut alone = platform::connect::PlatformSettings {
        redis_url: None,
        ..settings.platform.clone()
    };
    if !alone.storage.contains("://") {
        alone.storage = nowhere.path().display().to_string();
    }
    match Platform::connect(&alone).await {
        Ok(_) => Finding::ok("database", "reachable, schema up to date"),
        Err(error) => Finding::bad(
            Verdict::Fail,
            "database",
            settings
                .platform
                .redactor()
                .redact(&chain(&error))
                .into_owned(),
            "check DATABASE_URL, and that the server runs",
        ),
    }
}

async fn redis(settings: &Settings) -> Finding {
    let Some(url) = &settings.platform.redis_url else {
        return Finding::ok(
            "redis",
            "not configured: notifications stay inside one process",
        );
    };
    match check_redis(url, &settings.platform.redis_prefix).await {
        Ok(()) => Finding::ok("redis", "reachable"),
        Err(error) => Finding::bad(
            Verdict::Fail,
            "redis",
            settings
                .platform
                .redactor()
                .redact(&chain(&error))
                .into_owned(),
            "check REDIS_URL, and that the server runs (scripts/run.sh starts one)",
        ),
    }
}

/// Returns the file of a missing SQLite database that the service would create.
fn file_to_make(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let (path, query) = rest.strip_prefix("//").unwrap_or(rest).split_once('?')?;
    let file = Path::new(path);
    (query.contains("mode=rwc") && !path.is_empty() && path != ":memory:" && !file.exists())
        .then(|| file.to_owned())
}

fn writable(subject: &str, folder: &Path) -> Finding {
    let fix = "choose another folder (STORAGE_DIR, WORK_DIR), or change its owner";
    if !folder.exists() {
        return to_be_made(subject, folder, fix);
    }
    match can_be_written(folder) {
        Ok(()) => Finding::ok(subject, format!("{} is writable", folder.display())),
        Err(error) => Finding::bad(
            Verdict::Fail,
            subject,
            format!("{}: {error}", folder.display()),
            fix,
        ),
    }
}

/// A missing file or folder is not created: a check must not change anything.
fn to_be_made(subject: &str, path: &Path, fix: &str) -> Finding {
    let tried = std::path::absolute(path).and_then(|path| {
        match path.ancestors().skip(1).find(|folder| folder.exists()) {
            Some(folder) => can_be_written(folder),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    });
    match tried {
        Ok(()) => Finding::ok(
            subject,
            format!("{} does not exist and would be created", path.display()),
        ),
        Err(error) => Finding::bad(
            Verdict::Fail,
            subject,
            format!("could not create {}: {error}", path.display()),
            fix,
        ),
    }
}

/// Checks write access with an unnamed file.
fn can_be_written(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}

async fn address(settings: &Settings) -> Finding {
    let address = format!("{}:{}", settings.api.host, settings.api.port);
    let listener = match tokio::net::TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            return Finding::bad(
                Verdict::Warn,
                "address",
                format!("{address}: {error}"),
                "is the service running already? Otherwise choose another HOST or PORT",
            );
        }
    };
    let may_listen = match listener.local_addr() {
        Ok(found) => settings.api.may_listen(found).map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    match may_listen {
        Ok(()) => Finding::ok("address", format!("{address} is free")),
        Err(refused) => Finding::bad(
            Verdict::Fail,
            "address",
            format!("the service would not start: {refused}"),
            "HOST=127.0.0.1, or SSO_ENABLED=true with a proof",
        ),
    }
}

/// Checks that the keys of the gateway's tokens can be fetched. Returns `None` if they are not
/// needed.
async fn sign_on(settings: &Settings) -> Option<Finding> {
    let auth = &settings.api.auth;
    if !auth.enabled {
        return None;
    }
    Some(match api::count_sign_on_keys(auth).await? {
        Ok(count) => Finding::ok("sign-on service", format!("publishes {count} keys")),
        Err(problem) => Finding::bad(
            Verdict::Fail,
            "sign-on service",
            format!("could not fetch its keys: {problem}"),
            "check SSO_SERVICE_URL; keys are read from .well-known/jwks.json below it",
        ),
    })
}

fn sandbox(settings: &Settings) -> Finding {
    const FIX: &str = "use a Linux with Landlock (5.13 or newer), or install bubblewrap \
        (apt-get install bubblewrap)";
    let subject = "sandbox";
    match settings.worker.agents.sandbox() {
        Ok(sandbox) => {
            let report = sandbox.report();
            match (report.filesystem, settings.worker.agents.sandbox) {
                (true, _) => Finding::ok(subject, report.words),
                (false, Mode::None) => {
                    Finding::bad(Verdict::Warn, subject, report.words, "set SANDBOX=auto")
                }
                (false, Mode::Auto | Mode::Landlock | Mode::Bwrap) => {
                    Finding::bad(Verdict::Warn, subject, report.words, FIX)
                }
            }
        }
        Err(why) => Finding::bad(
            Verdict::Fail,
            subject,
            why,
            format!("{FIX}; or set SANDBOX=auto, without SANDBOX_CONNECT_PORTS"),
        ),
    }
}

async fn agents(settings: &Settings, findings: &mut Vec<Finding>) {
    let setup = match settings.worker.agents.setup() {
        Ok(setup) => setup,
        Err(error) => {
            let fix = "set CONTROL_BIN to membreak-control";
            findings.push(Finding::bad(
                Verdict::Fail,
                "control agents",
                error.to_string(),
                fix,
            ));
            return;
        }
    };
    for adapter in agents::adapters::all(&setup) {
        let what = format!("agent {}", adapter.profile().name);
        findings.push(match adapter.probe().await {
            Presence::Installed { version, .. } => Finding::ok(&what, version),
            Presence::Missing { why, fix } => Finding::bad(Verdict::Warn, &what, why, fix),
        });
    }
}
