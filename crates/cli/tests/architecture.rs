//! Checks the structure that docs/explanation/architecture.md describes: which crate may use which,
//! no circles between files, one place that reads the environment, and licences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Crates with their folders and the crates that they may use.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("domain", "crates/domain", &[]),
    ("entity", "entity", &["domain"]),
    ("migration", "migration", &[]),
    ("prompts", "prompts", &[]),
    ("evaluation", "crates/evaluation", &["domain"]),
    ("agents", "agents", &["domain"]),
    ("source", "crates/source", &["domain"]),
    (
        "results",
        "crates/results",
        &["domain", "entity", "evaluation"],
    ),
    (
        "platform",
        "crates/platform",
        &["domain", "entity", "migration"],
    ),
    (
        "worker",
        "worker",
        &[
            "agents",
            "domain",
            "entity",
            "evaluation",
            "platform",
            "prompts",
            "results",
            "source",
        ],
    ),
    (
        "api",
        "api",
        &["domain", "entity", "evaluation", "platform", "results"],
    ),
    (
        "simulator",
        "crates/simulator",
        &["agents", "domain", "evaluation", "source"],
    ),
    (
        "testkit",
        "crates/testkit",
        &["domain", "entity", "migration", "simulator"],
    ),
    (
        "cli",
        "crates/cli",
        &[
            "agents",
            "api",
            "domain",
            "entity",
            "evaluation",
            "platform",
            "results",
            "simulator",
            "source",
            "worker",
        ],
    ),
];

/// The order of platform's modules: each may use those before it.
const PLATFORM_ORDER: &[&str] = &[
    "features",
    "settings",
    "telemetry",
    "redaction",
    "http_client",
    "database",
    "queue",
    "notify",
    "events",
    "webhooks",
    "rate_limit",
    "artifacts",
    "connect",
];

/// Circles that cannot be avoided: `SeaORM` declares a relation in both entities.
const RELATIONS: &[&[&str]] = &[
    &["agent_run", "score", "task"],
    &["webhook", "webhook_delivery"],
];

fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    folder.canonicalize().expect("the workspace")
}

/// Returns the Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Returns the module path of a file: `run/phases/ask.rs` is `["run", "phases", "ask"]`.
fn module_of(folder: &Path, path: &Path) -> Vec<String> {
    let inner = path.strip_prefix(folder).expect("a file of the crate");
    let mut parts: Vec<String> = inner
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts == ["lib"] || parts == ["main"] {
        parts.clear();
    }
    parts
}

/// The arrows of one file: the modules that its paths name.
struct Arrows<'a> {
    /// Module of the file.
    module: &'a [String],
    /// All modules of the crate.
    modules: &'a BTreeSet<Vec<String>>,
    /// Inline modules around the visited item.
    inline: usize,
    used: BTreeSet<Vec<String>>,
}

impl Arrows<'_> {
    /// Adds the module that a path names, if it belongs to the crate.
    fn add(&mut self, path: &[String]) {
        let mut segments = path.iter().peekable();
        let mut target: Vec<String> = match segments.peek().map(|first| first.as_str()) {
            Some("crate") => {
                segments.next();
                Vec::new()
            }
            Some("self") => {
                segments.next();
                self.module.to_vec()
            }
            Some("super") => {
                let mut target = self.module.to_vec();
                let mut inline = self.inline;
                while segments.peek().is_some_and(|segment| *segment == "super") {
                    segments.next();
                    if inline > 0 {
                        inline -= 1;
                    } else {
                        target.pop();
                    }
                }
                target
            }
            Some(first) => {
                // The name of a child module.
                let child = [self.module, &[first.to_owned()]].concat();
                if !self.modules.contains(&child) {
                    return;
                }
                self.module.to_vec()
            }
            None => return,
        };
        for segment in segments {
            let deeper = [target.as_slice(), std::slice::from_ref(segment)].concat();
            if !self.modules.contains(&deeper) {
                break;
            }
            target = deeper;
        }
        if target != self.module {
            self.used.insert(target);
        }
    }

    fn add_use(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_use(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Name(name) => {
                let path = [prefix.as_slice(), &[name.ident.to_string()]].concat();
                self.add(&path);
            }
            syn::UseTree::Rename(name) => {
                let path = [prefix.as_slice(), &[name.ident.to_string()]].concat();
                self.add(&path);
            }
            syn::UseTree::Glob(_) => self.add(&prefix.clone()),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, prefix);
                }
            }
        }
    }
}

