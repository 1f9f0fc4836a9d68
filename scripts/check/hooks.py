"""What Schemathesis asks for: three times of four something that is there (CHECK_IDS, a file with what
the example `furnish` printed). By itself it makes ids up, and would hardly get past "not found".
"""

import json
import os
import uuid
import zlib

import schemathesis

with open(os.environ["CHECK_IDS"], encoding="utf-8") as file:
    KNOWN = json.load(file)

WORDS = {
    "agent": ["claude", "control-lossy:0.5", "task"],
    "name": ["transcript", "session.log", "task.log", "empty.txt"],
}


def is_id(text):
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def pick(known, value):
    # By the value itself, so that the same seed asks the same.
    number = zlib.crc32(value.encode())
    return known[(number // 4) % len(known)] if number % 4 else value


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for name, value in (path_parameters or {}).items():
        if not isinstance(value, str):
            continue
        # What is to be refused as no id stays what it is.
        if name == "task_id" and is_id(value):
            path_parameters[name] = pick(KNOWN["tasks"], value)
        elif name == "job_id" and is_id(value):
            path_parameters[name] = pick(KNOWN["jobs"], value)
        elif name in WORDS:
            path_parameters[name] = pick(WORDS[name], value)
    return path_parameters
