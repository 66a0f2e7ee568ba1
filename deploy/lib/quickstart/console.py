# SPDX-License-Identifier: Apache-2.0
"""One line a step with its time; progress on long ones. Running programs, and what is told when one fails."""

import contextlib
import os
import subprocess
import sys
import time


class StepFailed(Exception):
    """A step that cannot go on. `details` are lines that help to find out why."""

    def __init__(self, message, details=()):
        super().__init__(message)
        self.details = list(details)


class Console:
    def __init__(self, stream=sys.stdout):
        self.stream = stream
        self.live = stream.isatty()
        self.title = None
        self.last_progress = 0.0

    def line(self, text=""):
        print(text, file=self.stream, flush=True)

    def progress(self, text):
        """On a terminal in place, else a line every ten seconds."""
        now = time.monotonic()
        if self.live and now - self.last_progress >= 0.1:
            print(f"\r\033[K  ...      {self.title}: {text[:60]}", end="", file=self.stream, flush=True)
            self.last_progress = now
        elif not self.live and now - self.last_progress >= 10:
            self.line(f"  ...      {self.title}: {text[:60]}")
            self.last_progress = now

    @contextlib.contextmanager
    def step(self, title):
        """with console.step("PostgreSQL") as told: …; told.append("what came out")"""
        told = []
        start = time.monotonic()
        self.title = title
        self.last_progress = start
        if self.live:
            print(f"  ...      {title}", end="", file=self.stream, flush=True)
        try:
            yield told
        except BaseException:
            self._end("FAILED", title, [], time.monotonic() - start)
            raise
        self._end("ok", title, told, time.monotonic() - start)

    def _end(self, word, title, told, seconds):
        if self.live:
            print("\r\033[K", end="", file=self.stream)
        detail = f": {', '.join(told)}" if told else ""
        self.line(f"  {word:6} {seconds:6.2f} s  {title}{detail}")


def run(arguments, log=None, check=True, **options):
    """Runs a program to its end and gives its output. What it printed goes to `log` too. Its failure is a StepFailed."""
    arguments = [str(argument) for argument in arguments]
    options.setdefault("stdin", subprocess.DEVNULL)
    if "input" in options:
        options.pop("stdin")
    try:
        done = subprocess.run(arguments, capture_output=True, text=not isinstance(options.get("input"), bytes),
                              timeout=options.pop("timeout", 120), check=False, **options)
    except FileNotFoundError:
        raise StepFailed(f"program '{arguments[0]}' is not installed") from None
    except subprocess.TimeoutExpired as late:
        raise StepFailed(f"'{' '.join(arguments)}' did not end within {late.timeout:.0f} s") from None
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"$ {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    if check and done.returncode != 0:
        lines = f"{done.stdout}\n{done.stderr}".strip().splitlines()[-12:]
        raise StepFailed(f"'{' '.join(arguments)}' ended with exit code {done.returncode}", lines)
    return done


def write_file(path, content, mode=0o644, owner=None):
    """Replaces a file atomically; True where its content changed. owner: (uid, gid)."""
    data = content.encode() if isinstance(content, str) else content
    same = False
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        same = file.read() == data
    if not same:
        temporary = f"{path}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.rename(temporary, path)
    os.chmod(path, mode)
    if owner:
        os.chown(path, *owner)
    return not same
