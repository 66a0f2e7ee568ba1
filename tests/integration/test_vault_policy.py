# SPDX-License-Identifier: Apache-2.0
"""What limits the vault's keys: sealed rows, states, quotas; and the `chancery vault key` commands that ask for them."""
import json
import os
import subprocess

import pytest

from conftest import BUILD
from lone_vault import LoneVault


@pytest.fixture(scope="module")
def vault():
    made = LoneVault()
    try:
        yield made
    finally:
        made.remove()


def command(vault, *words, identity="operator-1"):
    environment = {**os.environ, "CHANCERY_VAULT": f"127.0.0.1:{vault.port}", "CHANCERY_IDENTITY": str(vault.dir / "identity" / identity),
                   "CHANCERY_SYSTEM_CA": str(vault.dir / "pki/system-ca.pem")}
    return subprocess.run([BUILD / "bin/chancery", "vault", "key", *map(str, words)], capture_output=True, text=True, timeout=60,
                          env=environment, check=False)


# --- the command --------------------------------------------------------------------------------------------------------------


def test_keys_are_listed_and_shown(vault):
    ca = vault.make_ca("Listed CA")
    listed = command(vault, "list", "--json")
    assert listed.returncode == 0, listed.stderr
    row = next(row for row in json.loads(listed.stdout) if row["key_id"] == ca["key_id"])
    assert row["state"] == "active" and row["subject"] == "CN=Listed CA" and row["residency"] == ["a", "b"]
    assert set(row["purposes"]) == {"end-entity-certificate", "ca-certificate", "crl"}
    shown = command(vault, "show", ca["key_id"])
    assert shown.returncode == 0 and "CN=Listed CA" in shown.stdout
    assert command(vault, "show", "0" * 32).returncode == 3
    other = command(vault, "list", "--json", "--tenant", "nobody")
    assert other.returncode == 0 and json.loads(other.stdout) == []


def test_only_an_identity_of_service_operator_connects(vault):
    done = command(vault, "list", identity="crl-1")
    assert done.returncode != 0 and "operator" in done.stderr
