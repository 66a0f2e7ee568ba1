# SPDX-License-Identifier: Apache-2.0
"""What limits the vault's keys: sealed rows, states, quotas; and the `chancery vault key` commands that ask for them."""
import json
import os
import subprocess

import pytest

import lone_vault as lone
from conftest import BUILD, wait_for
from lone_vault import LoneVault, crl_tbs, name, response_data

DENIED = 2
CHANGED = "its policy row was changed outside the vault"


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


# --- sealed rows --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def responder(vault):
    return vault.generate("issuer", "ecdsa-p256", "ocsp")


def sign_ocsp(vault, key, key_id=None):
    return vault.sign("ocsp", key_id or key["key_id"], "ocsp", response_data(key))


def is_refused(vault, key, words, **options):
    """A row may be believed for a second after it was last read."""
    def refusal():
        result = sign_ocsp(vault, key, **options)
        return result if result["code"] else None
    result = wait_for(refusal, 5, "the edited row refuses")
    assert result["code"] == DENIED and words in result["message"], result


def alerts(vault):
    return sum(value for name, value in vault.metrics().items() if name.startswith("chancery_vault_alerts_total"))


# What each column of a key may be changed to, that the table's own constraints let through.
EDITS = {
    "tenant_id": "(SELECT tenant_id FROM tenants WHERE tenant_id <> 'default' LIMIT 1)",
    "request_id": "'\\x00'",
    "label": "'another'",
    "algorithm": "'ecdsa-p384'",
    "purposes": "'{1,2,3,4}'",
    "subject_der": "'\\x3000'",
    "public_key_info": "(SELECT public_key_info FROM keys k WHERE k.key_id <> keys.key_id LIMIT 1)",
    "public_key_sha256": "'\\x00'",
    "residency": "'{b,a}'",
    "single_copy_accepted": "true",
    "state": "'retired'",
    "ca_not_before": "now()",
    "ca_not_after": "now()",
    "ca_path_length": "3",
    "timestamp_policies": "'{1.2.3}'",
    "checkpoint_origin": "'elsewhere'",
    "max_validity_seconds": "999999",
    "created_at": "created_at + interval '1 microsecond'",
    "seal": "'\\x" + "00" * 32 + "'",
    "policy_version": "policy_version + 1",
    "callers": "'{ocsp}'",
    "signature_algorithms": "'{ecdsa-with-SHA256}'",
    "max_certificate_validity_seconds": "1",
    "quota_burst": "1000000",
    "quota_per_hour": "1000000",
    "approvals_required": "1",
    "audit_mode": "'each'",
    "state_changed_at": "now()",
}
UNSEALED = {"key_id", "last_number", "last_tbs_sha256", "number_seal", "wrapped_key"}


def test_every_column_is_tried(vault):
    columns = vault.psql("SELECT string_agg(column_name, ' ') FROM information_schema.columns WHERE table_name = 'keys'").split()
    assert set(columns) - UNSEALED == set(EDITS)


@pytest.mark.parametrize("column", EDITS)
def test_a_row_that_was_edited_refuses_and_raises_one_alert(vault, responder, column):
    vault.generate("issuer", "ecdsa-p256", "ocsp")  # another row to take values from
    vault.psql("INSERT INTO tenants (tenant_id, name) VALUES ('other', 'Other') ON CONFLICT DO NOTHING")
    key_id = responder["key_id"]
    assert sign_ocsp(vault, responder)["code"] == 0
    before = alerts(vault)
    vault.psql(f"CREATE TABLE kept AS SELECT * FROM keys WHERE key_id = '{key_id}'")
    try:
        vault.psql(f"UPDATE keys SET {column} = {EDITS[column]} WHERE key_id = '{key_id}'")
        is_refused(vault, responder, CHANGED)
        is_refused(vault, responder, CHANGED)
        assert alerts(vault) == before + 1
        assert b"vault.alert" in vault.events()
    finally:
        vault.psql(f"UPDATE keys SET {column} = kept.{column} FROM kept WHERE keys.key_id = kept.key_id; DROP TABLE kept")
    assert sign_ocsp(vault, responder)["code"] == 0


def test_a_row_under_another_key_id_refuses(vault, responder):
    vault.psql(f"UPDATE keys SET key_id = '{'ab' * 16}' WHERE key_id = '{responder['key_id']}'")
    try:
        is_refused(vault, responder, CHANGED, key_id="ab" * 16)
    finally:
        vault.psql(f"UPDATE keys SET key_id = '{responder['key_id']}' WHERE key_id = '{'ab' * 16}'")


def test_a_row_of_before_refuses(vault):
    root = vault.make_ca("Turning Root")
    key_id = root["key_id"]
    vault.psql(f"CREATE TABLE kept AS SELECT * FROM keys WHERE key_id = '{key_id}'")
    longer = lone.ca_tbs(root, root, days=5000)  # sets the limits of the key anew
    assert vault.sign("issuer", key_id, "ca-certificate", longer, approvals=[vault.approval("officer", longer)])["code"] == 0
    assert vault.psql(f"SELECT policy_version FROM keys WHERE key_id = '{key_id}'") == "3"
    vault.psql("UPDATE keys SET ca_not_before = kept.ca_not_before, ca_not_after = kept.ca_not_after, seal = kept.seal, "
               "policy_version = kept.policy_version FROM kept WHERE keys.key_id = kept.key_id; DROP TABLE kept")

    def refusal():
        result = vault.sign("crl", key_id, "crl", crl_tbs(name("Turning Root"), 1))
        return result if result["code"] else None
    result = wait_for(refusal, 5, "the old row refuses")
    assert "it is one of before" in result["message"]


@pytest.mark.parametrize("edit", ["last_number = 3", "last_tbs_sha256 = NULL", "number_seal = NULL",
                                  "last_number = 0, last_tbs_sha256 = NULL, number_seal = NULL"])
def test_a_number_that_was_edited_refuses(vault, edit):
    ca = vault.make_ca(f"Numbered {edit[:20]}")
    assert vault.sign("crl", ca["key_id"], "crl", crl_tbs(ca["name"], 9))["code"] == 0
    vault.psql(f"UPDATE keys SET {edit} WHERE key_id = '{ca['key_id']}'")
    result = vault.sign("crl", ca["key_id"], "crl", crl_tbs(ca["name"], 10))
    assert result["code"] == DENIED and "its last number was changed outside the vault" in result["message"], result


def test_keys_of_before_there_were_seals_are_sealed_once(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    sealed = vault.psql("SELECT string_agg(encode(seal, 'hex'), ',' ORDER BY key_id) FROM keys WHERE key_id <> '" + key["key_id"] + "'")
    vault.psql(f"UPDATE keys SET seal = NULL, number_seal = NULL WHERE key_id = '{key['key_id']}'")
    is_refused(vault, key, "it has no seal")
    command_line = [BUILD / "bin/chancery-vault", "--config", vault.dir / "vault.yaml", "--seal-keys"]
    done = subprocess.run(command_line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"key {key['key_id']} sealed: tenant default, ecdsa-p256, active, ocsp" in done.stdout
    assert "1 keys sealed" in done.stdout
    assert sign_ocsp(vault, key)["code"] == 0
    again = subprocess.run(command_line, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 0 and again.stdout.startswith("0 keys sealed")
    assert sealed == vault.psql("SELECT string_agg(encode(seal, 'hex'), ',' ORDER BY key_id) FROM keys WHERE key_id <> '" + key["key_id"] + "'")
