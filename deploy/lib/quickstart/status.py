# SPDX-License-Identifier: Apache-2.0
"""--status: what runs, and whether it is ready."""

from quickstart import postgres, supervise, tokens
from quickstart.console import StepFailed
from quickstart.suite import HSMS, hsm_service


def _duration(seconds):
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _row(suite, name):
    pid = supervise.pid(suite, name)
    if pid is None:
        return name, "-", "-", "stopped", False
    if name == "postgres":
        ready, why = postgres.answers(suite), ""
    elif name == "haproxy" or name in map(hsm_service, HSMS):
        ready, why = True, ""  # of an HSM, its vault says whether it is up
    else:
        ready, why = supervise.readiness(suite, name)
    state = f"not ready ({why})" if not ready else f"degraded ({why})" if why else "ready"
    return name, str(pid), _duration(supervise.seconds_up(suite, name)), state, ready


def show(suite, console):
    if not suite.exists:
        raise StepFailed(f"there is no suite in {suite.asked}")
    names = ["postgres"] + list(map(hsm_service, HSMS)) + [instance.name for instance in suite.instances] + ["haproxy"]
    rows = [_row(suite, name) for name in names]
    console.line(f"{suite.asked}: HTTP {suite.http_url}, HTTPS {suite.https_url}")
    console.line(f"  {'SERVICE':<12} {'PID':>8} {'UP':>8}  STATE")
    for name, pid, uptime, state, _ in rows:
        console.line(f"  {name:<12} {pid:>8} {uptime:>8}  {state}")
    tokens.warn_of_shares(suite, console)
    return 0 if all(row[-1] for row in rows) and supervise.runsvdir_pid(suite) else 3
