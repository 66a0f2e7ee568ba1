# SPDX-License-Identifier: Apache-2.0
"""Small secrets of the daemons: sealed by the vault under a data key of their tenant, opened only by the service that sealed them."""
import secrets
import subprocess

import pytest

from lone_vault import LoneVault
from lone_vault import secret as probe

SEED = secrets.token_hex(20)


@pytest.fixture(scope="module")
def vault():
    made = LoneVault()
    yield made
    made.remove()


def owner(vault, sql):
    done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", vault.owner, "-c", sql], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_a_service_sealed_it_opens_again(vault):
    sealed = probe(vault, "gateway", "seal", "totp-seed/alice", SEED)
    assert SEED not in sealed
    assert probe(vault, "gateway", "open", "totp-seed/alice", sealed) == SEED


def test_another_service_context_or_tenant_does_not_open_it(vault):
    owner(vault, "INSERT INTO tenants (tenant_id, name) VALUES ('other', 'Other') ON CONFLICT DO NOTHING")
    sealed = probe(vault, "gateway", "seal", "totp-seed/alice", SEED)
    assert probe(vault, "gateway", "seal", "x", SEED, tenant="other")  # so that the other tenant has a data key
    before = vault.metrics()
    for service, what, tenant in (("audit", "totp-seed/alice", "default"), ("gateway", "totp-seed/bob", "default"),
                                  ("gateway", "totp-seed/alice", "other")):
        assert probe(vault, service, "open", what, sealed, tenant=tenant).startswith("error denied"), (service, what, tenant)
    counted = 'chancery_vault_secrets_total{operation="open",service="gateway",outcome="denied"}'
    assert vault.metrics()[counted] == before.get(counted, 0) + 2
    assert b"vault.refused" in vault.events()


def test_an_operator_seals_nothing_and_a_message_without_tenant_is_refused(vault):
    assert probe(vault, "operator", "seal", "x", SEED).startswith("error denied")
    assert "names no tenant" in probe(vault, "gateway", "seal", "x", SEED, tenant="")
    assert "no such tenant" in probe(vault, "gateway", "seal", "x", SEED, tenant="nobody")


def test_rotation_leaves_old_secrets_readable_and_reseal_brings_them_forward(vault):
    old = probe(vault, "gateway", "seal", "archived-key/1", SEED)
    version = int(probe(vault, "operator", "rotate"), 16)
    assert version == int(old[2:10], 16) + 1
    assert probe(vault, "gateway", "open", "archived-key/1", old) == f"outdated {SEED}"
    new = probe(vault, "gateway", "reseal", "archived-key/1", old)
    assert int(new[2:10], 16) == version
    assert probe(vault, "gateway", "open", "archived-key/1", new) == SEED
    assert b"data-key.rotated" in vault.events()
    for service in ("gateway", "issuer", "ocsp"):  # no daemon rotates: a person does, with an identity of their own
        assert probe(vault, service, "rotate").startswith("error denied")


def test_secrets_survive_a_restart_and_either_hsm(vault):
    sealed = probe(vault, "gateway", "seal", "contact/7", SEED)
    vault.stop()
    vault.start()
    assert probe(vault, "gateway", "open", "contact/7", sealed) == SEED


def test_a_data_key_changed_in_the_database_opens_nothing(vault):
    sealed = probe(vault, "gateway", "seal", "contact/8", SEED)
    version = int(sealed[2:10], 16)
    vault.stop()  # so that the key is not in memory
    kept = owner(vault, f"SELECT encode(wrapped, 'hex') FROM data_keys WHERE tenant_id = 'default' AND version = {version}")
    owner(vault, f"UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE tenant_id = 'other' AND version = 1) "
                 f"WHERE tenant_id = 'default' AND version = {version}")
    vault.start()
    assert "changed outside the vault" in probe(vault, "gateway", "open", "contact/8", sealed)
    owner(vault, f"UPDATE data_keys SET wrapped = decode('{kept}', 'hex') WHERE tenant_id = 'default' AND version = {version}")
    assert probe(vault, "gateway", "open", "contact/8", sealed) == SEED
    # The failed unwrapping was no reason to restart a worker.
    assert sum(value for name, value in vault.metrics().items() if name.startswith("chancery_vault_hsm_restarts_total")) == 0


def test_random_comes_in_the_size_asked_for(vault):
    first, second = (probe(vault, "ocsp", "random", 32) for _ in range(2))
    assert len(first) == 64 and first != second
    assert probe(vault, "ocsp", "random", 4097).startswith("error invalid")
    assert probe(vault, "ocsp", "random", 0).startswith("error invalid")


def test_no_data_key_stands_in_the_database_in_clear(vault):
    """Each wrapped key is 12 octets of nonce, 32 of ciphertext and 16 of tag."""
    assert set(owner(vault, "SELECT octet_length(wrapped) FROM data_keys").split()) == {"60"}
