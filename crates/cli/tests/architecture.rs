//! Holds the arrows of docs/architecture.md: between crates, between modules, between settings and
//! their description.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which crate may use which.
const ARROWS: &[(&str, &[&str])] = &[
    ("agents", &[]),
    ("api", &["entity", "evaluation", "platform"]),
    (
        "cli",
        &[
            "agents",
            "api",
            "entity",
            "evaluation",
            "platform",
            "testkit",
            "worker",
        ],
    ),
    ("entity", &[]),
    ("evaluation", &[]),
    ("migration", &[]),
    ("platform", &["entity", "migration"]),
    ("prompts", &[]),
    ("testkit", &["agents", "entity", "migration"]),
    (
        "worker",
        &["agents", "entity", "evaluation", "platform", "prompts"],
    ),
];

/// The order of platform's modules: each may use those before it.
const PLATFORM: &[&str] = &[
    "settings",
    "telemetry",
    "redaction",
    "database",
    "jobs",
    "doorbell",
    "events",
    "webhooks",
    "rates",
    "artifacts",
    "parts",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The code of a file without its unit tests and without comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The words that follow `marker` in a text.
fn words_after<'a>(text: &'a str, marker: &str) -> BTreeSet<&'a str> {
    text.match_indices(marker)
        .map(|(at, _)| {
            let rest = &text[at + marker.len()..];
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            &rest[..end]
        })
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn every_crate_uses_only_what_it_may() {
    for (name, allowed) in ARROWS {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest
            .split("[dependencies]")
            .nth(1)
            .unwrap_or_default()
            .split("\n[")
            .next()
            .unwrap_or_default();
        let used: BTreeSet<&str> = dependencies
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| ARROWS.iter().any(|(name, _)| name == dependency))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(
            used.is_subset(&allowed),
            "{name} uses {used:?}, but may use {allowed:?}"
        );
    }
}

#[test]
fn no_crate_has_a_cycle_of_modules() {
    for (name, _) in ARROWS {
        let folder = root().join(name).join("src");
        let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for path in sources(&folder) {
            let module = module_of(&folder, &path);
            if module == "main" || module == "lib" || module == "bin" {
                continue;
            }
            for group in use_targets(&code(&path)) {
                if group != module {
                    arrows.entry(module.clone()).or_default().insert(group);
                }
            }
        }
        // Takes away whoever uses nothing that is left, until nobody is left.
        let mut left: BTreeSet<String> = arrows.keys().cloned().collect();
        loop {
            let free: Vec<String> = left
                .iter()
                .filter(|module| arrows[*module].iter().all(|used| !left.contains(used)))
                .cloned()
                .collect();
            if free.is_empty() {
                break;
            }
            left.retain(|module| !free.contains(module));
        }
        let knot: BTreeMap<_, _> = arrows
            .iter()
            .filter(|(module, _)| left.contains(*module))
            .collect();
        assert!(knot.is_empty(), "{name} has a cycle among {knot:?}");
    }
}

/// The top-level module that a file belongs to.
fn module_of(folder: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(folder).expect("a file of the crate");
    let first = inner
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The top-level modules that `crate::…` names in a text, also in groups.
fn use_targets(text: &str) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = words_after(text, "crate::")
        .into_iter()
        .map(str::to_owned)
        .collect();
    for (at, _) in text.match_indices("crate::{") {
        let group = text[at + 8..].split('}').next().unwrap_or_default();
        found.extend(
            group
                .split(',')
                .filter_map(|part| part.trim().split("::").next())
                .filter(|part| !part.is_empty())
                .map(str::to_owned),
        );
    }
    // Items of the crate's root are no modules.
    found.retain(|word| {
        word.chars()
            .all(|c| c.is_lowercase() || c == '_' || c.is_numeric())
    });
    found
}

