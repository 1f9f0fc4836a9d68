//! Catalogue of all settings: names, defaults and descriptions.
//!
//! `.env.example`, `docs/reference/settings.md` and `membreak doctor --settings` are made from it.
//! Tests check that every setting that the code reads is listed, with the default that the code has.

/// A group of settings.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Heading.
    pub title: &'static str,
    /// Settings of the group, in the order in which they are shown.
    pub entries: &'static [Entry],
}

/// One setting, or several that share a description.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Names with their defaults. An empty default means not set.
    pub names: &'static [(&'static str, &'static str)],
    /// Description for users: meaning, unit, allowed values.
    pub help: &'static str,
}

/// Old names of settings that are still read: old name, new name.
pub const DEPRECATED: &[(&str, &str)] = &[("RING_AGAIN_SECONDS", "NOTIFY_AGAIN_SECONDS")];

const fn one(names: &'static [(&'static str, &'static str)], help: &'static str) -> Entry {
    Entry { names, help }
}

/// All settings.
pub const SECTIONS: &[Section] = &[
    Section {
        title: "Data",
        entries: &[
            one(
                &[("DATABASE_URL", "sqlite://data/membreak.db?mode=rwc")],
                "Database: sqlite://PATH?mode=rwc or postgres://USER:PASSWORD@HOST:PORT/NAME. By default \
                 the file membreak.db in STORAGE_DIR, or in ./data if STORAGE_DIR is not set.",
            ),
            one(
                &[("DATABASE_MAX_CONNECTIONS", "16")],
                "Database connections per process, at most 8 on SQLite.",
            ),
            one(
                &[("STORAGE_DIR", "storage")],
                "Artifact store: a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.",
            ),
            one(
                &[("WORK_DIR", "storage/work")],
                "Folder of a worker for mirrors, checkouts and HOMEs. By default `work` in STORAGE_DIR, or \
                 ./work if STORAGE_DIR is a bucket.",
            ),
        ],
    },
    Section {
        title: "Queue",
        entries: &[
            one(
                &[("REDIS_URL", "")],
                "Redis for notifications: redis://HOST:PORT/. Without it notifications stay inside one \
                 process (`membreak serve`). scripts/run.sh starts its own Redis.",
            ),
            one(
                &[("REDIS_PREFIX", "membreak")],
                "Prefix of Redis keys. Separates installations that share one Redis.",
            ),
            one(
                &[("LEASE_SECONDS", "60"), ("RENEW_SECONDS", "10")],
                "A job is given to another worker if its lease is not renewed within LEASE_SECONDS. \
                 Workers renew leases every RENEW_SECONDS.",
            ),
            one(
                &[("JOB_MAX_ATTEMPTS", "3"), ("JOB_BACKOFF_SECONDS", "2")],
                "Attempts per job, and the delay before the second attempt. The delay doubles, up to five \
                 minutes.",
            ),
            one(
                &[("NOTIFY_AGAIN_SECONDS", "2")],
                "Time after which the notification of a waiting job is repeated.",
            ),
            one(
                &[("QUEUE_ENABLED", "false")],
                "Reserved for Google Cloud Tasks. Has no effect in this version.",
            ),
        ],
    },
    Section {
        title: "API",
        entries: &[
            one(
                &[("HOST", "127.0.0.1"), ("PORT", "8000")],
                "Address on which the API listens.",
            ),
            one(
                &[("ALLOWED_ORIGINS", "")],
                "Web pages that may call the API, comma-separated. `*` allows all, with single sign-on \
                 only.",
            ),
            one(
                &[("ALLOW_PUBLIC_BIND", "false")],
                "Allows other addresses than loopback without single sign-on. Everyone who reaches the \
                 address can then start tasks.",
            ),
            one(
                &[("SSO_ENABLED", "false")],
                "Single sign-on: a gateway in front of the API names the caller (X-User-ID, X-Org-ID, \
                 X-User-Role, X-Team-ID, X-User-Email) and proves its identity by one of the next three \
                 settings. Without a proof the service does not start.",
            ),
            one(
                &[("GATEWAY_SECRET", "")],
                "Shared secret that the gateway sends as X-Gateway-Secret, at least 16 characters.",
            ),
            one(
                &[("TRUSTED_GATEWAYS", "")],
                "Addresses and networks that only gateways use, comma-separated: 10.0.0.7, 10.1.0.0/16. A \
                 network of all addresses is refused.",
            ),
            one(
                &[("SSO_SERVICE_URL", "")],
                "Issuer of the gateway's tokens. Keys are read from .well-known/jwks.json below it.",
            ),
            one(
                &[
                    ("SSO_ISSUER", ""),
                    ("SSO_AUDIENCE", "membreak"),
                    ("SSO_ALGORITHM", "RS256"),
                    ("SSO_CLOCK_SKEW_SECONDS", "60"),
                ],
                "Required content of a token: issuer (by default SSO_SERVICE_URL), audience, signature \
                 algorithm (RS256, RS384, RS512, PS256, ES256, ES384 or EdDSA) and allowed clock \
                 difference.",
            ),
            one(
                &[("RATE_LIMIT_PER_MINUTE", "1200")],
                "Requests per minute and caller (user, token or address), counted in Redis if configured. \
                 Also the limit of failed authentications per address, counted per process. 0 for no \
                 limit.",
            ),
            one(
                &[("MAX_ACTIVE_TASKS", "1000"), ("MAX_RUNS_PER_TASK", "1000")],
                "Unfinished tasks per organisation (0 for no limit), and runs per task.",
            ),
            one(
                &[
                    ("MAX_BODY_BYTES", "1048576"),
                    ("REQUEST_TIMEOUT_SECONDS", "30"),
                    ("HEADER_TIMEOUT_SECONDS", "20"),
                    ("STALLED_CLIENT_SECONDS", "60"),
                    ("MAX_CONNECTIONS", "20000"),
                ],
                "Limits of the HTTP server: request body; time until the head of a response; time for the \
                 head of a request; time without progress of a client that reads a response; open \
                 connections.",
            ),
            one(
                &[("MAX_STREAMS_PER_CALLER", "")],
                "Event streams per caller, 0 for no limit. By default 100 for users and tokens of single \
                 sign-on, and no limit for the local user.",
            ),
            one(
                &[("WEBHOOK_PRIVATE_ADDRESSES", "false")],
                "Allows webhooks in private networks and without TLS (for API and workers).",
            ),
            one(
                &[("WEBHOOK_WAIT_SECONDS", "10")],
                "Delay before the second attempt to deliver a webhook. It grows fourfold after each \
                 attempt.",
            ),
            one(
                &[("MAX_FILES_PER_TASK", "50")],
                "Files of a pull request that are used if a request names no number.",
            ),
        ],
    },
    Section {
        title: "Worker",
        entries: &[
            one(
                &[("WORKER_QUEUES", "")],
                "Queues to serve, comma-separated: prepare, run:claude, judge, finish, webhook. Empty for \
                 all.",
            ),
            one(
                &[("WORKER_SLOTS", "2")],
                "Jobs at the same time. By default the number of cores, at least 2.",
            ),
            one(
                &[("DRAIN_SECONDS", "30")],
                "Time for a stopping worker to finish its jobs. Then it returns them to the queue.",
            ),
            one(
                &[
                    ("TASK_TIMEOUT_SECONDS", "3600"),
                    ("AGENT_SESSION_TIMEOUT", "1800"),
                ],
                "Limits of one agent run and of one turn, in seconds.",
            ),
            one(
                &[("PROVIDER_WAIT_SECONDS", "15")],
                "Delay before the next attempt after a provider failure: four times as long after a rate \
                 limit, doubled after each further attempt, and never shorter than the provider asks for.",
            ),
            one(
                &[("MAX_CONTEXT_TOKENS", "200000")],
                "Largest context that a run is planned for, in tokens.",
            ),
            one(
                &[("MAX_TURNS", "60")],
                "Maximum number of turns of a deep dive.",
            ),
            one(
                &[("CONTROL_BIN", "")],
                "Program of the control agents. By default the running program itself.",
            ),
        ],
    },
    Section {
        title: "Pull requests",
        entries: &[
            one(
                &[
                    ("FORGE_URLS", "https://github.com"),
                    ("FORGE_API_URL", "https://api.github.com"),
                ],
                "Allowed forges, comma-separated, and the API of the first one.",
            ),
            one(
                &[("FORGE_TOKEN", ""), ("GITHUB_TOKEN", "")],
                "Token for private repositories. GITHUB_TOKEN is used if FORGE_TOKEN is not set.",
            ),
            one(
                &[("LOCAL_REPOSITORIES", "")],
                "Folders, separated by colons, whose local repositories may be evaluated by HTTP.",
            ),
            one(
                &[
                    ("GIT_TIMEOUT_SECONDS", "600"),
                    ("GIT_MAX_BYTES", "4294967296"),
                ],
                "Limits of one git command and of one mirror (4 GiB).",
            ),
        ],
    },
    Section {
        title: "Logs",
        entries: &[one(
            &[("LOG_LEVEL", "info"), ("LOG_FORMAT", "text")],
            "Log filter, such as info or info,worker=debug; and format, text or json.",
        )],
    },
    Section {
        title: "Agents",
        entries: &[
            one(
                &[("AGENTS_DIR", "data/agents")],
                "Folder into which scripts/install-agents.sh installs the agents' programs.",
            ),
            one(
                &[
                    ("CLAUDE_BIN", ""),
                    ("CLAUDE_MODEL", ""),
                    ("GEMINI_BIN", ""),
                    ("GEMINI_MODEL", ""),
                    ("IFLOW_BIN", ""),
                    ("IFLOW_MODEL_NAME", ""),
                    ("QWEN_BIN", ""),
                    ("QWEN_MODEL", ""),
                    ("CODEX_BIN", ""),
                    ("CODEX_MODEL", ""),
                ],
                "Path of an agent's program, and the model to use if a request names none (claude:MODEL \
                 names one).",
            ),
            one(
                &[("SANDBOX", "auto")],
                "Sandbox of agents: landlock, bwrap (bubblewrap), none, or auto for the first one that \
                 works. A sandbox that is named but not available stops the start.",
            ),
            one(
                &[("SANDBOX_CONNECT_PORTS", "")],
                "TCP ports that agents may connect to, comma-separated. Needs Landlock on Linux 6.7 or \
                 newer. Not set for all ports.",
            ),
            one(
                &[("AGENTS_FILE", "")],
                "File with further agents that speak the Agent Client Protocol: see \
                 docs/how-to/add-an-agent.md.",
            ),
            one(
                &[
                    ("ANTHROPIC_API_KEY", ""),
                    ("ANTHROPIC_AUTH_TOKEN", ""),
                    ("ANTHROPIC_BASE_URL", ""),
                    ("GEMINI_API_KEY", ""),
                    ("GOOGLE_API_KEY", ""),
                    ("GOOGLE_GEMINI_BASE_URL", ""),
                    ("OPENAI_API_KEY", ""),
                    ("OPENAI_BASE_URL", ""),
                    ("IFLOW_API_KEY", ""),
                    ("IFLOW_BASE_URL", ""),
                    ("HTTPS_PROXY", ""),
                    ("HTTP_PROXY", ""),
                    ("NO_PROXY", ""),
                    ("NODE_EXTRA_CA_CERTS", ""),
                    ("SSL_CERT_FILE", ""),
                ],
                "Each agent's program gets those variables that it understands, and nothing else of the \
                 environment. Keys are removed from everything that is stored.",
            ),
        ],
    },
    Section {
        title: "Judges",
        entries: &[
            one(
                &[("JUDGES", "")],
                "Models that judge free recall beside the deterministic judge: API:MODEL, comma-separated. \
                 API is openai (chat completions of any provider), anthropic or gemini. Each judge must \
                 pass an adversarial battery before it may rank. API:MODEL@NAME reads address, key and \
                 family from JUDGE_NAME_BASE_URL, JUDGE_NAME_API_KEY and JUDGE_NAME_FAMILY. No model and \
                 no family may appear twice.",
            ),
            one(
                &[
                    ("JUDGE_OPENAI_API_KEY", ""),
                    ("JUDGE_OPENAI_BASE_URL", "https://api.openai.com/v1"),
                    ("JUDGE_ANTHROPIC_API_KEY", ""),
                    ("JUDGE_ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
                    ("JUDGE_GEMINI_API_KEY", ""),
                    (
                        "JUDGE_GEMINI_BASE_URL",
                        "https://generativelanguage.googleapis.com",
                    ),
                ],
                "Keys and addresses of the judges. Judges never use the agents' keys.",
            ),
            one(
                &[("JUDGE_TIMEOUT_SECONDS", "120")],
                "Timeout of one request to a judge.",
            ),
            one(
                &[("JUDGE_MAX_RETRIES", "4"), ("JUDGE_WAIT_SECONDS", "1")],
                "Retries after a temporary failure of a judge, and the delay before the first retry.",
            ),
            one(
                &[("JUDGE_FALSE_ACCEPT_LIMIT", "0.05")],
                "Share of the battery's wrong claims that a judge may accept and still rank agents.",
            ),
            one(
                &[("JUDGE_BATTERY_SECONDS", "86400")],
                "Time for which a battery result is valid for later tasks of the same worker.",
            ),
        ],
    },
];

/// Returns whether a setting is listed, under its current or a deprecated name.
pub fn is_listed(name: &str) -> bool {
    DEPRECATED.iter().any(|(old, _)| *old == name)
        || SECTIONS
            .iter()
            .flat_map(|section| section.entries)
            .flat_map(|entry| entry.names)
            .any(|(listed, _)| *listed == name)
}

/// Returns the content of `.env.example`.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of Memory-Break Orchestrator. Copy this file to .env and change what you need.\n\
         # Every commented-out setting shows its default. The environment has priority over this file.\n\
         # Put values with spaces, quotes, # or $ in single quotes: NAME='a b'. An invalid line stops the\n\
         # start. Check the result with `membreak doctor`. This file is generated: see\n\
         # crates/platform/src/settings/catalog.rs.\n",
    );
    for section in SECTIONS {
        let rule = "-".repeat(100 - "# ---  ".len() - section.title.len());
        text.push_str(&format!("\n# --- {} {rule}\n", section.title));
        for entry in section.entries {
            for line in wrapped(entry.help, 98) {
                text.push_str(&format!("# {line}\n"));
            }
            for (name, default) in entry.names {
                text.push_str(&format!("#{name}={default}\n"));
            }
        }
    }
    text
}

/// Returns the content of `docs/reference/settings.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Settings are read from the environment and from a file `.env` in the working folder or above\n\
         it. The environment has priority. An invalid value stops the start, and all problems are\n\
         reported at once. `membreak doctor --settings` shows the values in effect and their origin.\n\n\
         This page is generated from `crates/platform/src/settings/catalog.rs`.\n",
    );
    for section in SECTIONS {
        text.push_str(&format!("\n## {}\n", section.title));
        for entry in section.entries {
            text.push('\n');
            for (name, default) in entry.names {
                match *default {
                    "" => text.push_str(&format!("- `{name}`, not set by default\n")),
                    default => text.push_str(&format!("- `{name}`, default `{default}`\n")),
                }
            }
            text.push('\n');
            for line in wrapped(entry.help, 98) {
                text.push_str(&format!("{line}\n"));
            }
        }
    }
    text.push_str("\n## Deprecated names\n\n");
    for (old, new) in DEPRECATED {
        text.push_str(&format!("- `{old}`: use `{new}`\n"));
    }
    text
}

/// Breaks a text into lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
