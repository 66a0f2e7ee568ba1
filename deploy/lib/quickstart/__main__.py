# SPDX-License-Identifier: Apache-2.0
"""The order of the steps, and the options. Started by deploy/quickstart."""

import argparse
import contextlib
import fcntl
import os
import sys
import time

from quickstart import build, configs, haproxy, pki, ports, postgres, status, supervise, tokens, users
from quickstart.console import Console, StepFailed, run
from quickstart.showcase import ISSUING, Showcase
from quickstart.suite import CHECKOUT, HSMS, Suite, hsm_service, hsm_user


def _port(text):
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return number


def _replicas(text):
    number = int(text)
    if not 1 <= number <= 8:
        raise argparse.ArgumentTypeError("1 to 8 replicas")
    return number


def _officers(text):
    number = int(text)
    if not 1 <= number <= 16:
        raise argparse.ArgumentTypeError("1 to 16 officers")
    return number


def arguments():
    parser = argparse.ArgumentParser(
        prog="deploy/quickstart",
        description="Installs what is needed, builds, brings a whole Chancery suite up on this machine, does the main job "
                    "with it and leaves it running. Run again, it continues what is there.")
    parser.add_argument("--dir", default=str(CHECKOUT / "var"), help="state directory (default: var/ of the checkout)")
    parser.add_argument("--http-port", type=_port, help="OCSP, timestamps, CRLs (default 8080)")
    parser.add_argument("--https-port", type=_port, help="REST (default 8443)")
    parser.add_argument("--replicas", type=_replicas, help="instances of each daemon (default 1)")
    parser.add_argument("--officers", type=_officers, help="officers who may approve (default 1); decided at the first run")
    parser.add_argument("--required", type=_officers, help="how many of them must (default 1); decided at the first run")
    parser.add_argument("--no-install", action="store_true", help="install no packages")
    parser.add_argument("--status", action="store_true", help="show what runs; exit code 3 where not all is ready")
    parser.add_argument("--stop", action="store_true", help="stop everything; nothing is lost")
    return parser.parse_args()


def check_root():
    if os.geteuid() != 0:
        raise StepFailed("only root can do this: it makes system users and starts daemons as them")