#[test]
fn platforms_modules_use_only_those_before_them() {
    let folder = root().join("platform/src");
    for path in sources(&folder) {
        let module = module_of(&folder, &path);
        if module == "lib" {
            continue;
        }
        let place = PLATFORM.iter().position(|known| *known == module);
        let place = place.unwrap_or_else(|| panic!("{module} has no place in platform's order"));
        for used in use_targets(&code(&path)) {
            let used_at = PLATFORM.iter().position(|known| *known == used);
            assert!(
                used_at.is_some_and(|used_at| used_at <= place),
                "{} uses {used}, which comes after {module}",
                path.display()
            );
        }
    }
}

#[test]
fn only_the_settings_read_the_environment() {
    for (name, _) in ARROWS {
        for path in sources(&root().join(name).join("src")) {
            // The tests' own service addresses are no settings of the program.
            if path.ends_with("platform/src/settings.rs") || *name == "testkit" {
                continue;
            }
            let code = code(&path);
            let reads = code.matches("env::var(").count() + code.matches("env::vars(").count();
            assert_eq!(reads, 0, "{} reads the environment", path.display());
        }
    }
}

#[test]
fn every_setting_is_described_and_every_described_setting_is_known() {
    let root = root();
    let described: BTreeSet<String> = std::fs::read_to_string(root.join(".env.example"))
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix('#').unwrap_or(line).split_once('='))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    let mut read = BTreeSet::new();
    for crate_name in ["api", "platform", "worker"] {
        for path in sources(&root.join(crate_name).join("src")) {
            let code = code(&path);
            let code: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
            for asker in ["text(", "parsed(", "flag(", "seconds(", "secret(", "list("] {
                for (at, _) in code.match_indices(asker) {
                    let rest = code[at + asker.len()..].trim_start();
                    let rest = rest.strip_prefix("reader, ").unwrap_or(rest);
                    let Some(name) = rest
                        .strip_prefix('"')
                        .and_then(|rest| rest.split('"').next())
                    else {
                        continue;
                    };
                    if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
                        read.insert(name.to_owned());
                    }
                }
            }
        }
    }
    assert!(read.len() > 25, "the settings were not found: {read:?}");
    let missing: Vec<_> = read.difference(&described).collect();
    assert!(
        missing.is_empty(),
        ".env.example does not describe {missing:?}"
    );
    // Read by tables of names, which are checked here by name.
    for (table, path) in [
        ("PROGRAMS", "worker/src/settings/agents.rs"),
        ("VARIABLES", "agents/src/adapters.rs"),
    ] {
        let code = code(&root.join(path));
        let start = code.find(&format!("const {table}")).expect("the table");
        let end = start + code[start..].find("];").expect("its end");
        let names = code[start..end].split('"').skip(1).step_by(2);
        read.extend(
            names
                .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
                .map(str::to_owned),
        );
    }
    let missing: Vec<_> = read.difference(&described).collect();
    assert!(
        missing.is_empty(),
        ".env.example does not describe {missing:?}"
    );
    // Kept for users of the first service.
    let kept = ["DEFAULT_JUDGE", "JUDGE_MODEL"];
    for name in kept {
        assert!(
            described.contains(name),
            ".env.example does not describe {name}"
        );
    }
    let unknown: Vec<_> = described
        .iter()
        .filter(|name| !read.contains(*name) && !kept.contains(&name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        ".env.example describes {unknown:?}, which nobody reads"
    );
}

#[test]
fn every_dependency_may_be_used_by_everybody() {
    let output = std::process::Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "0BSD",
        "CC0-1.0",
        "BSL-1.0",
        "Unlicense",
        "CDLA-Permissive-2.0",
        "MIT-0",
        "Apache-2.0 WITH LLVM-exception",
        "MPL-2.0",
        "OpenSSL",
    ];
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"]
            .as_str()
            .unwrap_or_default()
            .replace('/', " OR ");
        // One of the alternatives must be allowed in all of its parts.
        let usable = licence.split(" OR ").any(|alternative| {
            alternative
                .split(" AND ")
                .map(|part| part.trim().trim_matches(['(', ')']).trim())
                .all(|part| allowed.contains(&part))
        });
        assert!(usable, "{name} has the licence {licence:?}");
    }
}
