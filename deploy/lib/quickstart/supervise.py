# SPDX-License-Identifier: Apache-2.0
"""runit: a service directory for each process, `runsvdir` over them. Everything is found and stopped by process id."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

from quickstart import build, postgres, users
from quickstart.console import StepFailed, run, write_file
from quickstart.suite import CHECKOUT, HSMS, SERVICES, hsm_service, hsm_user

TEMPLATES = CHECKOUT / "deploy/runit"
STOP_ORDER = (("haproxy",), ("gateway", "ocsp", "tsa", "crl"), ("issuer",), ("audit",), ("vault",), ("hsm",), ("postgres",))
# The sandbox forbids what the leak checker does at the end of a process.
SANITIZER_SETTINGS = {
    "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=8:malloc_context_size=8",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def environment():
    return SANITIZER_SETTINGS if build.sanitized() else {}


def _fill(template, values):
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _write_service(suite, name, files):
    """Gives whether something changed. Services begin down; start() brings them up in order."""
    service = suite.path("service", name)
    logs = suite.path("log", name)
    fresh = not service.exists()
    target = suite.path("service.new") if fresh else service
    if fresh:
        shutil.rmtree(target, ignore_errors=True)
    (target / "log").mkdir(parents=True, exist_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    os.chown(logs, *users.ids(users.LOG_USER))
    changed = False
    for file, text in (files | {"log/run": _fill("log.run.in", {"NAME": name, "LOG": logs})}).items():
        (target / file).parent.mkdir(exist_ok=True)
        changed |= write_file(target / file, text, 0o755)
    (target / "env").mkdir(exist_ok=True)
    for variable, value in environment().items():
        changed |= write_file(target / "env" / variable, value + "\n")
    write_file(target / "down", "")
    if fresh:
        target.rename(service)
    return changed


def write(suite):
    """Gives the names of services whose files changed; removes those of replicas that are no longer wanted."""
    suite.path("service").mkdir(exist_ok=True)
    suite.path("log").mkdir(exist_ok=True)
    changed = set()
    files = {"run": _fill("postgres.run.in", {"POSTGRES": postgres.server(), "DATA": suite.path("pg")}),
             "control/t": _fill("postgres.term.in", {})}
    if _write_service(suite, "postgres", files):
        changed.add("postgres")
    for instance in suite.instances:
        files = {"run": _fill("daemon.run.in", {
            "NAME": instance.name, "USER": instance.user, "STATE": suite.path("state", instance.name),
            "PROGRAM": suite.path(f"bin/chancery-{instance.service}"),
            "CONFIG": suite.path("etc", f"{instance.name}.yaml")})}
        if _write_service(suite, instance.name, files):
            changed.add(instance.name)
    for name in HSMS:
        files = {"run": _fill("hsm.run.in", {
            "NAME": hsm_service(name), "USER": hsm_user(name), "SERVICE": suite.path("service", hsm_service(name)), "HSM": name,
            "PROGRAM": suite.path("bin/chancery-vault"), "CONFIG": suite.path("etc/vault-1.yaml")})}
        if _write_service(suite, hsm_service(name), files):
            changed.add(hsm_service(name))
    files = {"run": _fill("haproxy.run.in", {"CONFIG": suite.path("haproxy/haproxy.cfg")})}
    if _write_service(suite, "haproxy", files):
        changed.add("haproxy")
    wanted = {"postgres", "haproxy"} | set(map(hsm_service, HSMS)) | {instance.name for instance in suite.instances}
    for service in suite.path("service").iterdir():
        if service.name not in wanted:
            remove(suite, service.name)
    return changed


def remove(suite, name):
    service = suite.path("service", name)
    if _supervised(service):
        run(["sv", "-w", "30", "force-stop", service], check=False)
    gone = suite.path("service", f".{name}")  # runsvdir ignores names that begin with a dot
    service.rename(gone)
    if _supervised(gone):
        run(["sv", "-w", "10", "exit", gone], check=False)
    shutil.rmtree(gone, ignore_errors=True)


def runsvdir_pid(suite):
    """Of this suite's runsvdir where it lives, else None. A number that now belongs to another process is not it."""
    try:
        pid = int(suite.path("runsvdir.pid").read_text(encoding="utf-8"))
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if str(suite.path("service")).encode() in words else None


def start_runsvdir(suite):
    """Gives whether it had to be started."""
    if runsvdir_pid(suite):
        return False
    with open(suite.path("log/runsvdir"), "ab") as output:
        process = subprocess.Popen(["runsvdir", "-P", str(suite.path("service"))], stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output, start_new_session=True, cwd="/")
    write_file(suite.path("runsvdir.pid"), f"{process.pid}\n")
    return True