@contextlib.contextmanager
def lock(suite):
    with open(suite.path("lock"), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StepFailed(f"another quickstart is at work on {suite.dir}") from None
        yield


def apply_options(suite, options, console):
    """Options that are not given keep what the state directory has."""
    running = supervise.runsvdir_pid(suite) is not None
    before = (suite.http_port, suite.https_port)
    suite.replicas = options.replicas or suite.replicas
    if not suite.exists:
        suite.officers, suite.required = options.officers or 1, options.required or 1
        if suite.required > suite.officers:
            raise StepFailed(f"--required is {suite.required}, but there are {suite.officers} officers")
    elif (options.officers or suite.officers, options.required or suite.required) != (suite.officers, suite.required):
        raise StepFailed("the quorum is appointed already: change it with `chancery quorum change FILE`")
    suite.http_port = options.http_port or suite.http_port
    suite.https_port = options.https_port or suite.https_port
    if suite.http_port == suite.https_port:
        raise StepFailed(f"--http-port and --https-port are both {suite.http_port}")
    if not running or supervise.pid(suite, "haproxy") is None or before != (suite.http_port, suite.https_port):
        check = Suite(suite.dir)
        check.http_port, check.https_port = suite.http_port, suite.https_port
        if running and supervise.pid(suite, "haproxy") is not None:  # of ours, only the new ones must be free
            mine = set(before)
            if suite.http_port not in mine and not ports.is_free(suite.http_port):
                ports.check_outside(check)
            if suite.https_port not in mine and not ports.is_free(suite.https_port):
                ports.check_outside(check)
        else:
            ports.check_outside(check)
    if suite.exists and before[0] != suite.http_port:
        console.line(f"  note     CAs that exist keep http://127.0.0.1:{before[0]} in the URLs of their certificates")
    ports.choose(suite, running)


def start(suite, console, log, restart):
    """Brings everything up in order; `restart` are services that run with what is no longer in their files."""
    with console.step("supervision by runit") as told:
        told.append("started" if supervise.start_runsvdir(suite) else "running")
    with console.step("PostgreSQL on a Unix socket"):
        supervise.up(suite, "postgres", console)
        supervise.wait_until(lambda: postgres.answers(suite), 60, "PostgreSQL answers", console)
        postgres.make_database(suite, log)
    with console.step("database schema") as told:
        done = run([suite.path("bin/chancery"), "db", "migrate", "--database", suite.database("chancery_owner"),
                    "--schema", suite.path("share/schema")], log)
        told.append(done.stdout.strip().replace("\n", ", "))
    with console.step("two SoftHSM2 tokens") as told:
        if supervise.pid(suite, "vault-1") is not None:
            told.append("in use")
        else:
            told.append(tokens.initialise(suite, log, os.environ | supervise.environment()))
    with console.step("HSMs' listeners") as told:
        for service in map(hsm_service, HSMS):
            was_up = supervise.pid(suite, service) is not None
            supervise.up(suite, service, console)
            if was_up and service in restart:
                supervise.restart(suite, service)
        told.append(", ".join(map(hsm_user, HSMS)))
    with console.step("quorum of officers") as told:
        told.append(tokens.appoint(suite, log, os.environ | supervise.environment()))
    patience = 180 if build.sanitized() else 60
    with console.step("daemons") as told:
        names = [instance.name for instance in supervise.order(suite)]
        later = supervise.up_all(suite, names, restart, console)
        supervise.wait_ready(suite, names, console, patience)
        told.append(", ".join(names))
    with console.step("HAProxy") as told:
        haproxy.check(suite, log)
        was_up = supervise.pid(suite, "haproxy") is not None
        supervise.up(suite, "haproxy", console)
        if was_up and "haproxy" in restart:
            run(["sv", "2", suite.path("service/haproxy")])  # SIGUSR2: a new process takes over, no connection is lost
        supervise.wait_until(lambda: not any(map(ports.is_free, (suite.http_port, suite.https_port))), 20, "HAProxy listens", console)
        told.append(f"HTTP {suite.http_port}, HTTPS {suite.https_port}")
    if later:
        with console.step("daemons that changed, one after the other") as told:
            for name in later:
                supervise.restart(suite, name)
                supervise.wait_ready(suite, [name], console, patience)
                supervise.wait_until(lambda: haproxy.uses(suite, name), 20, f"HAProxy uses {name}", console)
            told.append(", ".join(later))


def prepare(suite, console, log):
    """All files. Gives the names of services that must be restarted when they run."""
    restart = set()
    with console.step("build") as told:
        told.append(build.build(console, log))
    with console.step("system users") as told:
        told.append(", ".join(users.make(log)) or "all there")
    with console.step("programs") as told:
        changed = build.install(suite)
        restart |= {instance.name for instance in suite.instances if f"chancery-{instance.service}" in changed}
        restart |= set(map(hsm_service, HSMS)) if "chancery-vault" in changed else set()
        told.append(f"{len(changed)} installed in {suite.path('bin')}" if changed else "unchanged")
    with console.step("system CA, identities, operators") as told:
        told.append(f"{pki.make(suite, log)} certificates made")
    with console.step("database cluster") as told:
        told.append("made" if postgres.prepare(suite, log) else "kept")
    with console.step("configuration") as told:
        tokens.prepare(suite)
        restart |= {instance.name for instance in configs.write(suite)}
        restart |= set(map(hsm_service, HSMS)) if "vault-1" in restart else set()  # they read its file
        configs.write_env(suite, ISSUING, suite.path("example/chain.pem"))
        if haproxy.write(suite):
            restart.add("haproxy")
        restart |= supervise.write(suite)
        told.append(f"{suite.path('etc')}")
    return restart


def farewell(suite, console, seconds):
    console.line(f"""
Chancery is up after {seconds:.0f} s, and stays up.

  REST (HTTPS)        {suite.https_url}/v1        trust: {suite.path('pki/public-ca.pem')}
  OCSP                {suite.http_url}/ocsp
  timestamps          {suite.http_url}/tsa
  CRLs, certificates  {suite.http_url}/crl/{ISSUING}.crl, {suite.http_url}/ca/{ISSUING}.cer
  credentials         {suite.path('client')}: officer.pem, officer.key; requester.pem, requester.key
  logs                {suite.path('log')}""")
    tokens.warn_of_shares(suite, console)
    console.line(f"""
Next:
  . {suite.asked}/env
  chancery status
  chancery certificate list
  chancery certificate issue --profile tls-server --ca {ISSUING} --csr {suite.path('example/server.csr')}

Stop it with: deploy/quickstart --dir {suite.asked} --stop""")


def bring_up(suite, options, console):
    begin = time.monotonic()
    note = suite.make_directory()
    if note:
        console.line(f"  note     {note}")
    suite.path("log").mkdir(exist_ok=True)
    log = suite.path("log/quickstart")
    with lock(suite):
        console.line(f"Chancery in {suite.asked}")
        apply_options(suite, options, console)
        restart = prepare(suite, console, log)
        start(suite, console, log, restart)
        Showcase(suite, log, console).run_all()
    farewell(suite, console, time.monotonic() - begin)


def stop(suite, console):
    if not suite.exists:
        raise StepFailed(f"there is no suite in {suite.asked}")
    with lock(suite), console.step("stop") as told:
        told.append("all stopped" if supervise.stop(suite, console) else "was not running")


def main():
    options = arguments()
    console = Console()
    suite = Suite(options.dir)
    started = time.time()
    try:
        check_root()
        if options.status:
            return status.show(suite, console)
        if options.stop:
            stop(suite, console)
        else:
            bring_up(suite, options, console)
    except StepFailed as failure:
        print(f"\nquickstart: {failure}", file=sys.stderr)
        for line in failure.details + (supervise.errors_since(suite, started) if suite.exists else []):
            print(f"  {line}", file=sys.stderr)
        if suite.exists and not options.stop and not options.status:
            print(f"Left as it is: logs in {suite.path('log')}; deploy/quickstart --dir {suite.asked} --stop ends it.",
                  file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nquickstart: interrupted; run it again to continue", file=sys.stderr)
        return 130
    return 0


sys.exit(main())