/// Returns whether an item is compiled for tests only.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|name| name == "test")
    })
}

impl<'ast> Visit<'ast> for Arrows<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            self.inline += 1;
            visit::visit_item_mod(self, item);
            self.inline -= 1;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.add_use(&item.tree, &mut Vec::new());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1 {
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {
        // `pub(in crate::a)` uses nothing.
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        // Most macros take expressions, whose paths count like others.
        let parser = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        if let Ok(arguments) = mac.parse_body_with(parser) {
            for argument in &arguments {
                self.visit_expr(argument);
            }
        }
        visit::visit_macro(self, mac);
    }
}

/// Returns the modules of a crate with the modules that each uses.
fn arrows(folder: &Path) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let files: Vec<(Vec<String>, PathBuf)> = sources(folder)
        .into_iter()
        .map(|path| (module_of(folder, &path), path))
        .filter(|(module, _)| module.first().is_none_or(|first| first != "bin"))
        .filter(|(module, _)| module.last().is_none_or(|last| last != "tests"))
        .collect();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|(module, _)| module.clone()).collect();
    files
        .iter()
        .map(|(module, path)| {
            let text = std::fs::read_to_string(path).expect("a readable file");
            let file = syn::parse_file(&text)
                .map_err(|error| format!("{}: {error}", path.display()))
                .expect("Rust code");
            let mut arrows = Arrows {
                module,
                modules: &modules,
                inline: 0,
                used: BTreeSet::new(),
            };
            arrows.visit_file(&file);
            // Declarations in the root of the crate are no circle: it declares every module.
            let used = if module.is_empty() {
                BTreeSet::new()
            } else {
                arrows.used
            };
            (module.clone(), used)
        })
        .collect()
}

