-- 10,000 tasks, each with three runs, each with three scores and two files, of the one local
-- organisation.
BEGIN;
INSERT INTO task (id, org_id, pr_url, repo, pr_number, source, agents, rubric, trials, max_files, seed,
    trigger, pass_mark, status, changed_files, dropped_files, event_seq, created_at, updated_at,
    started_at, completed_at, breaks, judging)
SELECT md5('task' || i)::uuid, 'local', 'https://github.com/acme/widgets/pull/' || i, 'acme/widgets', i,
    jsonb_build_object('kind', 'forge', 'base_url', 'https://github.com', 'owner', 'acme',
        'name', 'widgets', 'number', i),
    '["iflow", "claude", "gemini"]', '["AR", "TTL", "LRU"]', 1, 50, 1, 'auto_then_manual', 0.5, 'done',
    '["src/lib.rs", "src/main.rs", "README.md"]', '[]', 0, t, t, t, t + interval '1 hour', 1, 1
FROM generate_series(1, 10000) AS i,
    LATERAL (SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 minute' AS t) AS at;
INSERT INTO agent_run (id, task_id, agent, trial, status, milestones, stats, breaks,
    compression_detected, seal_broken, baseline, retry_count, overall_score, passed, created_at,
    updated_at, started_at, completed_at, model, manifest)
SELECT md5('run' || i || agent)::uuid, md5('task' || i)::uuid, agent, 1, 'done',
    '{"milestone_0": "repo_loaded", "milestone_1": "pre_compression"}',
    '{"turns": 12, "total_tokens": 159999}',
    '[{"trigger": "auto", "tokens_before": 159999, "tokens_after": 21000}]', true, false, 'fork', 0,
    random(), random() > 0.5, t, t, t, t + interval '10 minutes', 'a-model',
    '{"instrument_version": "3", "model": "a-model", "agent_version": "1.0"}'
FROM generate_series(1, 10000) AS i,
    unnest(ARRAY ['iflow', 'claude', 'gemini']) AS agent,
    LATERAL (SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 minute' AS t) AS at;
INSERT INTO score (id, run_id, dimension, break_index, n, cold, baseline, post, retention,
    item_retention, stale_rate, abstained_rate, wrong_rate, created_at, judging, known, kept)
SELECT md5('score' || i || agent || dimension)::uuid, md5('run' || i || agent)::uuid, dimension, 1, 10,
    0.1, 0.9, 0.5, 0.5, 0.5, 0, 0.1, 0.1, timestamptz '2026-01-01 00:00:00Z', 1, 9, 5
FROM generate_series(1, 10000) AS i,
    unnest(ARRAY ['iflow', 'claude', 'gemini']) AS agent,
    unnest(ARRAY ['AR', 'TTL', 'LRU']) AS dimension;
INSERT INTO artifact (id, task_id, run_id, name, key, media_type, size, sha256, created_at)
SELECT md5('artifact' || i || agent || name)::uuid, md5('task' || i)::uuid, md5('run' || i || agent)::uuid,
    name, md5('key' || i || agent || name), 'text/plain', 20000, md5(name) || md5(agent),
    timestamptz '2026-01-01 00:00:00Z'
FROM generate_series(1, 10000) AS i,
    unnest(ARRAY ['iflow', 'claude', 'gemini']) AS agent,
    unnest(ARRAY ['transcript', 'session.log']) AS name;
COMMIT;
VACUUM ANALYZE;
