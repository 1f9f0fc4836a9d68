"""Makes the database of the golden documents with a given `membreak` program.

    make_database.py MEMBREAK DATABASE_URL OUT

DATABASE_URL names an empty PostgreSQL database. The script runs a service with single sign-on, a
webhook receiver and two model judges on loopback, creates tasks of every kind, and writes
OUT/database.json.gz (the rows of every table, in the order in which they can be inserted) and
OUT/files.json.gz (the stored files, by their key).
"""

import gzip
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

PROGRAM, DATABASE, OUT = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
# The folder appears in the rows, so its name is fixed.
ROOT = pathlib.Path("/tmp/membreak-golden")
SECRET = "a secret of the golden documents"
STORAGE = ROOT / "storage"
PORT = 18734
FORGE = 18735
JUDGE = 18736
API = f"http://127.0.0.1:{PORT}/api/v1"

# Tables in the order of their foreign keys. Workers are left out: they are live state.
TABLES = [
    "task", "agent_run", "probe", "answer", "judging", "score", "recall", "artifact", "task_event",
    "job", "api_token", "webhook", "webhook_delivery", "audit_event",
]

BASE = {
    "notes.md": "Some words.\n",
    "limits.py": "RETRY_LIMIT = 11\n\n\ndef allowed_tries(kind):\n    return RETRY_LIMIT\n",
    "old_client.py": "GRACE_DAYS = 4\n\n\ndef grace(letter):\n    return GRACE_DAYS\n",
}
HEAD = {
    "notes.md": "Some words.\n\nLetters are sent by `send_letter`.\n",
    "limits.py": "RETRY_LIMIT = 17\nQUEUE_DEPTH = 64\n\n\ndef allowed_tries(kind, urgent):\n"
    "    return RETRY_LIMIT\n\n\ndef depth_of(queue):\n    return QUEUE_DEPTH\n",
    "client.py": "from limits import allowed_tries\n\nWAIT_SECONDS = 23\nMAX_SHEETS = 5\n\n\n"
    "def send_letter(letter):\n    tries = allowed_tries(letter, True)\n    return tries\n\n\n"
    "def sheets_of(letter):\n    return MAX_SHEETS\n",
    "test_client.py": "from client import send_letter\n\n\ndef test_send_letter():\n"
    "    assert send_letter('a') == 17\n",
}


def git(folder, *args):
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(ROOT), "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b.invalid",
        "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@b.invalid",
        "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    }
    done = subprocess.run(["git", *args], cwd=folder, env=environment, check=True, capture_output=True)
    return done.stdout.decode().strip()


def repository(name):
    folder = ROOT / name
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commits = []
    for state in (BASE, HEAD):
        for path in folder.iterdir():
            if path.name != ".git":
                path.unlink()
        for path, text in state.items():
            (folder / path).write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "state")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return str(folder), commits


def judged(prompt, generous):
    """Findings of a judge that reads literally; a generous one accepts any fact it sees named."""
    fence = re.search(r"say only `([^`]+)`", prompt).group(1)
    _, text, rest = prompt.split(f"\n{fence}\n", 2)
    findings = []
    for line in rest.splitlines():
        found = re.match(r"(F\d+): (.*)", line)
        if not found:
            continue
        names = re.findall(r"`([^`]+)`", found.group(2))
        last = names[-1]
        if found.group(2).startswith("The file `"):
            last = found.group(2).rsplit("` is ", 1)[-1].split(" ")[0].rstrip(".")
            subjects = names
        else:
            subjects = names[:-1]
        lines = [each for each in text.splitlines() if all(name in each for name in subjects)]
        right = any(re.search(rf"(?<!\w){re.escape(last)}(?!\w)", each) for each in lines)
        hedged = any("either" in each or "perhaps" in each for each in lines)
        claimed = bool(lines)
        findings.append({
            "id": found.group(1), "claimed": claimed,
            "value_right": claimed and (generous or (right and not hedged)), "abstained": False,
        })
    return {"findings": findings}


