# SPDX-License-Identifier: Apache-2.0
"""Kill -9 and stop things, one at a time: the others go on, the killed one comes back, and nothing acknowledged is lost."""
import os
import pathlib
import signal
import subprocess
import threading
import time
import uuid

import pytest
from conftest import wait_for

DAEMONS = ["vault-1", "issuer-1", "gateway-1", "ocsp-1", "tsa-1", "crl-1", "audit-1"]


def issue(suite, name, **options):
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
    return suite.api("POST", "/v1/certificates", json={"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr}, **options)


def ocsp_status(suite, serial_pem, tmp_path):
    chain = pathlib.Path(suite.chain)
    issuer = tmp_path / "issuer.pem"
    issuer.write_text(chain.read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    done = subprocess.run(["openssl", "ocsp", "-issuer", str(issuer), "-cert", str(serial_pem), "-noverify", "-url",
                           suite.http + "/ocsp"], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


def workers_of(suite):
    """Of the HSMs, whose listeners start them."""
    return [pid for name in ("a", "b") for pid in children(suite.pid(f"hsm-{name}"))]


def children(pid):
    out = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        out += [int(child) for child in (task / "children").read_text().split()]
    return out


class Traffic:
    """Asks for certificates in the background, with retries as a client would do them, and remembers what was acknowledged."""

    def __init__(self, suite):
        self.suite, self.acknowledged, self.failures, self.stop = suite, [], [], threading.Event()
        self.name = uuid.uuid4().hex
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        number = 0
        while not self.stop.is_set():
            number += 1
            key = f"traffic-{self.name}-{number}"
            try:
                answer = issue(self.suite, f"t{number}.example", headers={"Idempotency-Key": key})
            except OSError as error:
                self.failures.append(str(error))
                continue
            if answer.status_code == 201:
                self.acknowledged.append(answer.json()["serial"])
            else:
                self.failures.append(answer.text)

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.acknowledged, 20, "the first certificate of the traffic")
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(60)


def assert_all_known(suite, serials):
    for serial in serials:
        answer = suite.api("GET", f"/v1/certificates/{serial}")
        assert answer.status_code == 200, f"acknowledged certificate {serial} is lost: {answer.text}"
        assert answer.json()["status"] == "issued"


@pytest.mark.parametrize("instance", DAEMONS)
def test_a_killed_daemon_comes_back_and_nothing_acknowledged_is_lost(suite, instance, tmp_path):
    before = suite.pid(instance)
    known = issue(suite, "before.example").json()["serial"]
    pem = suite.api("GET", f"/v1/certificates/{known}", headers={"Accept": "application/pem-certificate-chain"}).text
    (tmp_path / "leaf.pem").write_text(pem.split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    assert "leaf.pem: good" in ocsp_status(suite, tmp_path / "leaf.pem", tmp_path)
    with Traffic(suite) as traffic:
        suite.kill(instance, signal.SIGKILL)
        if instance != "ocsp-1":  # what the others do goes on: the status just asked for is still answered
            assert "leaf.pem: good" in ocsp_status(suite, tmp_path / "leaf.pem", tmp_path)
        wait_for(lambda: suite.pid(instance) not in (None, before), 20, f"{instance} to be started again")
        suite.wait_ready(instance)
        count = len(traffic.acknowledged)
        wait_for(lambda: len(traffic.acknowledged) > count, 30, f"certificates to be issued again after {instance} came back")
    assert_all_known(suite, [known, *traffic.acknowledged])
    code, out = suite.cli("audit", "verify")[:2]
    assert code == 0, out


@pytest.mark.parametrize("worker", [0, 1])
def test_a_killed_hsm_worker_is_not_seen_by_callers(suite, worker):
    workers = wait_for(lambda: len(workers_of(suite)) == 2 and sorted(workers_of(suite)), 20,
                       "both HSM workers")
    with Traffic(suite) as traffic:
        os.kill(workers[worker], signal.SIGKILL)
        wait_for(lambda: len(workers_of(suite)) == 2 and workers[worker] not in workers_of(suite), 20,
                 "the worker to be replaced")
        count = len(traffic.acknowledged)
        wait_for(lambda: len(traffic.acknowledged) >= count + 5, 30, "five more certificates")
    assert traffic.failures == []
    assert_all_known(suite, traffic.acknowledged)


@pytest.mark.parametrize("worker", [0, 1])
def test_an_hsm_that_hangs_is_not_seen_by_callers(suite, worker):
    workers = wait_for(lambda: len(workers_of(suite)) == 2 and sorted(workers_of(suite)), 20,
                       "both HSM workers")
    with Traffic(suite) as traffic:
        os.kill(workers[worker], signal.SIGSTOP)
        try:
            count = len(traffic.acknowledged)
            wait_for(lambda: len(traffic.acknowledged) >= count + 5, 60, "five more certificates with one HSM hanging")
            wait_for(lambda: workers[worker] not in workers_of(suite), 60, "the hung worker to be replaced")
        finally:
            try:
                os.kill(workers[worker], signal.SIGKILL)
            except ProcessLookupError:
                pass
    assert traffic.failures == []
    assert_all_known(suite, traffic.acknowledged)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_stopped_hsm_is_not_seen_by_callers_and_comes_back(suite, name):
    """The token directory is moved away: the HSM has lost its token. Its worker is killed, so that nothing lives on in memory."""
    directory = pathlib.Path(suite.dir) / "hsm" / name / "tokens"
    away = directory.with_name("tokens-away")
    with Traffic(suite) as traffic:
        directory.rename(away)
        try:
            for pid in workers_of(suite):
                if f"--hsm-worker\0{name}" in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)
            count = len(traffic.acknowledged)
            wait_for(lambda: len(traffic.acknowledged) >= count + 5, 60, f"five more certificates without HSM {name}")
        finally:
            away.rename(directory)
        metric = f'chancery_vault_hsm_up{{hsm="{name}"}}'
        wait_for(lambda: suite.metrics("vault-1").get(metric) == 1, 60, f"HSM {name} to be up again")
    assert traffic.failures == []
    assert_all_known(suite, traffic.acknowledged)


def test_an_issuer_killed_between_its_commits_forgets_nothing(suite):
    """With the vault stopped the issuer stands between the two commits: the row is pending. Killed there, it must finish or
    cancel the row at its next start, and the same idempotency key must lead to that certificate."""
    vault = suite.pid("vault-1")
    key = f"between-{os.getpid()}-{time.monotonic_ns()}"
    name = f"between-{time.monotonic_ns()}.example"
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
    body = {"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr}

    def ask():
        try:
            return suite.api("POST", "/v1/certificates", json=body, headers={"Idempotency-Key": key})
        except OSError:
            return None
    pending = f"SELECT status FROM certificates WHERE san_text LIKE '%{name}%'"
    os.kill(vault, signal.SIGSTOP)
    try:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        wait_for(lambda: suite.psql(pending) and suite.psql(pending)[0][0] == "pending", 20, "the row to be pending")
        suite.kill("issuer-1", signal.SIGKILL)
    finally:
        os.kill(vault, signal.SIGCONT)
    suite.wait_ready("issuer-1")
    wait_for(lambda: suite.psql(pending)[0][0] in ("issued", "revoked"), 60, "the pending row to be finished or given up")
    assert len(suite.psql(pending)) == 1
    thread.join(60)
    if suite.psql(pending)[0][0] == "issued":
        answer = wait_for(lambda: (lambda a: a if a is not None and a.status_code in (200, 201) else None)(ask()), 30,
                          "the repeated request to be answered")
        serials = suite.psql(f"SELECT encode(serial, 'hex') FROM certificates WHERE san_text LIKE '%{name}%'")
        assert [answer.json()["serial"]] == [row[0] for row in serials]
    assert "certificate." in str(suite.psql(f"SELECT type FROM audit_log ORDER BY log_sequence DESC LIMIT 50"))
