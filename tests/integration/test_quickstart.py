# SPDX-License-Identifier: Apache-2.0
"""deploy/quickstart: from nothing to done, again on a live suite, stopped and started: nothing is lost. Several suites side by side.
Replicas share the work, make no CRL number twice and answer a repeated request with the same certificate."""
import concurrent.futures
import os
import pathlib
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request

import pytest
from conftest import TOP, free_port, new_key_and_csr, wait_for

sys.path.insert(0, str(TOP / "deploy" / "lib"))
from quickstart import ports as quickstart_ports  # noqa: E402
from quickstart import suite as quickstart_suite  # noqa: E402
from quickstart.console import StepFailed  # noqa: E402

STEPS = ["build", "PostgreSQL", "database schema", "SoftHSM2", "daemons", "HAProxy", "root CA", "issuing CA", "certificate from a CSR",
         "OCSP status", "timestamp", "CRLs", "revocation, seen in OCSP", "revocation, seen in the CRL", "audit log verified"]


def crl_number(suite, ca):
    der = urllib.request.urlopen(f"{suite.http}/crl/{ca}.crl", timeout=10).read()
    out = subprocess.run(["openssl", "crl", "-inform", "DER", "-noout", "-crlnumber"], input=der, capture_output=True, check=True).stdout
    return int(out.decode().strip().partition("=")[2], 16)


class Memory:
    """What must not be lost: certificates with their status, CRL numbers, the audit log's rows, keys, CAs."""

    def __init__(self, suite):
        self.certificates = dict(suite.psql("SELECT encode(serial, 'hex'), status FROM certificates"))
        self.audit = dict(suite.psql("SELECT log_sequence, encode(hash, 'hex') FROM audit_log"))
        self.cas = suite.psql("SELECT name, encode(certificate_der, 'hex') FROM cas ORDER BY name")
        self.keys = {row[0] for row in suite.psql("SELECT key_id FROM keys")}
        self.crl_numbers = {ca: crl_number(suite, ca) for ca in (suite.issuing_ca, suite.root_ca)}

    def assert_kept(self, now):
        assert self.certificates.items() <= now.certificates.items()
        assert self.audit.items() <= now.audit.items(), "rows of the audit log are gone or changed"
        assert self.cas == now.cas
        assert self.keys <= now.keys
        for ca, number in self.crl_numbers.items():
            assert now.crl_numbers[ca] >= number, f"CRL number of {ca} went back"


def processes_of(suite):
    """Pids of all processes whose command line names the state directory."""
    real = os.path.realpath(suite.dir).encode()
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and real in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.fixture(scope="module")
def mine(new_suite):
    """A suite of this file's own, which is stopped and started. `first_output` is what its first start printed."""
    made = new_suite()
    made.first_output = made.start()
    return made


def test_each_step_is_one_line_with_its_time_and_the_end_says_how_to_go_on(mine):
    out = mine.first_output.out
    for step in STEPS:
        lines = [line for line in out.splitlines() if step in line and line.startswith("  ok")]
        assert len(lines) == 1, f"'{step}' in:\n{out}"
        assert " s  " in lines[0]
    assert mine.url in out and mine.http in out and "officer.pem" in out
    assert len([line for line in out.partition("Next:")[2].splitlines() if line.startswith("  ")]) >= 3


