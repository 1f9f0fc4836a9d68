//! Deliberate differences from the responses of the first service, with quotes of
//! `docs/reference/api.md`.

use super::compare::Found;

/// A deliberate difference.
#[derive(Debug)]
pub(super) struct Difference {
    /// Names of exchanges. Empty for all.
    exchanges: &'static [&'static str],
    kind: &'static str,
    /// Paths of fields. `field.**` covers everything below it.
    places: &'static [&'static str],
    /// Quote of `docs/reference/api.md`.
    pub(super) documented_as: &'static str,
}

impl Difference {
    pub(super) fn is(&self, found: &Found) -> bool {
        let covers = |place: &&str| match place.strip_suffix("**") {
            Some(start) => found.place.starts_with(start),
            None => found.place == *place,
        };
        let here = self.exchanges.is_empty() || self.exchanges.contains(&found.exchange.as_str());
        here && self.kind == found.kind && self.places.iter().any(covers)
    }
}

/// Events that have another name now.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("progress_update", "progress"),
    ("agent_started", "run_started"),
];

/// In any exchange.
const ANY: &[&str] = &[];
/// The answer as a whole.
const WHOLE: &[&str] = &[""];

/// One line for each.
const fn differs(
    exchanges: &'static [&'static str],
    kind: &'static str,
    places: &'static [&'static str],
    documented_as: &'static str,
) -> Difference {
    Difference {
        exchanges,
        kind,
        places,
        documented_as,
    }
}

