# SPDX-License-Identifier: Apache-2.0
"""A vault whose disk is full: what cannot be recorded is not signed, and of what was signed nothing goes unrecorded, the counts of OCSP
signatures included."""
import json
import pathlib
import re
import subprocess
import tempfile

import pytest

from conftest import wait_for
from lone_vault import LoneVault, end_entity_tbs, response_data

# One segment of the spool with what is kept back behind it (1,152 KiB) and nothing else.
DISK = "1400k"
SIGNED = 'chancery_vault_signatures_total{purpose="%s",outcome="signed",reason=""}'


@pytest.fixture
def small_disk():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="chancery-small-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0755", "tmpfs", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)
    directory.rmdir()


@pytest.fixture
def vault(small_disk):
    vault = LoneVault(state_directory=str(small_disk))
    yield vault
    vault.remove()


def load(vault, service, key, purpose, tbs, seconds):
    done = subprocess.run(vault.probe_command(service, "load", key["key_id"], purpose, vault.file(tbs), "--seconds", seconds,
                                              "--callers", 16), capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def signed(vault, purpose):
    return vault.metrics().get(SIGNED % purpose, 0)


def test_a_full_disk_stops_signing_and_loses_no_count(vault, small_disk):
    ocsp = vault.generate("issuer", "ecdsa-p256", "ocsp")
    ca = vault.make_ca("Full Disk CA")
    assert load(vault, "ocsp", ocsp, "ocsp", response_data(ocsp), 1)["errors"] == 0
    counted = signed(vault, "ocsp")
    assert counted > 0

    # Certificates are recorded one by one: until the disk takes no more.
    def is_full():
        load(vault, "issuer", ca, "end-entity-certificate", end_entity_tbs(ca["name"]), 1)
        return not vault.ready()
    wait_for(is_full, 60, "a spool that takes no more")
    assert "spool: takes no events, cannot sign" in vault.readiness()["summary"]
    recorded = signed(vault, "end-entity-certificate")

    # What would only be counted is not signed either.
    after = load(vault, "ocsp", ocsp, "ocsp", response_data(ocsp), 1)
    assert after["signatures"] == 0 and after["errors"] > 0
    assert signed(vault, "ocsp") == counted
    vault.stop()
    spool = b"".join(path.read_bytes() for path in sorted((small_disk / "spool").glob("*.events")))
    assert spool.count(b"vault.signed") >= recorded
    assert [int(number) for number in re.findall(rb"signatures\x12.(\d+)", spool, re.DOTALL)] == [counted]