def test_the_commands_it_suggests_work(mine):
    out = mine.first_output.out
    commands = [line.strip() for line in out.partition("Next:")[2].splitlines() if line.startswith("  ")]
    done = subprocess.run(["bash", "-ec", "\n".join(commands)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "issued" in done.stdout


def test_the_environment_file_has_what_clients_need(mine):
    for name in ("CHANCERY_URL", "CHANCERY_HTTP", "CHANCERY_CA_FILE", "CHANCERY_CERT", "CHANCERY_KEY", "CHANCERY_ISSUING_CA", "CHANCERY_CHAIN"):
        assert mine.env.get(name), f"{name} is missing"
    assert pathlib.Path(mine.env["CHANCERY_CHAIN"]).read_text().count("BEGIN CERTIFICATE") == 2


def test_each_daemon_and_each_hsm_has_its_own_user_and_an_hsms_alone_can_read_its_pin(mine):
    users = set()
    for instance in mine.instances() + ["hsm-a", "hsm-b"]:
        status = pathlib.Path(f"/proc/{mine.pid(instance)}/status").read_text()
        user = next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
        assert user != "0", f"{instance} runs as root"
        users.add(user)
    assert len(users) == len(mine.instances()) + 2
    for name in ("a", "b"):
        pin = mine.dir / "hsm" / name / "pin"
        assert stat.S_IMODE(pin.stat().st_mode) == 0o400
        for user in ("chancery-hsm-a", "chancery-hsm-b", "chancery-vault", "chancery-issuer", "chancery-ocsp", "postgres", "nobody"):
            done = subprocess.run(["chpst", "-u", user, "cat", pin], capture_output=True, check=False)
            assert (done.returncode == 0) == (user == f"chancery-hsm-{name}"), f"{user} and {pin}"


def test_both_hsms_hold_every_key(mine):
    for key_id, residency in mine.psql("SELECT key_id, residency FROM keys"):
        assert sorted(residency) == ["a", "b"], key_id


def test_no_daemon_but_haproxy_listens_beyond_loopback(mine):
    pids = {str(mine.pid(name)) for name in mine.instances() + ["postgres"]}
    out = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        if any(f"pid={pid}," in line for pid in pids):
            assert line.split()[3].startswith("127.0.0.1:"), line


def test_a_second_run_on_a_live_suite_continues_it(mine):
    issued = mine.issue()
    mine.revoke(issued["serial"])
    names = mine.instances() + ["hsm-a", "hsm-b"]
    before, pids = Memory(mine), {name: mine.pid(name) for name in names}
    out = mine.start().out
    Memory(mine).assert_kept(Memory(mine))
    before.assert_kept(Memory(mine))
    assert {name: mine.pid(name) for name in names} == pids, "a daemon was restarted though nothing had changed"
    assert "audit log verified" in out


def test_stopped_and_started_again_nothing_is_lost(mine):
    issued = mine.issue()
    before = Memory(mine)
    said = mine.quickstart("--status")
    assert said.code == 0 and "3 custodians' shares" in said.out, said.out
    mine.stop()
    assert processes_of(mine) == []
    assert mine.quickstart("--status", check=False).code == 3
    assert "was not running" in mine.stop().out
    assert "3 custodians' shares" in mine.start().out
    before.assert_kept(Memory(mine))
    assert mine.api("GET", f"/v1/certificates/{issued['serial']}").json()["status"] == "issued"
    assert mine.cli("audit", "verify").code == 0


def test_custodians_shares_that_lie_here_are_told_of_until_they_are_moved(mine, tmp_path):
    lines = [line.split() for line in mine.quickstart("--status").out.splitlines() if line.strip().startswith("mv ")]
    assert len(lines) == 3
    moved = []
    try:
        for command in lines:  # as told, but for the place
            subprocess.run([*command[:-1], tmp_path], check=True)
            moved.append(pathlib.Path(command[1]))
        assert "custodians' shares" not in mine.quickstart("--status").out
    finally:
        for path in moved:
            shutil.move(tmp_path / path.name, path)


def test_suites_live_side_by_side(mine, suite):
    assert not set(mine.read_ports().values()) & set(suite.read_ports().values())
    serials = {mine.issue()["serial"]: mine, suite.issue()["serial"]: suite}
    for serial, owner in serials.items():
        other = suite if owner is mine else mine
        assert owner.api("GET", f"/v1/certificates/{serial}").status_code == 200
        assert other.api("GET", f"/v1/certificates/{serial}").status_code == 404


@pytest.mark.parametrize("option", ["--http-port", "--https-port"])
def test_a_busy_port_is_named(new_suite, option):
    fresh = new_suite()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        other = {"--http-port": "--https-port", "--https-port": "--http-port"}[option]
        done = fresh.quickstart(option, str(port), other, str(free_port()), check=False)
    assert done.code == 1
    assert f"port {port} is in use already by python3 (pid {os.getpid()})" in done.err and option in done.err
    assert processes_of(fresh) == []


@pytest.mark.parametrize("words", [["--replicas", "0"], ["--http-port", "70000"], ["--colour"]])
def test_wrong_options_are_refused(words):
    done = subprocess.run([TOP / "deploy" / "quickstart", "--no-install", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words[0] in done.stderr


def test_asking_for_a_suite_that_is_not_there(tmp_path):
    for option in ("--status", "--stop"):
        done = subprocess.run([TOP / "deploy" / "quickstart", "--dir", tmp_path / "none", option], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 1
        assert f"there is no suite in {tmp_path / 'none'}" in done.stderr


def test_a_directory_that_others_cannot_enter_becomes_a_link(monkeypatch):
    with tempfile.TemporaryDirectory() as closed, tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)
        monkeypatch.setattr(quickstart_suite, "HOME", pathlib.Path(home))
        made = quickstart_suite.Suite(pathlib.Path(closed) / "var")
        note = made.make_directory()
        assert f"other users cannot enter {closed}" in note
        assert (pathlib.Path(closed) / "var").is_symlink()
        assert made.dir.parent == pathlib.Path(home)
        again = quickstart_suite.Suite(pathlib.Path(closed) / "var")
        assert again.make_directory() is None and again.dir == made.dir


def test_a_path_too_long_for_a_socket_becomes_a_link_and_one_in_use_is_refused():
    long = pathlib.Path("/tmp") / ("d" * 100)
    assert "too long" in quickstart_suite.unsuitable(long)
    with tempfile.TemporaryDirectory() as closed:
        directory = pathlib.Path(closed) / "var"
        directory.mkdir()
        (directory / "file").touch()
        with pytest.raises(StepFailed, match="cannot be used"):
            quickstart_suite.Suite(directory).make_directory()


def test_chosen_ports_are_those_of_no_other_suite(suite):
    others = set()
    for line in (quickstart_suite.HOME / "suites").read_text().splitlines():
        file = pathlib.Path(line, "ports")
        if file.exists() and pathlib.Path(line) != pathlib.Path(os.path.realpath(suite.dir)):
            others |= {int(row.split()[1]) for row in file.read_text().splitlines()}
    assert not others & set(suite.read_ports().values())
    assert set(quickstart_ports.needed(quickstart_suite.Suite(suite.dir))) < set(suite.read_ports())


# --- two of each daemon ------------------------------------------------------------------------------------------------------


def counters(suite, instance, *prefixes):
    return sum(value for name, value in suite.metrics(instance).items() if name.startswith(prefixes) and "_total" in name)


def cpu_ticks(suite, instance):
    fields = pathlib.Path(f"/proc/{suite.pid(instance)}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_all_replicas_are_ready_and_used(two_replicas):
    suite = two_replicas
    services = ["issuer", "vault", "ocsp", "crl", "tsa", "gateway", "audit"]
    names = [f"{service}-{number}" for service in services for number in (1, 2)]
    assert set(names) <= set(suite.instances())
    for name in names:
        assert suite.is_ready(name), name
    asked = [f"{service}-{number}" for service in ("issuer", "vault") for number in (1, 2)]
    before = {name: counters(suite, name, "chancery_bus_") for name in asked}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: suite.issue(), range(64)))
    for name in asked:
        assert counters(suite, name, "chancery_bus_") > before[name], f"{name} did nothing while 64 certificates were issued"


def test_a_repeated_idempotency_key_gives_the_same_certificate_whichever_issuer_answers(two_replicas):
    suite = two_replicas
    _, csr = new_key_and_csr("same.example", ["DNS:same.example"])
    body = {"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr}
    key = f"same-{os.getpid()}-{free_port()}"

    def ask(_):
        return suite.api("POST", "/v1/certificates", json=body, headers={"Idempotency-Key": key, "Accept": "application/json"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(32)))
    assert {answer.status_code for answer in answers} <= {200, 201}, [answer.text for answer in answers if answer.status_code > 201]
    assert len({answer.json()["serial"] for answer in answers}) == 1
    count = suite.psql("SELECT count(*) FROM certificates WHERE subject LIKE '%same.example%' AND status = 'issued'")[0][0]
    assert count == 1


def test_no_crl_number_is_made_twice(two_replicas):
    suite = two_replicas
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: suite.api("POST", f"/v1/crls/{suite.issuing_ca}"), range(24)))
    good = [answer.json() for answer in answers if answer.status_code in (200, 201)]
    assert good, answers[0].text
    made = {}
    for answer in good:
        made.setdefault(answer["crl_number"], set()).add((answer["this_update"], answer["made_by"], answer["entries"]))
    assert {number for number, crls in made.items() if len(crls) > 1} == set(), "one number stands for two CRLs"
    rows = suite.psql("SELECT crl_number, der FROM crls WHERE state = 'published' AND ca_id = (SELECT ca_id FROM cas WHERE name = %s)",
                      (suite.issuing_ca,))
    assert set(made) <= {number for number, _ in rows}
    for number, der in rows:
        if der is None:  # older ones are kept without their content
            continue
        out = subprocess.run(["openssl", "crl", "-inform", "DER", "-noout", "-crlnumber"], input=bytes(der), capture_output=True,
                             check=True).stdout
        assert int(out.decode().strip().partition("=")[2], 16) == number
    newest = max(number for number, _ in rows)
    assert wait_for(lambda: crl_number(suite, suite.issuing_ca) == newest, 5, "the newest CRL to be served")


def test_both_crl_daemons_make_crls(two_replicas):
    suite = two_replicas
    # each is asked through its own bus in turn, because the gateway balances over both
    def makers():
        suite.api("POST", f"/v1/crls/{suite.issuing_ca}")
        return {row[0] for row in suite.psql("SELECT DISTINCT made_by FROM crls")} >= {"crl-1", "crl-2"}
    wait_for(makers, 30, "both instances to have made a CRL")


def test_a_killed_replica_is_not_seen_outside(two_replicas):
    suite = two_replicas
    for service in ("ocsp", "tsa", "crl", "issuer"):
        victim = f"{service}-2"
        before = suite.pid(victim)
        suite.kill(victim, 9)
        for _ in range(10):
            url = f"{suite.http}/crl/{suite.issuing_ca}.crl"
            assert urllib.request.urlopen(url, timeout=10).status == 200
            assert suite.issue()["status"] == "issued"
        wait_for(lambda victim=victim, before=before: suite.pid(victim) not in (None, before), 20, f"{victim} to come back")
        suite.wait_ready(victim)