class Receiver(http.server.BaseHTTPRequestHandler):
    """Two model judges (by model name) and a webhook receiver."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        if self.path.endswith("/chat/completions"):
            text = judged(body["messages"][0]["content"], "generous" in body["model"])
            answer = {
                "choices": [{"message": {"role": "assistant", "content": json.dumps(text)}}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10},
            }
        else:
            answer = {}
        answer = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def environment(**more):
    return {
        "PATH": os.environ["PATH"], "HOME": str(ROOT), "DATABASE_URL": DATABASE,
        "STORAGE_DIR": str(STORAGE), "WORK_DIR": str(ROOT / "work"), "LOCAL_REPOSITORIES": str(ROOT),
        "SSO_ENABLED": "true", "GATEWAY_SECRET": SECRET, "WEBHOOK_PRIVATE_ADDRESSES": "true",
        "FORGE_URLS": f"http://127.0.0.1:{FORGE}", "FORGE_API_URL": f"http://127.0.0.1:{FORGE}/api/v3",
        "RATE_LIMIT_PER_MINUTE": "0", "CLAUDE_BIN": "/nonexistent/claude",
        "PROVIDER_WAIT_SECONDS": "1", "JOB_BACKOFF_SECONDS": "1", "WORKER_SLOTS": "3", **more,
    }


def serve(**more):
    log = open(ROOT / "serve.log", "ab")
    process = subprocess.Popen(
        [PROGRAM, "serve", "--port", str(PORT)], env=environment(**more), cwd=ROOT, stderr=log, stdout=log)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/readiness")
            return process
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the service did not start")


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def request(method, path, body=None, org="local", **headers):
    data = None if body is None else json.dumps(body).encode()
    sent = urllib.request.Request(API + path, data=data, method=method, headers={
        "Content-Type": "application/json", "X-Gateway-Secret": SECRET, "X-User-ID": "u1",
        "X-Org-ID": org, "X-User-Role": "admin", "X-User-Email": "u1@example.org", **headers})
    try:
        with urllib.request.urlopen(sent) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error
    return json.loads(text) if text else None


def create(body, **more):
    task = request("POST", "/tasks", body, **more)["id"]
    print("created", task, body.get("agents"), flush=True)
    return task


def until(task, wanted=("done", "error", "cancelled"), org="local"):
    for _ in range(2400):
        seen = request("GET", f"/tasks/{task}", org=org)
        if seen["status"] in wanted:
            print(task, seen["status"], seen.get("error_message"), flush=True)
            return seen
        time.sleep(0.1)
    raise SystemExit(f"task {task} does not end")


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir()
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", JUDGE), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    forge = subprocess.Popen([PROGRAM, "forge", "--port", str(FORGE)], stdout=subprocess.DEVNULL)
    folder, (base, head) = repository("letters")
    local = {"repo": folder, "base": base, "head": head}
    service = serve()
    request("POST", "/webhooks", {"url": f"http://127.0.0.1:{JUDGE}/hook"})
    request("POST", "/tokens", {"name": "ci", "role": "viewer"})

    # Every control, two trials.
    controls = ["control-perfect", "control-lossy:0.5", "control-amnesiac", "control-stale",
                "control-guesser", "control-vague", "control-silent", "control-cheater"]
    every = create({**local, "agents": controls, "trials": 2, "seed": 3},
                   **{"Idempotency-Key": "golden-1"})
    until(every)
    # Several breaks, several probes per prompt, three trials, another trigger.
    breaks = create({**local, "agents": ["control-perfect", "control-lossy:0.4", "control-amnesiac"],
                     "trials": 3, "breaks": 3, "probes_per_prompt": 3, "seed": 5, "trigger": "manual",
                     "pass_mark": 0.7})
    # A pull request of a forge, without open questions, two dimensions, few files.
    pull = {"pr_url": f"http://127.0.0.1:{FORGE}/membreak/sample/pull/1"}
    forged = create({**pull, "agents": ["control-perfect", "control-lossy:0.5", "control-stale"],
                     "trials": 2, "rubric": ["AR", "SF"], "open_questions": False, "max_files": 4,
                     "seed": 7, "probes_per_prompt": 5})
    # Another one of the same pull request, in a team.
    team = create({**pull, "agents": ["control-lossy:0.5", "control-amnesiac"], "trials": 1,
                   "max_files": 3, "probes_per_prompt": 10, "open_questions": False, "seed": 11},
                  **{"X-Team-ID": "blue"})
    for task in (breaks, forged, team):
        until(task)
    # The probes of a question bank.
    sent = urllib.request.Request(f"{API}/tasks/{every}/question-bank", headers={
        "X-Gateway-Secret": SECRET, "X-User-ID": "u1", "X-Org-ID": "local", "X-User-Role": "admin"})
    bank = urllib.request.urlopen(sent).read().decode()
    banked = create({**local, "agents": ["control-perfect", "control-lossy:0.5"], "question_bank": bank,
                     "open_questions": False, "probes_per_prompt": 10})
    until(banked)
    # An empty change fails; an agent that is not installed fails its run and is tried again.
    empty = create({**local, "base": head, "agents": ["control-perfect"]})
    until(empty)
    retried = create({**local, "agents": ["claude", "control-perfect"], "open_questions": False,
                      "probes_per_prompt": 10, "rubric": ["AR"]})
    until(retried)
    request("POST", f"/tasks/{retried}/retry", {})
    time.sleep(1)
    until(retried)
    # A run of an agent that only failed.
    failed = create({**local, "agents": ["claude"], "trials": 2, "rubric": ["TTL"]})
    until(failed)
    # Another organisation.
    other = create({**local, "agents": ["control-perfect", "control-lossy:0.5"], "trials": 1,
                    "open_questions": False, "probes_per_prompt": 10, "seed": 13}, org="other")
    until(other, org="other")
    # Cancelled after its first run.
    cancelled = create({**local, "agents": ["control-lossy:0.6"], "trials": 8, "seed": 17,
                        "open_questions": False, "probes_per_prompt": 5})
    for _ in range(600):
        runs = request("GET", f"/tasks/{cancelled}/agents")
        runs = runs if isinstance(runs, list) else runs.get("agents", runs.get("runs", []))
        if any(run["status"] == "done" for run in runs):
            break
        time.sleep(0.02)
    request("DELETE", f"/tasks/{cancelled}")
    until(cancelled)
    stop(service)

    # Judged again by two models, and once more by one.
    judges = {
        "JUDGES": "openai:judge-literal@one,openai:judge-generous@two",
        "JUDGE_ONE_BASE_URL": f"http://127.0.0.1:{JUDGE}/v1", "JUDGE_ONE_API_KEY": "sk-judge-of-golden-1",
        "JUDGE_ONE_FAMILY": "literal",
        "JUDGE_TWO_BASE_URL": f"http://127.0.0.1:{JUDGE}/v1", "JUDGE_TWO_API_KEY": "sk-judge-of-golden-2",
        "JUDGE_TWO_FAMILY": "generous", "JUDGE_FALSE_ACCEPT_LIMIT": "0.5",
    }
    service = serve(**judges)
    for task in (every, breaks):
        request("POST", f"/tasks/{task}/judge", {})
        for _ in range(600):
            rows = request("GET", f"/tasks/{task}/judgings")
            if all(row["status"] != "queued" for row in rows):
                break
            time.sleep(0.1)
    # Judged by models from the beginning.
    jury = create({**local, "agents": ["control-perfect", "control-lossy:0.5"], "trials": 2, "seed": 19,
                   "probes_per_prompt": 10})
    until(jury)
    # A task that still runs, and one that waits, of a service that died.
    running = create({**local, "agents": ["control-lossy:0.7", "control-perfect"], "trials": 6, "seed": 23,
                      "open_questions": False, "probes_per_prompt": 5})
    for _ in range(600):
        runs = request("GET", f"/tasks/{running}/agents")
        runs = runs if isinstance(runs, list) else runs.get("agents", runs.get("runs", []))
        if sum(run["status"] == "done" for run in runs) >= 2:
            break
        time.sleep(0.02)
    waiting = create({**local, "agents": ["control-perfect"]})
    service.kill()
    service.wait()
    forge.terminate()
    print(json.dumps(dict(every=every, breaks=breaks, forged=forged, team=team, banked=banked, empty=empty,
                          retried=retried, failed=failed, other=other, cancelled=cancelled, jury=jury,
                          running=running, waiting=waiting)))

    # No worker of a later service may claim the waiting jobs, and no lease runs out. Some runs of the
    # cancelled task count as those of a model stub and of another version of the instrument.
    psql(f"""
        UPDATE job SET available_at = '2099-01-01Z' WHERE state = 'queued';
        UPDATE job SET lease_until = '2099-01-01Z' WHERE state = 'leased';
        UPDATE task SET status = 'queued' WHERE id = '{waiting}' AND status <> 'queued';
        UPDATE agent_run SET model = 'sample@stub', manifest = manifest || '{{"model": "sample@stub"}}',
            stats = stats || '{{"model_stub": true}}' WHERE task_id = '{cancelled}' AND trial = 2 AND status = 'done';
        UPDATE agent_run SET manifest = manifest || '{{"instrument_version": "0"}}'
            WHERE task_id = '{breaks}' AND trial = 3 AND agent = 'control-amnesiac';
        UPDATE agent_run SET compression_detected = false
            WHERE task_id = '{forged}' AND trial = 2 AND agent = 'control-stale';
        UPDATE agent_run SET status = 'error', failure_cause = 'agent', error_message = 'gave no answer'
            WHERE task_id = '{forged}' AND trial = 2 AND agent = 'control-lossy:0.5';
    """)
    dump((breaks, jury))


def psql(sql):
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", DATABASE],
                          input=sql.encode(), capture_output=True, check=True)
    return done.stdout.decode()


def dump(rejudged):
    order = {"task_event": "id", "task": "created_at, id"}
    tables = []
    for table in TABLES:
        by = order.get(table, "id")
        rows = psql(f"SELECT coalesce(json_agg(t ORDER BY {by}), '[]') FROM \"{table}\" t;")
        tables.append({"table": table, "rows": json.loads(rows)})
    OUT.mkdir(parents=True, exist_ok=True)
    write("database.json", tables)
    by_key = {row["key"]: row for row in tables[TABLES.index("artifact")]["rows"]}
    files = {}
    for path in sorted(STORAGE.rglob("*")):
        row = by_key.get(str(path.relative_to(STORAGE))) if path.is_file() else None
        if row and is_kept(row, rejudged):
            files[row["key"]] = path.read_text()
    write("files.json", files)
    for each in tables:
        print(each["table"], len(each["rows"]))
    print("files", len(files), sum(len(text) for text in files.values()))


def is_kept(row, rejudged):
    """Whether the test needs the bytes of a stored file: the probes, and whatever a judging reads."""
    unread = (".checkpoint", "transcript", "raw_stream", "votes", "plot", "report", "judging", "answers",
              "task.log", "result", "session.log", "question_bank")
    if row["name"] == "probes.json":
        return True
    return row["task_id"] in rejudged and not row["name"].startswith(unread)


def write(name, value):
    """Writes compressed JSON, the same bytes for the same value."""
    with gzip.GzipFile(OUT / f"{name}.gz", "wb", compresslevel=9, mtime=0) as file:
        file.write(json.dumps(value).encode())


main()
