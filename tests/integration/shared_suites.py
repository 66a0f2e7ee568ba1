#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The suites that all integration tests of one ctest run share: `shared_suites.py start FILE` brings up one with single instances
and one with two replicas and writes their directories to FILE; `stop FILE` stops and removes them and fails if a sanitizer said
anything in a daemon's log. ctest runs these as set-up and clean-up; pytest finds FILE through CHANCERY_SHARED_SUITES.
"""
import json
import pathlib
import sys
import tempfile

from conftest import Suite, keep, remove

KINDS = {"suite": (), "two_replicas": ("--replicas", "2")}


def start(file):
    if file.exists():
        stop(file)
    made = {}
    for name, options in KINDS.items():
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="chancery-test-", dir="/tmp"))
        scratch.chmod(0o755)
        made[name] = str(scratch / "suite")
        file.write_text(json.dumps(made))
        print(Suite(made[name], *options).start().out, flush=True)


def stop(file):
    reports = []
    for directory in json.loads(file.read_text()).values():
        suite = Suite(directory)
        if (suite.dir / "settings").exists():
            suite.stop()
            reports += suite.sanitizer_reports()
        if not keep(suite):
            remove(suite)
    file.unlink()
    if reports:
        sys.exit("\n".join(reports))


if __name__ == "__main__":
    {"start": start, "stop": stop}[sys.argv[1]](pathlib.Path(sys.argv[2]))