def _supervised(service):
    """Whether a runsv is at work on a service directory."""
    try:
        descriptor = os.open(service / "supervise/ok", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.close(descriptor)
    return True


def wait_until(condition, seconds, what, console=None):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise StepFailed(f"{what}: not within {seconds:.0f} s")
        if console:
            console.progress("waiting")
        time.sleep(0.05)


def up(suite, name, console):
    """Starts a service; the file that keeps it down at the start of runsv goes, so that it comes back by itself."""
    service = suite.path("service", name)
    wait_until(lambda: _supervised(service), 20, f"runsv of {name}", console)
    run(["sv", "up", service])
    (service / "down").unlink(missing_ok=True)


def up_all(suite, names, changed, console):
    """Starts what is not up, and again what changed and is of no use as it is. Gives what changed and serves: for later, one after the
    other, when those that are new serve as well."""
    later = []
    for name in names:
        was_up = pid(suite, name) is not None
        up(suite, name, console)
        if was_up and name in changed and readiness(suite, name)[0]:
            later.append(name)
        elif was_up and name in changed:
            restart(suite, name)
    return later


def restart(suite, name):
    run(["sv", "-w", "30", "force-restart", suite.path("service", name)], check=False)


def pid(suite, name):
    """Of the running process, or None."""
    try:
        return int(suite.path("service", name, "supervise/pid").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def seconds_up(suite, name):
    with contextlib.suppress(FileNotFoundError):
        return time.time() - suite.path("service", name, "supervise/pid").stat().st_mtime
    return 0


def _summary(body):
    text = body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return json.loads(text)["summary"]
    return " ".join(text[:500].split())


def readiness(suite, name):
    """(ready, what it says) of an instance's operations port; a degraded one is ready and says what is amiss."""
    try:
        with urllib.request.urlopen(f"http://{suite.address(f'{name}.operations')}/readyz", timeout=3) as answer:
            return answer.status == 200, _summary(answer.read(65536))
    except urllib.error.HTTPError as refused:
        return False, _summary(refused.read(65536))
    except (OSError, ValueError) as unreachable:
        return False, str(getattr(unreachable, "reason", unreachable))


def wait_ready(suite, names, console, seconds=60):
    end = time.monotonic() + seconds
    waiting = list(names)
    while waiting:
        states = {name: readiness(suite, name) for name in waiting}
        waiting = [name for name in waiting if not states[name][0]]
        if waiting and time.monotonic() > end:
            raise StepFailed("not ready: " + "; ".join(f"{name} ({states[name][1]})" for name in waiting),
                             [line for name in waiting for line in last_lines(suite, name, 3)])
        if waiting:
            console.progress("waiting for " + ", ".join(waiting))
            time.sleep(0.05)


def last_lines(suite, name, count):
    """The last lines of a log that tell of an error, else just the last ones."""
    try:
        lines = suite.path("log", name, "current").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return [f"{name}: no log yet"]
    bad = [line for line in lines if '"level":"error"' in line or "ERROR" in line or "FATAL" in line]
    return [f"{name}: {line}" for line in (bad or lines)[-count:]]


def errors_since(suite, start):
    """The last error that each daemon logged after `start` (seconds since 1970), newest last."""
    found = []
    for name in [instance.name for instance in suite.instances] + list(map(hsm_service, HSMS)):
        current = suite.path("log", name, "current")
        if not current.exists() or current.stat().st_mtime < start:
            continue
        for line in reversed(current.read_text(encoding="utf-8", errors="replace").splitlines()):
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("level") == "error":
                    found.append((entry.get("time", ""), f"{name}: {line}"))
                    break
    begin = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start))
    return [line for when, line in sorted(found) if when >= begin]


def stop(suite, console):
    """Everything down in order, then runsvdir itself. Gives whether there was something to stop."""
    main = runsvdir_pid(suite)
    service = suite.path("service")
    names = [entry.name for entry in service.iterdir() if not entry.name.startswith(".")] if service.exists() else []
    alive = [name for name in names if _supervised(service / name)]
    for group in STOP_ORDER:
        members = [service / name for name in alive if name.rpartition("-")[0] in group or name in group]
        if members:
            console.progress(", ".join(member.name for member in members))
            run(["sv", "-w", "30", "force-stop", *members], check=False)
    if main:
        with contextlib.suppress(ProcessLookupError):
            os.kill(main, signal.SIGHUP)  # runsvdir tells each runsv to end, and ends
        wait_until(lambda: runsvdir_pid(suite) is None, 20, "runsvdir ends", console)
    wait_until(lambda: not any(_supervised(service / name) for name in alive), 20, "every runsv ends", console)
    suite.path("runsvdir.pid").unlink(missing_ok=True)
    return bool(main or alive)


def order(suite, services=SERVICES):
    return [instance for service in services for instance in suite.of(service)]
