#!/usr/bin/env python3
"""Counts pairs of places outside tests that share six or more equal lines.

    scripts/duplicates.py [--list] [--max N] [FOLDER]

Reads the Rust files that git tracks. Blank lines, comments, imports, attributes and lone punctuation do
not count, and white space is ignored. A run of equal lines counts once for every pair of places.
With --max the exit status is 1 if there are more pairs than N.
"""

import argparse
import collections
import re
import subprocess
import sys

WINDOW = 6
IGNORED = re.compile(r"^(//.*|#!?\[.*\]|(pub(\(.*\))? )?use .*;|(pub(\(.*\))? )?mod .*;|[\W_]*|else|\} else \{)$")


def code(path):
    """Returns the counted lines of a file as (line number, text)."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    lines, in_use = [], False
    for number, line in enumerate(text.split("\n"), 1):
        line = " ".join(line.split())
        if line == "#[cfg(test)]":
            break
        if in_use or re.match(r"(pub(\(.*\))? )?use [^;]*$", line):
            in_use = not line.endswith(";")
            continue
        if not IGNORED.match(line):
            lines.append((number, line))
    return lines


def runs(files):
    """Yields maximal runs of equal lines: (length, place, place)."""
    windows = collections.defaultdict(list)
    for path, lines in files.items():
        for start in range(len(lines) - WINDOW + 1):
            key = tuple(text for _, text in lines[start : start + WINDOW])
            windows[key].append((path, start))
    seen = set()
    for places in windows.values():
        for first in range(len(places)):
            for second in range(first + 1, len(places)):
                (a, i), (b, j) = places[first], places[second]
                if a == b and abs(i - j) < WINDOW:
                    continue
                # Only the beginning of a run counts.
                if i > 0 and j > 0 and files[a][i - 1][1] == files[b][j - 1][1] and (a != b or i - 1 != j):
                    continue
                if (a, i, b, j) in seen:
                    continue
                seen.add((a, i, b, j))
                length = 0
                while (
                    i + length < len(files[a])
                    and j + length < len(files[b])
                    and files[a][i + length][1] == files[b][j + length][1]
                ):
                    length += 1
                yield length, (a, files[a][i][0]), (b, files[b][j][0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="print every pair")
    parser.add_argument("--max", type=int, help="largest allowed number of pairs")
    parser.add_argument("folder", nargs="?", default=".")
    options = parser.parse_args()
    listed = subprocess.run(
        ["git", "-C", options.folder, "ls-files", "*.rs"], capture_output=True, text=True, check=True
    ).stdout.split()
    tests = re.compile(r"(^|/)(tests|benches|examples|testkit|demo)/|(^|/)tests\.rs$")
    files = {path: code(f"{options.folder}/{path}") for path in listed if not tests.search(path)}
    found = sorted(runs(files), reverse=True)
    if options.list:
        for length, a, b in found:
            print(f"{length:4}  {a[0]}:{a[1]}  {b[0]}:{b[1]}")
    print(f"{len(found)} pairs of places share {WINDOW} or more equal lines, in {len(files)} files")
    if options.max is not None and len(found) > options.max:
        sys.exit(1)


if __name__ == "__main__":
    main()
