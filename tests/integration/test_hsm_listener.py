# SPDX-License-Identifier: Apache-2.0
"""HSM workers that the HSMs' own users start: a listener for each (`chancery-vault --hsm-listener`), the vault as a third user. What a hostile
PKCS#11 module (tests/tools/hostile_pkcs11.c) reaches from there, with its sandbox and with nothing but its user; who may connect; and that
killed and stopped workers, listeners and vaults cost no signature and leave no process behind."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from conftest import BUILD, free_port, wait_for
from lone_vault import LoneVault, hsm_command, response_data, workers_of
from test_hostile_module import MODULE, STAGES, findings_of
from vault_load import VaultLoad

VAULT, STRANGER = 64000, 64009  # numbers: they need no entry in the user database
OWNER = {"a": 64001, "b": 64002}


def as_user(uid, gid=None):
    return ["setpriv", "--reuid", str(uid), "--regid", str(gid or uid), "--clear-groups", "--"]


def give(path, uid, gid=None):
    for part in [path, *path.rglob("*")]:
        os.chown(part, uid, gid or uid)


def is_alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class ListenedVault(LoneVault):
    as_vault = as_user(VAULT)

    def __init__(self):
        self.listeners = {}
        super().__init__()

    def _configure(self, keys):
        super()._configure({**keys, "user": str(VAULT)})
        give(self.dir / "identity" / "vault-1", VAULT)
        give(self.dir / "state", VAULT)
        for directory in ("identity/vault-1", "state"):
            (self.dir / directory).chmod(0o700)
        for hsm, owner in OWNER.items():
            directory = self.dir / "listen" / hsm
            directory.mkdir(parents=True)
            os.chown(directory, owner, VAULT)
            directory.chmod(0o2750)
            give(self.dir / "hsm" / hsm, owner)
            (self.dir / "hsm" / hsm).chmod(0o700)
            self.change_hsm(hsm, listener=f"{directory}/socket", user=str(owner))

    def init_quorum(self, required, officers):
        self.start_listeners()
        return super().init_quorum(required, officers)

    def start(self):
        self.start_listeners()
        super().start()

    def start_listeners(self):
        for hsm, owner in OWNER.items():
            if hsm in self.listeners and self.listeners[hsm].poll() is None:
                continue
            with open(self.dir / f"listener-{hsm}.log", "ab") as log:
                self.listeners[hsm] = subprocess.Popen([*as_user(owner), BUILD / "bin" / "chancery-vault", "--config",
                                                        self.dir / "vault.yaml", "--hsm-listener", hsm], stderr=log)

    def stop_listener(self, hsm):
        process = self.listeners.pop(hsm)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, self.log_of(hsm)

    def log_of(self, hsm):
        return (self.dir / f"listener-{hsm}.log").read_text()

    def worker_pids(self):
        return {name: pid for process in self.listeners.values() for name, pid in workers_of(process.pid).items()}

    def remove(self):
        try:
            workers = self.worker_pids()
            self.stop()
            wait_for(lambda: not any(map(is_alive, workers.values())), 10, "workers to end with the vault")
            for hsm in OWNER:
                self.stop_listener(hsm)
        finally:
            super().remove()


@pytest.fixture(scope="module")
def vault():
    made = ListenedVault()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def key(vault):
    made = vault.generate("issuer", "ecdsa-p256", "ocsp")
    assert made["code"] == 0, made
    return made


def owner_of(pid):
    return int(next(line.split()[1] for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:")))


def test_vault_and_workers_are_three_users_and_the_tokens_are_theirs(vault, key):
    workers = vault.worker_pids()
    assert {name: owner_of(pid) for name, pid in workers.items()} == OWNER and owner_of(vault.process.pid) == VAULT
    assert workers_of(vault.process.pid) == {}
    for hsm, owner in OWNER.items():
        made = [vault.dir / "hsm" / hsm, *(vault.dir / "hsm" / hsm).rglob("*")]
        assert {path.stat().st_uid for path in made} == {owner}, "what root set up is the HSM's user's"
        assert (vault.dir / "hsm" / hsm / "pin").stat().st_mode & 0o777 == 0o400
    assert vault.sign("ocsp", key["key_id"], "ocsp", response_data(key))["code"] == 0


def test_a_plain_process_of_one_reads_nothing_of_the_others(vault):
    """Modes and owners alone: no sandbox of ours is about these."""
    files = {VAULT: vault.dir / "identity" / "vault-1" / "key.pem",
             **{owner: vault.dir / "hsm" / hsm / "pin" for hsm, owner in OWNER.items()}}
    for reader in (*files, STRANGER):
        for owner, path in files.items():
            done = subprocess.run([*as_user(reader), "cat", path], capture_output=True, check=False)
            assert (done.returncode == 0) == (reader == owner), f"user {reader} and {path} of user {owner}"


@pytest.mark.parametrize("uid, gid", [(OWNER["b"], OWNER["b"]), (OWNER["b"], VAULT), (STRANGER, VAULT), (0, 0)])
def test_a_listener_serves_the_vaults_user_alone(vault, uid, gid):
    """Where the directory's mode keeps nobody out, the listener looks who it is."""
    talk = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1]); "
            "sys.exit(3 if s.recv(1) == b'' else 0)")
    before, workers = vault.log_of("a").count("refused a connection"), vault.worker_pids()
    done = subprocess.run([*as_user(uid, gid), sys.executable, "-c", talk, vault.dir / "listen" / "a" / "socket"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == (3 if gid in (VAULT, 0) else 1), done.stderr
    assert gid in (VAULT, 0) or "PermissionError" in done.stderr
    assert vault.worker_pids() == workers, "no worker was started for it"
    if uid == OWNER["b"] and gid == VAULT:
        assert vault.log_of("a").count("refused a connection") == before + 1
        assert f"of user {uid} is not the vault's" in vault.log_of("a")


OPEN_ANOTHER = """
import socket, struct, sys
def field(number, octets): return bytes([number << 3 | 2, len(octets)]) + octets
module, pin = sys.argv[2].encode(), sys.argv[3].encode()
request = field(7, field(1, module) + field(2, b"another") + field(3, pin) + b"\\x20\\x02")  # HsmRequest.open of proto/hsm.proto
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
s.connect(sys.argv[1])
s.sendall(struct.pack(">I", len(request)) + request)
sys.stdout.buffer.write(s.recv(65536))
"""


def test_the_vault_has_no_say_in_what_is_opened(vault):
    """One that was taken over asks HSM a's listener for a library, a token and a PIN of its choice."""
    workers = workers_of(vault.listeners["a"].pid)
    answer = subprocess.run([*vault.as_vault, sys.executable, "-c", OPEN_ANOTHER, vault.dir / "listen" / "a" / "socket", MODULE,
                             vault.dir / "vault.yaml"], capture_output=True, check=True).stdout
    assert b"chancery-a" in answer and b"another" not in answer, answer
    wait_for(lambda: workers_of(vault.listeners["a"].pid) == workers, 10, "its worker to end with it")


def test_somebody_else_at_the_listeners_place_is_not_believed(vault, tmp_path):
    """The vault looks whose worker answers: here HSM b's listener where HSM a's should be."""
    config = json.loads((vault.dir / "vault.yaml").read_text())
    config["hsms"] = [{**config["hsms"][0], "listener": f"{vault.dir}/listen/b/socket"}]
    config["bus"]["listen"], config["operations"] = f"127.0.0.1:{free_port()}", {"listen": f"127.0.0.1:{free_port()}"}
    config["state_directory"] = str(vault.dir / "state" / "other")
    (vault.dir / "state" / "other").mkdir()
    os.chown(vault.dir / "state" / "other", VAULT, VAULT)
    (vault.dir / "other.yaml").write_text(json.dumps(config))
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([*vault.as_vault, BUILD / "bin" / "chancery-vault", "--config", vault.dir / "other.yaml"], stderr=log)
    try:
        wait_for(lambda: f"answers a process of user {OWNER['b']}, not of its user {OWNER['a']}" in (tmp_path / "log").read_text(), 30,
                 "the vault to see whose it is")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


# --- a hostile module in HSM b's worker ---


def targets_of(vault):
    key = vault.dir / "identity" / "vault-1" / "key.pem"
    other = vault.dir / "hsm" / "a"
    files = [f"read {key}", f"write {key}", f"chmod {key}", f"list {key.parent}", f"list {vault.dir}/state",
             f"read {other}/pin", f"chmod {other}/pin", f"list {other}/tokens", f"read {other}/softhsm2.conf", f"write {other}/softhsm2.conf",
             f"unix {vault.dir}/listen/a/socket", "read /etc/shadow", "list /root"]
    pids = (vault.process.pid, vault.worker_pids()["a"], vault.listeners["a"].pid)
    return files + [f"{attempt} {pid}" for pid in pids for attempt in ("kill", "ptrace", "memory", "environment")]


def findings_in_b(vault, **keys):
    """What HSM b's module finds when its listener is started anew with these keys; vault and HSM a run on."""
    directory = vault.dir / "hsm" / "b"
    targets = targets_of(vault)
    (directory / "targets").write_text("".join(f"{line}\n" for line in targets))
    os.chown(directory / "targets", OWNER["b"], OWNER["b"])
    (directory / "findings").unlink(missing_ok=True)
    config = json.loads((vault.dir / "vault.yaml").read_text())
    config.update(keys)
    (vault.dir / "vault.yaml").write_text(json.dumps(config))
    vault.change_hsm("b", module=str(MODULE), environment=[f"SOFTHSM2_CONF={directory}/softhsm2.conf",
                                                           f"HOSTILE_PKCS11_DIRECTORY={directory}"])
    worker = vault.worker_pids()["b"]
    vault.stop_listener("b")
    wait_for(lambda: not is_alive(worker), 10, "the worker to end with its listener")
    vault.start_listeners()
    found = wait_for(lambda: len(findings_of(directory)) >= 2 * len(targets) and findings_of(directory), 30, "the module's findings")
    return targets, found


def test_who_may_do_everything_finds_everything(vault):
    """Else the next tests would show nothing."""
    directory = vault.dir / "control"
    directory.mkdir()
    targets = targets_of(vault)
    (directory / "targets").write_text("".join(f"{line}\n" for line in targets))
    environment = {**os.environ, "HOSTILE_PKCS11_DIRECTORY": str(directory)}
    if "libasan" in subprocess.run(["ldd", MODULE], capture_output=True, text=True, check=True).stdout:
        library = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
        environment |= {"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"}
    subprocess.run([sys.executable, "-c", f"import ctypes; ctypes.CDLL('{MODULE}')"], check=True, env=environment)
    found = findings_of(directory)
    assert len(found) == len(targets) and all(found.values()), [key for key, granted in found.items() if not granted]


@pytest.mark.parametrize("sandbox", [False, True])
def test_a_hostile_module_reaches_nothing_of_vault_or_other_hsm(vault, key, sandbox):
    """Without a sandbox there is neither Landlock nor a system call filter: the user alone holds."""
    targets, found = findings_in_b(vault, sandbox=sandbox)
    assert {stage for stage, _, _ in found} == set(STAGES) and len(found) == 2 * len(targets)
    assert not any(found.values()), [key for key, granted in found.items() if granted]
    wait_for(lambda: vault.states()["b"] == "up", 30, "HSM b, hostile as it is, serves")
    assert vault.sign("ocsp", key["key_id"], "ocsp", response_data(key))["code"] == 0


# --- what ends, and what does not ---


def wait_replaced(vault, old, name):
    wait_for(lambda: not is_alive(old), 20, f"worker {name} to be gone")
    wait_for(lambda: vault.worker_pids().get(name, old) != old and vault.states()[name] == "up", 30, f"another worker of HSM {name}")


def test_killed_and_stopped_workers_and_listeners_cost_no_signature(vault, key):
    load = VaultLoad(vault, key, seconds=8, callers=8, rate=100)
    killed = vault.worker_pids()["a"]
    os.kill(killed, signal.SIGKILL)
    wait_replaced(vault, killed, "a")
    stopped = vault.worker_pids()["b"]
    os.kill(stopped, signal.SIGSTOP)  # the vault hangs up, its listener kills it
    wait_replaced(vault, stopped, "b")
    orphan = vault.worker_pids()["a"]
    vault.listeners["a"].kill()
    vault.listeners["a"].wait()
    wait_for(lambda: not is_alive(orphan), 10, "the worker to end with its listener")
    vault.start_listeners()
    wait_replaced(vault, orphan, "a")
    seen = load.finish()
    assert seen["errors"] == 0 and seen["signatures"] > 100, seen


def test_a_vault_that_is_killed_leaves_no_worker(vault, key):
    workers = vault.worker_pids()
    os.kill(workers["b"], signal.SIGSTOP)
    vault.process.kill()
    vault.process.wait()
    wait_for(lambda: not any(map(is_alive, workers.values())), 10, "its workers to end, the stopped one too")
    assert vault.worker_pids() == {} and all(process.poll() is None for process in vault.listeners.values())
    vault.log.close()
    vault.start()
    assert vault.sign("ocsp", key["key_id"], "ocsp", response_data(key))["code"] == 0


def test_an_hsm_that_is_shut_out_has_no_worker_when_that_is_said(vault):
    done = hsm_command(vault, "disable", "a")
    assert done.returncode == 0, done.stderr
    assert set(vault.worker_pids()) == {"b"}
    assert hsm_command(vault, "enable", "a").returncode == 0
    wait_for(lambda: vault.states()["a"] == "up", 30, "HSM a up")


# --- setting up ---


def test_the_vaults_user_sets_no_token_up(vault):
    done = subprocess.run([*vault.as_vault, BUILD / "bin" / "chancery-vault", "--config", vault.dir / "vault.yaml", "--init-hsms"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "is for user '64001' alone, or root" in done.stderr, done.stderr


@pytest.mark.parametrize("keys, says", [({"user": None}, "has a listener, but no user"), ({"listener": None}, "has a user, but no listener")])
def test_listener_and_user_go_together(vault, tmp_path, keys, says):
    config = json.loads((vault.dir / "vault.yaml").read_text())
    config["hsms"][0].update(keys)
    config["hsms"][0] = {name: value for name, value in config["hsms"][0].items() if value is not None}
    (tmp_path / "vault.yaml").write_text(json.dumps(config))
    done = subprocess.run([BUILD / "bin" / "chancery-vault", "--config", tmp_path / "vault.yaml", "--init-hsms"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 1 and says in done.stderr, done.stderr
