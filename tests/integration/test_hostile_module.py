# SPDX-License-Identifier: Apache-2.0
"""A PKCS#11 module that tries to break out of the HSM worker that loads it (tests/tools/hostile_pkcs11.c): from its constructor and from
C_Initialize it gets to nothing of the vault's, of another HSM's, or of another daemon's. The vault of this test starts its workers itself."""
import contextlib
import os
import socket
import subprocess
import sys

import pytest

from conftest import BUILD, wait_for
from lone_vault import LoneVault, response_data

MODULE = BUILD / "tests" / "hostile_pkcs11.so"
STAGES = ("constructor", "initialize")


def findings_of(directory):
    """{(stage, attempt, argument): granted?} of the last run of the module."""
    lines = (directory / "findings").read_text().splitlines() if (directory / "findings").exists() else []
    return {tuple(line.split()[:3]): line.split()[3] == "granted" for line in lines}


@contextlib.contextmanager
def listening():
    """A TCP port and an abstract one on which somebody listens."""
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(64)
        yield tcp.getsockname()[1]


def targets_of(vault, tcp_port, pid="parent"):
    key = vault.dir / "identity" / "vault-1" / "key.pem"
    other = vault.dir / "hsm" / "b"
    postgres = next((vault.dir / "pg").rglob(".s.PGSQL.*[0-9]"))
    return [f"read {key}", f"write {key}", f"chmod {key}", f"list {key.parent}",
            f"read {other}/pin", f"chmod {other}/pin", f"list {other}/tokens", f"read {other}/softhsm2.conf",
            f"read {vault.dir}/vault.yaml", f"list {vault.dir}/state", "read /etc/shadow", "list /root", "list /etc",
            f"tcp {tcp_port}", f"tcp {vault.port}", f"udp {tcp_port}", f"fast-open {tcp_port}", f"unix {postgres}",
            f"kill {pid}", f"ptrace {pid}", f"memory {pid}", f"environment {pid}", f"limits {pid}", "program /bin/true"]


@pytest.fixture(scope="module")
def vault():
    made = LoneVault()
    yield made
    made.remove()


def use_module(vault, targets, **keys):
    """HSM a's worker with the hostile module; gives what it found."""
    directory = vault.dir / "hsm" / "a"
    (directory / "targets").write_text("".join(f"{line}\n" for line in targets))
    (directory / "findings").unlink(missing_ok=True)
    vault.stop()
    vault.change_hsm("a", module=str(MODULE), environment=[f"SOFTHSM2_CONF={directory}/softhsm2.conf",
                                                           f"HOSTILE_PKCS11_DIRECTORY={directory}"], **keys)
    vault.start()
    return wait_for(lambda: len(findings_of(directory)) >= 2 * len(targets) and findings_of(directory), 30, "the module's findings")


def test_the_module_gets_everything_where_nothing_holds_it(vault):
    """Else the other tests would show nothing."""
    directory = vault.dir / "hsm" / "a"
    with listening() as port:
        targets = targets_of(vault, port)
        (directory / "targets").write_text("".join(f"{line}\n" for line in targets))
        environment = {**os.environ, "HOSTILE_PKCS11_DIRECTORY": str(directory), "ASAN_OPTIONS": "verify_asan_link_order=0"}
        preload = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
        if "libasan" in subprocess.run(["ldd", MODULE], capture_output=True, text=True, check=True).stdout:
            environment |= {"LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0"}
        subprocess.run([sys.executable, "-c", f"import ctypes; ctypes.CDLL('{MODULE}')"], check=True, env=environment)
    found = findings_of(directory)
    denied = [key for key, granted in found.items() if not granted]
    assert len(found) == len(targets) and not denied, denied


def test_it_reaches_nothing_from_a_worker(vault):
    with listening() as port:
        found = use_module(vault, targets_of(vault, port))
    granted = [key for key, granted in found.items() if granted]
    assert not granted and {stage for stage, _, _ in found} == set(STAGES), granted
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    assert vault.sign("ocsp", key["key_id"], "ocsp", response_data(key))["code"] == 0, "a worker in its sandbox signs"


def test_a_network_hsm_connects_to_its_own_port_alone(vault):
    with listening() as port:
        targets = [f"tcp {port}", f"tcp {vault.port}", f"fast-open {vault.port}", "kill parent"]
        found = use_module(vault, targets, network=True, network_ports=[str(port)])
    vault.change_hsm("a", network=False, network_ports=[])
    for stage in STAGES:
        assert found[stage, "tcp", str(port)], "what is configured works"
        assert not found[stage, "tcp", str(vault.port)] and not found[stage, "fast-open", str(vault.port)]
        assert not found[stage, "kill", "parent"]


def test_it_reaches_nothing_while_a_token_is_set_up(vault):
    directory = vault.dir / "hsm" / "a"
    vault.stop()
    with listening() as port:
        targets = targets_of(vault, port)
        (directory / "targets").write_text("".join(f"{line}\n" for line in targets))
        (directory / "findings").unlink()
        vault._run(BUILD / "bin" / "chancery-vault", "--config", vault.dir / "vault.yaml", "--init-hsms")
    found = findings_of(directory)
    assert len(found) == 2 * len(targets) and not any(found.values()), [key for key, granted in found.items() if granted]
    vault.start()


@pytest.mark.parametrize("keys, says", [
    ({"paths": ["{dir}/hsm"]}, "the PIN of HSM 'b'"),
    ({"paths": ["{dir}/hsm/a", "{dir}/identity"]}, "the vault's own key"),
    ({"network_ports": ["1792"]}, "network is false"),
    ({"network": True, "network_ports": ["70000"]}, "1 to 65535"),
])
def test_a_configuration_that_gives_a_module_too_much_is_refused(vault, keys, says):
    keys = {name: [text.format(dir=vault.dir) for text in value] if isinstance(value, list) else value for name, value in keys.items()}
    before = (vault.dir / "vault.yaml").read_text()
    vault.change_hsm("a", **keys)
    try:
        done = subprocess.run([BUILD / "bin" / "chancery-vault", "--config", vault.dir / "vault.yaml", "--init-hsms"], capture_output=True,
                              text=True, timeout=60, check=False)
    finally:
        (vault.dir / "vault.yaml").write_text(before)
    assert done.returncode == 1 and says in done.stderr, done.stderr
