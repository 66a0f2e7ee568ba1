# SPDX-License-Identifier: Apache-2.0
"""Chooses the ports of a suite: two that the user names, the others free and below the range of outgoing connections, so
that they stay free for the next start."""

import contextlib
import fcntl
import pathlib
import random
import re
import socket

from quickstart.console import StepFailed, run
from quickstart.suite import HOME, ON_THE_BUS, OVER_HTTP

RANGE = range(15000, 32000)


@contextlib.contextmanager
def machine_lock():
    """One quickstart at a time where several share something: users, ports."""
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / ".lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def holder(port):
    """Who listens on a port, for people."""
    out = run(["ss", "-Hltnp", f"sport = :{port}"], check=False).stdout
    names = sorted(set(re.findall(r'\("([^"]+)",pid=(\d+)', out)))
    return f" by {', '.join(f'{name} (pid {pid})' for name, pid in names)}" if names else ""


def needed(suite):
    names = ["stats"]
    for instance in suite.instances:
        names.append(f"{instance.name}.operations")
        if instance.service in ON_THE_BUS:
            names.append(f"{instance.name}.bus")
        if instance.service in OVER_HTTP:
            names.append(f"{instance.name}.http")
    return names


def _of_other_suites(suite):
    """Ports that stopped suites will want again; forgets suites whose directory is gone."""
    registry = HOME / "suites"
    known = registry.read_text(encoding="utf-8").splitlines() if registry.exists() else []
    known = [directory for directory in dict.fromkeys(known + [str(suite.dir)]) if pathlib.Path(directory).is_dir()]
    registry.write_text("".join(f"{directory}\n" for directory in known), encoding="utf-8")
    taken = set()
    for directory in known:
        file = pathlib.Path(directory, "ports")
        if directory != str(suite.dir) and file.exists():
            taken.update(int(line.split()[1]) for line in file.read_text(encoding="utf-8").splitlines())
    return taken


def check_outside(suite):
    for option, port in (("--http-port", suite.http_port), ("--https-port", suite.https_port)):
        if not is_free(port):
            raise StepFailed(f"port {port} is in use already{holder(port)}: choose another with {option}")


def choose(suite, running):
    """Fills suite.ports. A suite that runs keeps all it has; a stopped one those that are still free."""
    with machine_lock():
        taken = _of_other_suites(suite)
        names = needed(suite)
        kept = {name: port for name, port in suite.ports.items()
                if name in names and (running or (port not in taken and is_free(port)))}
        for name in names:
            while name not in kept:
                port = random.choice(RANGE)
                if port not in taken and port not in kept.values() and is_free(port):
                    kept[name] = port
        suite.ports = kept | {"http": suite.http_port, "https": suite.https_port}
        suite.save()
