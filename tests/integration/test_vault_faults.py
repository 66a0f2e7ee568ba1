# SPDX-License-Identifier: Apache-2.0
"""Faults of HSMs and vaults under steady load, each for CHANCERY_FAULT_SECONDS (30): callers see no failed signature, and the latency
that they see is printed beside that of a calm run. The load comes over the bus from several threads of one client, as a daemon's would."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from conftest import wait_for
from lone_vault import LoneVault, SecondVault, response_data
from vault_load import VaultLoad

SECONDS = int(os.environ.get("CHANCERY_FAULT_SECONDS", "30"))
RATE = int(os.environ.get("CHANCERY_FAULT_RATE", "300"))  # signatures a second
CALLERS = 16
HANG_MS = 2000  # the vault's hsm_hang
P11_KIT_MODULE = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"


class ServedHsm:
    """HSM b as a network device: its token served by a p11-kit server, which can be stopped, killed and started again."""

    def __init__(self, vault):
        self.socket = vault.dir / "hsm" / "b" / "served"
        self.environment = dict(os.environ, SOFTHSM2_CONF=str(vault.dir / "hsm" / "b" / "softhsm2.conf"))
        self.process = None

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(["p11-kit", "server", "--foreground", "--provider", SOFTHSM, "--name", self.socket,
                                         "pkcs11:token=chancery-b"], env=self.environment, start_new_session=True,
                                        stdout=subprocess.DEVNULL)
        wait_for(self.socket.exists, 20, "the p11-kit server")

    def signal(self, number):
        os.killpg(self.process.pid, number)  # the server, and its process for each connection

    def kill(self):
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


def start_load(vault, key, *ports, seconds=SECONDS):
    return VaultLoad(vault, key, *ports, seconds=seconds, callers=CALLERS, rate=RATE)


@pytest.fixture(scope="module")
def vault():
    vault = LoneVault()
    yield vault
    vault.stop()
    logs = "".join(path.read_text(errors="replace") for path in vault.dir.glob("vault*.log"))
    vault.remove()
    assert "Sanitizer" not in logs and "runtime error:" not in logs, logs[max(0, logs.find("Sanitizer") - 500):][:6000]


@pytest.fixture(scope="module")
def key(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    assert key["code"] == 0 and key["copies"] == 2, key
    return key


@pytest.fixture(scope="module")
def calm(vault, key):
    """The latency with nothing wrong."""
    seen = start_load(vault, key, seconds=min(5, SECONDS)).finish()
    assert seen["errors"] == 0, seen
    return seen


@pytest.fixture
def load(vault, key, calm):
    running = []

    def start(*ports):
        wait_for(lambda: all(state == "up" for state in vault.states().values()), 60, "all HSMs up before the load")
        running.append(start_load(vault, key, *ports))
        running[-1].until(0.1)
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def judge(calm, capsys):
    """No failed signature; the latency is printed, also where output is captured."""
    def judge(what, load, longest_ms=None):
        seen = load.finish()
        with capsys.disabled():
            print(f"\nfault: {what}: {seen['signatures']} signatures in {load.seconds} s, {seen['errors']} failed; "
                  + ", ".join(f"{name} {seen[field] / 1000:.1f} ms ({(seen[field] - calm[field]) / 1000:+.1f})"
                              for name, field in (("p50", "p50_us"), ("p99", "p99_us"), ("p99.9", "p999_us"), ("longest", "longest_us"))))
        assert seen["errors"] == 0, seen
        assert seen["signatures"] > load.seconds * RATE / 10, seen
        if longest_ms:
            assert seen["longest_ms"] < longest_ms, seen
        return seen
    return judge


def kill_worker(vault, name):
    pid = vault.worker_pids().get(name)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def signatures_of(vault, name):
    return vault.metrics().get(f'chancery_vault_hsm_signatures_total{{hsm="{name}"}}', 0)


def assert_serves_again(vault, key, name):
    """It is up, and it gets work."""
    wait_for(lambda: vault.states()[name] == "up", 60, f"HSM {name} up again")
    before = signatures_of(vault, name)

    def served():
        assert vault.sign("ocsp", key["key_id"], "ocsp", response_data(key))["code"] == 0
        return signatures_of(vault, name) > before
    wait_for(served, 30, f"HSM {name} to sign again")


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_worker_is_killed(vault, key, load, judge, name):
    running = load()
    while running.left() > 0:
        kill_worker(vault, name)
        time.sleep(5)
    judge(f"kill -9 of worker {name} every 5 s", running)
    assert_serves_again(vault, key, name)


def test_the_workers_are_killed_by_turns(vault, key, load, judge):
    running = load()
    turn = 0
    while running.left() > 0:
        kill_worker(vault, "ab"[turn % 2])
        turn += 1
        time.sleep(2)
    judge("kill -9 of the workers by turns every 2 s", running)
    assert_serves_again(vault, key, "a")
    assert_serves_again(vault, key, "b")


def test_a_worker_is_stopped(vault, key, load, judge):
    running = load()
    while running.left() > 0:
        stopped = vault.worker_pids().get("a")
        if stopped:
            os.kill(stopped, signal.SIGSTOP)  # the vault kills it
        time.sleep(5)
    judge("SIGSTOP of worker a every 5 s", running, longest_ms=HANG_MS)
    assert_serves_again(vault, key, "a")


def test_a_token_directory_is_moved_away_and_back(vault, key, load, judge):
    tokens = vault.dir / "hsm" / "a" / "tokens"
    running = load()
    tokens.rename(tokens.parent / "away")
    try:
        running.until(0.3)
        kill_worker(vault, "a")  # what it holds in memory is gone too
        running.until(0.6)
        assert vault.states()["a"] != "up"
    finally:
        (tokens.parent / "away").rename(tokens)
    judge("token directory of HSM a moved away and back", running)
    assert_serves_again(vault, key, "a")


def test_an_hsm_behind_p11_kit_is_stopped_killed_and_returns(vault, key, load, judge):
    """Keys are on both HSMs already: p11-kit 0.24 does not carry AES-KEY-WRAP-PAD, so none could be copied through it."""
    hsm = ServedHsm(vault)
    before = (vault.dir / "vault.yaml").read_text()
    config = json.loads(before)
    config["hsms"][1].update(module=P11_KIT_MODULE, environment=[f"P11_KIT_SERVER_ADDRESS=unix:path={hsm.socket}"],
                             unix_sockets=True)
    vault.stop()
    (vault.dir / "vault.yaml").write_text(json.dumps(config))
    hsm.start()
    try:
        vault.start()
        assert_serves_again(vault, key, "b")
        running = load()
        hsm.signal(signal.SIGSTOP)
        running.until(0.4)
        hsm.kill()
        running.until(0.6)
        hsm.start()
        judge("HSM b behind p11-kit stopped, killed, started again", running, longest_ms=HANG_MS)
        assert_serves_again(vault, key, "b")
    finally:
        vault.stop()
        hsm.kill()
        (vault.dir / "vault.yaml").write_text(before)
        vault.start()


def test_one_of_two_vaults_is_killed(vault, key, load, judge):
    second = SecondVault(vault)
    second.start()
    try:
        running = load(second.port)
        running.until(0.3)
        wait_for(second.signs, 20, "the load to use both vaults")
        second.kill()
        running.until(0.6)
        second.start()
        wait_for(second.signs, 20, "the load to use the vault that came back")
        judge("kill -9 of one of two vaults, started again later", running)
    finally:
        second.kill()
        shutil.rmtree(vault.dir / "state-2", ignore_errors=True)