/// Returns the circles of a graph: groups of modules that reach each other.
fn circles(arrows: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Vec<Vec<String>> {
    let reachable = |from: &Vec<String>| {
        let mut seen: BTreeSet<&Vec<String>> = BTreeSet::new();
        let mut open: Vec<&Vec<String>> = vec![from];
        while let Some(module) = open.pop() {
            for next in arrows.get(module).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> = arrows
        .keys()
        .map(|module| (module, reachable(module)))
        .collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, targets) in &reach {
        if targets.contains(module) {
            let circle: Vec<String> = reach
                .iter()
                .filter(|(other, back)| targets.contains(*other) && back.contains(module))
                .map(|(other, _)| other.join("::"))
                .collect();
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

#[test]
fn every_crate_uses_only_the_crates_it_may_use() {
    for (name, folder, allowed) in CRATES {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let used: BTreeSet<&str> = manifest["dependencies"]
            .as_table()
            .unwrap()
            .keys()
            .map(String::as_str)
            .filter(|dependency| CRATES.iter().any(|(name, ..)| name == dependency))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(
            used.is_subset(&allowed),
            "{name} uses {used:?}, but may use {allowed:?}"
        );
    }
}

#[test]
fn every_crate_of_the_workspace_is_in_the_table() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let members: BTreeSet<&str> = manifest["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|member| member.as_str())
        .collect();
    let listed: BTreeSet<&str> = CRATES.iter().map(|(_, folder, _)| *folder).collect();
    assert_eq!(members, listed);
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut found: Vec<String> = Vec::new();
    for (name, folder, _) in CRATES {
        for circle in circles(&arrows(&root().join(folder).join("src"))) {
            let names: Vec<&str> = circle.iter().map(String::as_str).collect();
            if *name != "entity" || !RELATIONS.contains(&names.as_slice()) {
                found.push(format!("{name}: {}", circle.join(" <-> ")));
            }
        }
    }
    assert!(found.is_empty(), "circles of files:\n{}", found.join("\n"));
}

#[test]
fn a_circle_between_a_file_and_its_parent_is_found() {
    let module = |name: &str| -> Vec<String> { name.split("::").map(str::to_owned).collect() };
    let graph = BTreeMap::from([
        (module("a"), BTreeSet::from([module("a::b")])),
        (module("a::b"), BTreeSet::from([module("c")])),
        (module("c"), BTreeSet::from([module("a")])),
        (module("d"), BTreeSet::from([module("a")])),
    ]);
    assert_eq!(circles(&graph), [["a", "a::b", "c"]]);
}

#[test]
fn platforms_modules_use_only_those_before_them() {
    for (module, used) in arrows(&root().join("crates/platform/src")) {
        let Some(own) = module.first() else { continue };
        let place = |name: &str| {
            PLATFORM_ORDER
                .iter()
                .position(|listed| *listed == name)
                .unwrap_or_else(|| panic!("{name} has no place in platform's order"))
        };
        for target in used.iter().filter_map(|path| path.first()) {
            assert!(
                place(target) <= place(own),
                "{} uses {target}, which comes later in platform's order",
                module.join("::")
            );
        }
    }
}

#[test]
fn shipped_programs_do_not_contain_testkit() {
    for package in ["cli", "api", "worker", "agents", "simulator"] {
        let output = std::process::Command::new(env!("CARGO"))
            .args([
                "tree",
                "--locked",
                "-e",
                "normal",
                "--all-features",
                "-p",
                package,
            ])
            .args(["--prefix", "none", "--format", "{p}"])
            .current_dir(root())
            .output()
            .expect("cargo tree");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let tree = String::from_utf8_lossy(&output.stdout);
        assert!(
            !tree.lines().any(|line| line.starts_with("testkit ")),
            "{package} contains testkit"
        );
    }
}

/// Returns the code of a file without its unit tests and without comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn only_the_settings_read_the_environment() {
    for (name, folder, _) in CRATES {
        // Test programs get their addresses from the environment; the iFlow peer imitates a program
        // that reads it.
        if ["testkit", "simulator"].contains(name) {
            continue;
        }
        for path in sources(&root().join(folder).join("src")) {
            if path.ends_with("platform/src/settings.rs") {
                continue;
            }
            let code = code(&path);
            let reads = code.matches("env::var(").count() + code.matches("env::vars(").count();
            assert_eq!(reads, 0, "{} reads the environment", path.display());
        }
    }
}

/// Compares a generated file with its content, or writes it if `UPDATE_GENERATED` is set.
fn check_generated(path: &str, content: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&file, content).expect("a writable file");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == content,
        "{path} is out of date; run UPDATE_GENERATED=1 cargo test -p cli --test architecture"
    );
}

#[test]
fn the_settings_files_match_the_catalogue() {
    use platform::settings::catalog;

    check_generated(".env.example", &catalog::env_example());
    check_generated("docs/reference/settings.md", &catalog::markdown());
}

#[test]
fn every_listed_setting_is_read_with_the_listed_default() {
    use platform::settings::{Reader, catalog};

    let read = |source: &BTreeMap<String, String>| {
        let mut reader = Reader::new(source);
        let settings = format!(
            "{:?} {:?} {:?} {:?}",
            platform::telemetry::TelemetrySettings::read(&mut reader),
            platform::connect::PlatformSettings::read(&mut reader),
            api::settings::ApiSettings::read(&mut reader),
            worker::settings::WorkerSettings {
                // Random at every start.
                name: String::new(),
                ..worker::settings::WorkerSettings::read(&mut reader)
            },
        );
        reader.finish(settings).expect("valid settings")
    };
    // These defaults depend on the machine or on other settings.
    let derived = ["WORKER_SLOTS", "WORK_DIR", "SSO_ISSUER"];
    let defaults: BTreeMap<String, String> = catalog::SECTIONS
        .iter()
        .flat_map(|section| section.entries)
        .flat_map(|entry| entry.names)
        .filter(|(name, default)| !default.is_empty() && !derived.contains(name))
        .map(|(name, default)| ((*name).to_owned(), (*default).to_owned()))
        .collect();
    assert!(defaults.len() > 40, "{}", defaults.len());
    let expected = read(&BTreeMap::from([
        ("STORAGE_DIR".to_owned(), "storage".to_owned()),
        (
            "DATABASE_URL".to_owned(),
            "sqlite://data/membreak.db?mode=rwc".to_owned(),
        ),
    ]));
    assert_eq!(read(&defaults), expected);
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let output = std::process::Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
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
    // deny.toml has the same list, for `cargo deny`.
    let deny = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let deny: toml::Table = deny.parse().unwrap();
    let allowed: Vec<&str> = deny["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|licence| licence.as_str())
        .collect();
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
