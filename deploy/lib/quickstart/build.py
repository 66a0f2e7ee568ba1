# SPDX-License-Identifier: Apache-2.0
"""Builds the programs (or takes those of CHANCERY_BUILD_DIR) and installs them into the state directory."""

import os
import pathlib
import re
import shutil
import subprocess

from quickstart.console import StepFailed, run, write_file
from quickstart.suite import CHECKOUT, SERVICES

PROGRAMS = ["chancery"] + [f"chancery-{service}" for service in SERVICES]


def tree():
    return pathlib.Path(os.environ.get("CHANCERY_BUILD_DIR") or CHECKOUT / "build").absolute()


def sanitized():
    """Whether the programs were built with sanitizers, which ask for some settings at run time."""
    cache = tree() / "CMakeCache.txt"
    return cache.exists() and bool(re.search(r"^CHANCERY_SANITIZE:\w+=\S", cache.read_text(encoding="utf-8"), re.M))


def build(console, log):
    """Gives what to tell. A tree that CHANCERY_BUILD_DIR names is taken as it is."""
    if os.environ.get("CHANCERY_BUILD_DIR"):
        return f"built already in {tree()}"
    if not (tree() / "build.ninja").exists():
        launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        run(["cmake", "-G", "Ninja", "-S", CHECKOUT, "-B", tree(), "-DCHANCERY_TESTS=OFF", *launcher], log)
    count = 0
    with subprocess.Popen(["ninja", "-C", str(tree()), *PROGRAMS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True) as ninja, open(log, "a", encoding="utf-8") as file:
        tail = []
        for line in ninja.stdout:
            file.write(line)
            tail = (tail + [line.rstrip()])[-30:]
            if re.match(r"\[\d+/\d+\]", line):
                count += 1
                console.progress(line.split(" ", 1)[0])
    if ninja.returncode != 0:
        raise StepFailed(f"the build failed (all of its output: {log})", tail)
    return f"{count} files" if count else "nothing had changed"


def install(suite):
    """Copies programs, migrations, profiles and documents. Gives the names of programs that changed."""
    suite.path("bin").mkdir(exist_ok=True)
    changed = []
    for program in PROGRAMS:
        source = tree() / "bin" / program
        if not source.exists():
            raise StepFailed(f"program '{source}' has not been built")
        if write_file(suite.path("bin", program), source.read_bytes(), 0o755):
            changed.append(program)
    for source, name in ((CHECKOUT / "proto/schema", "schema"), (CHECKOUT / "deploy/profiles", "profiles")):
        suite.path("share", name).mkdir(parents=True, exist_ok=True)
        for file in sorted(source.iterdir()):
            write_file(suite.path("share", name, file.name), file.read_bytes())
    return changed
