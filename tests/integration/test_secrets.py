# SPDX-License-Identifier: Apache-2.0
"""Nothing secret where it can be read: PINs and custodians' shares are in no log, argument, environment or memory image of the vault
and its workers after start, core dumps are off, and memory is not swapped."""
import os
import pathlib
import subprocess

import pytest

import lone_vault as lone
from lone_vault import LoneVault


@pytest.fixture(scope="module")
def vault():
    made = LoneVault()
    key = made.generate("issuer", "ecdsa-p256", "ocsp")
    for _ in range(5):
        assert made.sign("ocsp", key["key_id"], "ocsp", lone.response_data(key))["code"] == 0
    yield made
    made.remove()


def processes(vault):
    """{name: pid} of the vault and its workers."""
    return {"vault": vault.process.pid, **{f"worker {name}": pid for name, pid in vault.worker_pids().items()}}


def secrets(vault):
    """{what: octets} that no process may still have."""
    found = {}
    for hsm in vault.hsms:
        for kind in ("pin", "so-pin"):
            found[f"{kind} of {hsm}"] = (vault.dir / "hsm" / hsm / kind).read_bytes().strip()
    for path in sorted((vault.dir / "shares").iterdir()):
        value = [line for line in path.read_text().splitlines() if line.startswith("value: ")][0].split()[1]
        found[path.name] = value.encode()
        found[f"{path.name} in binary"] = bytes.fromhex(value)
    return found


def is_sanitized(pid):
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return "libasan" in maps or "libtsan" in maps


def memory(pid):
    """Each readable mapping's octets, in parts."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as image:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            extent, rights = line.split()[:2]
            start, end = (int(part, 16) for part in extent.split("-"))
            if "r" not in rights or "[v" in line or end - start > 1 << 32:  # vvar, vsyscall; a sanitizer's shadow
                continue
            try:
                image.seek(start)
                yield line, image.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue


def forms(octets):
    return {"as it is": octets, "in UTF-16": octets.decode("latin-1").encode("utf-16-le")}


def test_no_pin_or_share_is_in_the_memory_of_the_vault_or_a_worker(vault):
    wanted = secrets(vault)
    for name, pid in processes(vault).items():
        if is_sanitized(pid):
            pytest.skip("a sanitizer keeps freed memory")
        seen = 0
        for mapping, octets in memory(pid):
            seen += len(octets)
            for what, secret in wanted.items():
                for form, looked_for in forms(secret).items():
                    assert looked_for not in octets, f"{what} {form} is in the memory of {name}: {mapping}"
        assert seen > 1 << 20, f"only {seen} octets of {name} could be read"


def test_the_search_finds_what_is_there(vault):
    """The instance's name is in the vault's memory: had a PIN been there, it would have been found."""
    assert any(b"vault-1" in octets for _, octets in memory(processes(vault)["vault"]))


def test_no_pin_is_in_arguments_environment_or_logs(vault):
    wanted = secrets(vault)
    places = {"the log": (vault.dir / "vault.log").read_bytes(), "the spool": vault.events()}
    for name, pid in processes(vault).items():
        for file in ("cmdline", "environ"):
            places[f"{file} of {name}"] = pathlib.Path(f"/proc/{pid}/{file}").read_bytes()
    for place, octets in places.items():
        for what, secret in wanted.items():
            assert secret not in octets, f"{what} is in {place}"


def test_there_are_no_core_dumps_and_nothing_is_swapped(vault):
    for name, pid in processes(vault).items():
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        core = [line.split() for line in limits.splitlines() if line.startswith("Max core file size")][0]
        assert core[4:6] == ["0", "0"], f"{name}: {core}"
        if is_sanitized(pid):
            continue
        status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        assert int(status["VmLck"].split()[0]) > 0 and int(status["VmSwap"].split()[0]) == 0, f"{name}: {status['VmLck']}"


def test_secret_files_are_their_owners_alone(vault):
    for hsm in vault.hsms:
        for kind in ("pin", "so-pin"):
            assert (vault.dir / "hsm" / hsm / kind).stat().st_mode & 0o077 == 0


def probe(vault, *words):
    """secretprobe as the gateway."""
    return [str(word) for word in (lone.BUILD / "tests" / "secretprobe", vault.dir / "identity" / "gateway-1", vault.dir / "pki" / "system-ca.pem",
                                   f"127.0.0.1:{vault.port}", "default", *words)]


def test_what_was_opened_is_in_no_memory(vault):
    """Neither the vault's (its buffers of the reply, the transport's), nor a worker's, nor that of who asked, once they are done with it."""
    secret = os.urandom(40)
    sealed = subprocess.run(probe(vault, "seal", "memory", secret.hex()), capture_output=True, text=True, check=True).stdout.strip()
    vault.stop()  # with what Seal's request left there
    vault.start()
    with subprocess.Popen(probe(vault, "hold", "memory", sealed), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout.readline() == "opened\n"
        seen = 0
        for name, pid in {**processes(vault), "who asked": asker.pid}.items():
            for mapping, octets in memory(pid):
                seen += len(octets)
                assert secret not in octets and secret[:16] not in octets, f"the secret is in the memory of {name}: {mapping}"
        assert seen > 1 << 20
        asker.stdin.close()
        assert asker.wait(30) == 0
    opened = subprocess.run(probe(vault, "open", "memory", sealed), capture_output=True, text=True, check=True).stdout.strip()
    assert opened == secret.hex(), "it was the right one"