pub(super) const DIFFERENCES: &[Difference] = &[
    differs(
        &["health_noslash", "list_trailing_slash"],
        "status",
        WHOLE,
        "`/api/v1/tasks/`, `/health`, `/docs`: 404",
    ),
    differs(
        &["post_huge_pr_number"],
        "status",
        WHOLE,
        "a number of a pull request beyond 32 bits: 500",
    ),
    differs(
        &["list_page0", "list_neg_size", "leaderboard_baduuid"],
        "status",
        WHOLE,
        "`page=0`, `page_size=-1`, a bad id for the leaderboard: 500",
    ),
    differs(
        &["artifact_get", "artifact_bundle"],
        "status",
        WHOLE,
        "fetching an artifact: 403, the bundle: 500",
    ),
    differs(
        &["status_post_spoof_done"],
        "status",
        WHOLE,
        "`POST /tasks/{id}/status`",
    ),
    differs(
        &["rate_limited_xff"],
        "status",
        WHOLE,
        "rate limits per process, by `X-Forwarded-For`",
    ),
    differs(
        &["health_detailed"],
        "value",
        &["components.queue.details.redis_connected"],
        "`redis_connected` without a Redis",
    ),
    differs(
        &["health_detailed", "health_metrics"],
        "missing",
        &[
            "components.queue.details.queue_stats.**",
            "components.queue.details.worker_stats.queue_lengths.**",
            "queue_metrics.**",
            "worker_metrics.queue_lengths.**",
        ],
        "queues `high`, `default`, `low` in the figures",
    ),
    differs(
        &["health_detailed", "health_metrics"],
        "value",
        &[
            "components.queue.details.worker_stats.total_workers",
            "components.queue.details.worker_stats.active_workers",
            "worker_metrics.total_workers",
            "worker_metrics.active_workers",
        ],
        "agents are available without a worker",
    ),
    differs(
        &["health_detailed", "health_metrics"],
        "missing",
        &[
            "components.agents.details.iflow.version_info.**",
            "components.agents.details.claude.version_info.**",
            "components.agents.details.gemini.version_info.**",
            "agent_metrics.agents.iflow.version_info.**",
            "agent_metrics.agents.claude.version_info.**",
            "agent_metrics.agents.gemini.version_info.**",
        ],
        "`version_info` with paths, models and kits",
    ),
    differs(
        &["health_detailed", "health_metrics"],
        "value",
        &[
            "components.agents.details.iflow.version_info.version",
            "agent_metrics.agents.iflow.version_info.version",
        ],
        "`version_info` with paths, models and kits",
    ),
    differs(
        &[
            "post_valid",
            "post_valid_defaults",
            "post_trailing_path",
            "post_dup_agents",
            "post_extra_field",
        ],
        "value",
        &["status"],
        "a new task answers `running`",
    ),
    differs(
        &["post_unknown_agent", "agent_unknown", "list_filter_bad"],
        "value",
        &["detail.*.msg", "detail.*.ctx.expected"],
        "lists of known words",
    ),
    differs(
        &["post_bad_json"],
        "value",
        &["detail.*.ctx.error"],
        "texts of JSON and UUID errors",
    ),
    differs(
        ANY,
        "value",
        &["tasks.*.error_message", "error_message"],
        "`error_message` with the command line of git",
    ),
    differs(
        &["agents", "agent_one"],
        "value",
        &["*.artifacts.transcript", "artifacts.transcript"],
        "`artifacts` of a run are paths of the server",
    ),
    differs(
        &["leaderboard"],
        "value",
        &["leaderboard.*.passed"],
        "`passed` is false although three of four dimensions reach the mark",
    ),
    differs(
        &["leaderboard", "comparison"],
        "value",
        &[
            "leaderboard.*.compression_detected",
            "agents.iflow.metrics.compression_detected",
            "agents.claude.metrics.compression_detected",
            "agents.gemini.metrics.compression_detected",
        ],
        "runs without a break are ranked",
    ),
    differs(
        &["comparison"],
        "value",
        &[
            "agents.iflow.metrics.detection_method",
            "agents.claude.metrics.detection_method",
            "agents.gemini.metrics.detection_method",
        ],
        "`detection_method` names a way of counting tokens",
    ),
    differs(
        &["comparison"],
        "null",
        &["winner"],
        "the winner of a comparison has the most turns",
    ),
    differs(
        &["comparison"],
        "value",
        &["best_score"],
        "the winner of a comparison has the most turns",
    ),
    differs(
        &["post_valid_leaderboard_after"],
        "length",
        &["leaderboard.*"],
        "the leaderboard is in no order and lists every run",
    ),
    differs(
        &["post_valid_leaderboard_after"],
        "missing",
        &["leaderboard.*"],
        "scores of 0.0 for runs that have none",
    ),
    differs(
        &["logs_files"],
        "value",
        &["log_files.*.path"],
        "log files of an agent at `agents/{agent}/{name}`",
    ),
    differs(
        &["logs_files"],
        "missing",
        &["log_files.*"],
        "a transcript is `transcript.txt`",
    ),
    differs(
        &["logs_agent_stream_done"],
        "header",
        &["content-type"],
        "`agent` streams as `text/plain`",
    ),
    differs(
        &["logs_stream_done", "logs_stream_running_nofile"],
        "missing",
        &["event info"],
        "events `info`: which file of the server is read",
    ),
    differs(
        &["logs_container_stream"],
        "missing",
        &["event info"],
        "a container's log that never comes",
    ),
    differs(
        &["logs_stream_done"],
        "missing",
        &["event log"],
        "events `log`: lines of a log file",
    ),
    differs(
        &["logs_stream_done"],
        "renamed",
        &["event progress_update"],
        "event `progress_update`",
    ),
    differs(
        &["logs_agent_stream_done"],
        "renamed",
        &["event agent_started"],
        "event `agent_started`",
    ),
    differs(
        &["logs_stream_done", "logs_agent_stream_done"],
        "value",
        &[
            "event task_started.message",
            "event progress_update.message",
            "event agent_started.message",
        ],
        "`message` of events in the words of one program",
    ),
    differs(
        &["artifacts_list", "not_limited_artifacts"],
        "value",
        &[
            "artifacts.iflow.transcript.path",
            "artifacts.claude.transcript.path",
            "artifacts.gemini.transcript.path",
        ],
        "`path` of an artifact is a path of the server",
    ),
    differs(
        &["artifacts_list", "not_limited_artifacts"],
        "value",
        &[
            "artifacts.iflow.transcript.download_url",
            "artifacts.claude.transcript.download_url",
            "artifacts.gemini.transcript.download_url",
        ],
        "`download_url` names the agent",
    ),
    differs(
        &["artifacts_list", "not_limited_artifacts"],
        "value",
        &["total_size"],
        "`total_size` is that of the files the runs know of",
    ),
    differs(
        &["bad_host"],
        "header",
        &["content-type"],
        "a foreign `Host`: 400 in plain text",
    ),
    differs(
        &["bad_host"],
        "text",
        WHOLE,
        "a foreign `Host`: 400 in plain text",
    ),
    differs(
        &["cors_preflight"],
        "header",
        &["content-type"],
        "a preflight is answered with `OK` in plain text",
    ),
    differs(
        &["cors_preflight"],
        "text",
        WHOLE,
        "a preflight is answered with `OK` in plain text",
    ),
    differs(
        &["method_not_allowed"],
        "header",
        &["allow"],
        "`Allow` names the methods of one handler",
    ),
    differs(
        &["agents_after_delete"],
        "value",
        &["*.status"],
        "a cancelled task is `error`",
    ),
];
