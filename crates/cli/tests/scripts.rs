//! The scripts read `.env` as the programs do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts")
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a program");
}

/// Values that a shell would not read as values, such as `&`, `;` and spaces.
const FILE: &str = "\u{feff}# made for a test\r\n\
    DATABASE_URL=sqlite://kept/a.db?mode=rwc&cache=private\r\n\
    LOCAL_REPOSITORIES=/a;/b # two of them\n\
    export PORT = \"9001\"\n\
    PORT=2\n\
    REDIS_PREFIX='a $b # c'\n\
    HOST=\n\
    LOG_LEVEL=#info\n\
    FORGE_URLS=http://127.0.0.1:1#x\n";

#[test]
fn a_script_reads_settings_like_the_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join(".env"), FILE);
    // The nearest file above counts.
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_membreak"))
        .args(["doctor", "--json"])
        .current_dir(&inner)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("WORKER_SLOTS", "3")
        .output()
        .expect("membreak starts");
    let told: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let taken: BTreeMap<&str, &str> = told["settings"]
        .as_array()
        .expect("settings")
        .iter()
        .filter(|setting| setting["origin"] != "default")
        .map(|setting| {
            let text = |name: &str| setting[name].as_str().expect("a text");
            (text("name"), text("value"))
        })
        .collect();
    assert_eq!(taken.get("PORT"), Some(&"9001"));
    for name in [
        "DATABASE_URL",
        "LOCAL_REPOSITORIES",
        "PORT",
        "REDIS_PREFIX",
        "HOST",
        "LOG_LEVEL",
        "FORGE_URLS",
        "WORKER_SLOTS",
        "STORAGE_DIR",
    ] {
        let script = format!(
            ". '{}/lib.sh'; project=$PWD; setting {name}",
            scripts().display()
        );
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&inner)
            .env_remove("HOST")
            .env_remove("STORAGE_DIR")
            .env("WORKER_SLOTS", "3")
            .output()
            .expect("bash");
        assert!(output.status.success(), "{output:?}");
        let found = String::from_utf8_lossy(&output.stdout);
        let taken = taken.get(name).copied().unwrap_or_default();
        assert_eq!(found.trim_end_matches('\n'), taken, "{name}");
    }
}

/// A project with these scripts only. Its programs record their environment.
fn started(env_file: Option<&str>) -> (Output, BTreeMap<String, String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["run.sh", "lib.sh"] {
        let text = fs::read_to_string(scripts().join(name)).expect("a script");
        write(&at(&format!("scripts/{name}")), &text);
    }
    for name in ["cargo", "redis-server", "redis-cli"] {
        write(&at(&format!("bin/{name}")), "#!/bin/sh\n");
    }
    let left = at("left");
    let ready = format!("#!/bin/sh\ntest -e '{}'\n", left.display());
    write(&at("bin/curl"), &ready);
    let api = format!(
        "#!/bin/sh\nenv >'{0}.new'\nmv '{0}.new' '{0}'\n",
        left.display()
    );
    write(&at("target/release/api"), &api);
    write(&at("target/release/worker"), "#!/bin/sh\n");
    if let Some(text) = env_file {
        write(&at(".env"), text);
    }
    let path = std::env::var("PATH").expect("a path");
    let output = Command::new("bash")
        .arg(at("scripts/run.sh"))
        .env_clear()
        .env("PATH", format!("{}:{path}", at("bin").display()))
        .output()
        .expect("bash");
    let left = fs::read_to_string(&left).unwrap_or_default();
    let lines = left.lines().filter_map(|line| line.split_once('='));
    let environment = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
    (output, environment.collect())
}

#[test]
fn run_leaves_the_file_to_the_programs() {
    let (output, environment) = started(Some(
        "DATABASE_URL=postgres://u:p@h/db?sslmode=disable&application_name=mb\n\
         LOCAL_REPOSITORIES=/a;/b\nREDIS_URL=redis://127.0.0.1:1/\nPORT=9001\n",
    ));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("http://127.0.0.1:9001"), "{told}");
    for name in ["DATABASE_URL", "LOCAL_REPOSITORIES", "REDIS_URL", "PORT"] {
        assert_eq!(
            environment.get(name),
            None,
            "{name} would go before the file"
        );
    }
    let (output, environment) = started(None);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(environment["DATABASE_URL"].starts_with("sqlite:///"));
    assert!(environment["REDIS_URL"].starts_with("redis://127.0.0.1:"));
    let (output, _) = started(Some("PORT=several\nREDIS_URL=redis://127.0.0.1:1/\n"));
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("PORT is not a number: several"), "{told}");
}
