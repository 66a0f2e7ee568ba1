# SPDX-License-Identifier: Apache-2.0
"""What limits the vault's keys: sealed rows, states, quotas; and the `chancery vault key` commands that ask for them."""
import contextlib
import json
import os
import re
import stat
import subprocess
import time
import urllib.request
import uuid

import pytest
from asn1crypto import keys, x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import keywrap, serialization

import lone_vault as lone
from conftest import BUILD, free_port, wait_for
from lone_vault import LoneVault, crl_tbs, end_entity_tbs, name, response_data

DENIED, INVALID, CONFLICT, EXHAUSTED, REPLAYED = 2, 1, 5, 7, 9
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
    "extra_extensions": "'{1.2.3.4}'",
    "signatures_unverified": "true",
}
# compromised_at only remembers when the state, which is sealed, became compromised.
UNSEALED = {"key_id", "last_number", "last_tbs_sha256", "number_seal", "wrapped_key", "compromised_at",
            "generated_told"}  # that the audit log was told of it: an edit can only have it told again


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
    assert vault.sign("issuer", key_id, "ca-certificate", longer, action=vault.approve_certificate(key_id, longer))["code"] == 0
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


def test_a_number_of_before_refuses_with_its_seal(vault):
    ca = vault.make_ca("Renumbered CA")
    assert vault.sign("crl", ca["key_id"], "crl", crl_tbs(ca["name"], 9))["code"] == 0
    vault.psql(f"CREATE TABLE kept AS SELECT * FROM keys WHERE key_id = '{ca['key_id']}'")
    assert vault.sign("crl", ca["key_id"], "crl", crl_tbs(ca["name"], 10))["code"] == 0
    vault.psql("UPDATE keys SET last_number = kept.last_number, last_tbs_sha256 = kept.last_tbs_sha256, number_seal = kept.number_seal "
               "FROM kept WHERE keys.key_id = kept.key_id; DROP TABLE kept")
    result = vault.sign("crl", ca["key_id"], "crl", crl_tbs(ca["name"], 11))
    assert result["code"] == DENIED and "its last number was changed outside the vault" in result["message"], result


def test_two_vaults_that_change_a_key_at_once_lose_no_change(vault):
    """Each CA certificate of a key sets its limits anew: a version each."""
    root = vault.make_ca("Contended Root")
    certificates = [lone.ca_tbs(root, root, days=4000 + i) for i in range(10)]
    actions = [vault.approve_certificate(root["key_id"], tbs) for tbs in certificates]
    before = int(vault.psql(f"SELECT policy_version FROM keys WHERE key_id = '{root['key_id']}'"))
    with second_vault(vault) as port:
        ports = [vault.port, port]
        commands = []
        for i, (tbs, action) in enumerate(zip(certificates, actions)):
            vault.port = ports[i % 2]
            commands.append(vault.probe_command("issuer", "sign", root["key_id"], "ca-certificate", vault.file(tbs), "--action", action))
        vault.port = ports[0]
        running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for words in commands]
        results = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert not [result for result in results if result["code"]]
    assert int(vault.psql(f"SELECT policy_version FROM keys WHERE key_id = '{root['key_id']}'")) == before + 10


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


# --- what a key's policy narrows ----------------------------------------------------------------------------------------------


def ca_with(vault, cn, *words):
    """A CA key with a policy, its certificate signed."""
    key = vault.generate("issuer", "ecdsa-p256", lone.CA_PURPOSES, "--subject", vault.file(name(cn).public_bytes()), *words)
    assert key["code"] == 0, key
    key["name"] = name(cn)
    return key


def certify(vault, key):
    tbs = lone.ca_tbs(key, key)
    return vault.sign("issuer", key["key_id"], "ca-certificate", tbs, action=vault.approve_certificate(key["key_id"], tbs))


def test_a_key_answers_only_the_services_of_its_policy(vault):
    key = ca_with(vault, "Callers CA", "--allowed-caller", "issuer")
    assert certify(vault, key)["code"] == 0
    assert vault.sign("issuer", key["key_id"], "end-entity-certificate", end_entity_tbs(key["name"]))["code"] == 0
    result = vault.sign("crl", key["key_id"], "crl", crl_tbs(key["name"], 1))
    assert result["code"] == DENIED and "is not for service 'crl'" in result["message"]


def test_a_certificate_is_valid_no_longer_than_its_key_allows(vault):
    key = ca_with(vault, "Short CA", "--max-validity", 40 * 86400)
    assert certify(vault, key)["code"] == 0  # its own certificate is not meant
    assert vault.sign("issuer", key["key_id"], "end-entity-certificate", end_entity_tbs(key["name"], days=40))["code"] == 0
    result = vault.sign("issuer", key["key_id"], "end-entity-certificate", end_entity_tbs(key["name"], days=41))
    assert result["code"] == DENIED and f"beyond the key's limit of {40 * 86400}" in result["message"]


def test_a_key_may_have_each_signature_recorded(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp", "--audit", "each")
    assert sign_ocsp(vault, key)["code"] == 0
    events = vault.events()
    assert key["key_id"].encode() in events[events.rindex(b"vault.signed"):]


@pytest.mark.parametrize("words, named", [(["--quota", "5", "0"], "quota_per_hour"), (["--audit", "never"], "audit_mode"),
                                          (["--allowed-caller", "gateway"], "callers"), (["--max-validity", "-1"], "max_validity")])
def test_a_policy_that_cannot_be_is_refused(vault, words, named):
    made = vault.generate("issuer", "ecdsa-p256", "ocsp", *words)
    assert made["code"] == INVALID and named in made["message"], made


def test_a_pre_active_key_signs_nothing(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp", "--pre-active")
    result = sign_ocsp(vault, key)
    assert result["code"] == CONFLICT and "is pre-active" in result["message"]


# --- quotas -------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def second_vault(vault, **keys):
    """Another vault over the same database and HSMs: its port."""
    port, operations = free_port(), free_port()
    identity = vault.dir / "identity/vault-2"
    if not identity.exists():
        vault._chancery("system-ca", "issue", "--directory", vault.dir / "pki", "--service", "vault", "--instance", "vault-2", "--out",
                        identity)
        (vault.dir / "state-2").mkdir()
    config = json.loads((vault.dir / "vault.yaml").read_text())
    config.update(keys)
    config.update(instance="vault-2", state_directory=str(vault.dir / "state-2"), bus={"listen": f"127.0.0.1:{port}", "workers": 8},
                  operations={"listen": f"127.0.0.1:{operations}"})
    config["identity"].update(certificate=str(identity / "certificate.pem"), key=str(identity / "key.pem"))
    (vault.dir / "vault-2.yaml").write_text(json.dumps(config))
    with open(vault.dir / "vault-2.log", "ab") as log:
        process = subprocess.Popen([BUILD / "bin/chancery-vault", "--config", vault.dir / "vault-2.yaml"], stderr=log, stdout=log)

    def ready():
        assert process.poll() is None, (vault.dir / "vault-2.log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{operations}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
    first = vault.port
    try:
        wait_for(ready, 30, "the second vault is ready")
        yield port
    finally:
        vault.port = first
        process.terminate()
        assert process.wait(30) == 0


def limited(vault, burst, per_hour):
    return vault.generate("issuer", "ecdsa-p256", "ocsp", "--quota", burst, per_hour)


def signed(results):
    return sum(result["code"] == 0 for result in results)


def test_a_key_signs_its_quota_and_says_when_there_is_more(vault):
    key = limited(vault, 40, 60)
    tbs = response_data(key)
    results = vault.sign("ocsp", key["key_id"], "ocsp", *[tbs] * 60)
    assert signed(results) == 40
    last = results[-1]
    assert last["code"] == EXHAUSTED and last["retryable"]
    assert f"key '{key['key_id']}': its quota of 40 signatures at once and 60 an hour is used up" in last["message"]
    assert 30000 < last["retry_after_ms"] <= 60000
    metrics = vault.metrics()
    assert metrics[f'chancery_vault_quota_refused_total{{quota="key",of="{key["key_id"]}",purpose="ocsp"}}'] == 20
    assert metrics[f'chancery_vault_quota_tokens{{key="{key["key_id"]}"}}'] == 0


def test_a_quota_fills_up_by_the_time(vault):
    key = limited(vault, 2, 3600)
    tbs = response_data(key)
    assert signed(vault.sign("ocsp", key["key_id"], "ocsp", *[tbs] * 5)) == 2
    time.sleep(1.1)
    assert signed(vault.sign("ocsp", key["key_id"], "ocsp", *[tbs] * 5)) == 1


def test_two_vaults_share_a_quota_and_a_restart_fills_nothing_up(vault):
    key = limited(vault, 100, 1)
    tbs = response_data(key)
    total = 0
    with second_vault(vault) as port:
        first = vault.port
        for i in range(8):
            vault.port = port if i % 2 else first
            total += signed(vault.sign("ocsp", key["key_id"], "ocsp", *[tbs] * 20))
        vault.port = first
        assert 95 <= total <= 100  # a portion, a twentieth, may lie in the vault that is not asked any more
    vault.stop()
    vault.start()
    assert signed(vault.sign("ocsp", key["key_id"], "ocsp", *[tbs] * 20)) <= 100 - total


def test_a_caller_has_its_quota_at_all_vaults(vault):
    with second_vault(vault, caller_quotas=[{"caller": "ocsp/ocsp-1", "purpose": "ocsp", "burst": 10, "per_hour": 1}]) as port:
        key = vault.generate("issuer", "ecdsa-p256", "ocsp")
        vault.port = port
        results = vault.sign("ocsp", key["key_id"], "ocsp", *[response_data(key)] * 15)
        assert signed(results) == 10
        assert "caller 'ocsp/ocsp-1': its quota of 10 signatures at once and 1 an hour" in results[-1]["message"]


def test_what_a_quota_refuses_is_taken_of_no_other(vault):
    """Twenty CRLs, of which the caller's own quota refuses all but two: the key's and the service's quota lose two."""
    ca = vault.make_ca("Thrifty CA")
    quotas = [{"caller": "crl", "purpose": "crl", "burst": 10, "per_hour": 1}, {"caller": "crl/crl-1", "purpose": "crl", "burst": 2, "per_hour": 1}]
    with_officer(vault, "set-policy", ca["key_id"], "--quota-burst", "10", "--quota-per-hour", "1")
    with second_vault(vault, caller_quotas=quotas) as port:
        vault.port = port
        results = vault.sign("crl", ca["key_id"], "crl", *[crl_tbs(ca["name"], number) for number in range(1, 21)])
        assert signed(results) == 2
        assert "caller 'crl/crl-1': its quota of 2 signatures" in results[-1]["message"]
        left = float(vault.psql("SELECT tokens FROM quotas WHERE caller = 'crl'"))
        assert 7 <= left <= 8.1, left  # two are spent, one may be in the vault's hand
        assert signed(vault.sign("issuer", ca["key_id"], "end-entity-certificate", *[end_entity_tbs(ca["name"])] * 12)) == 8


def test_making_keys_has_a_quota(vault):
    vault.generate("issuer", "ecdsa-p256", "ocsp")  # the row is there, of the default: what the second vault allows is less
    with second_vault(vault, caller_quotas=[{"caller": "issuer", "purpose": "generate-key", "burst": 2, "per_hour": 60}]) as port:
        vault.port = port
        message_id = uuid.uuid4().hex
        first = vault.generate("issuer", "ecdsa-p256", "ocsp", "--message-id", message_id)
        assert first["code"] == 0
        assert vault.generate("issuer", "ecdsa-p256", "ocsp", "--message-id", message_id)["key_id"] == first["key_id"]  # costs nothing more
        assert vault.generate("issuer", "ecdsa-p256", "ocsp")["code"] == 0
        refused = vault.generate("issuer", "ecdsa-p256", "ocsp")
        assert refused["code"] == EXHAUSTED, refused
        assert "caller 'issuer': its quota of 2 keys at once and 60 an hour is used up for purpose 'generate-key'" in refused["message"]
    vault.psql("UPDATE quotas SET tokens = 1000 WHERE caller = 'issuer' AND purpose = 0")  # for the tests that follow


def test_a_quota_for_what_a_caller_never_asks_stops_the_vault(vault):
    config = json.loads((vault.dir / "vault.yaml").read_text())
    config["caller_quotas"] = [{"caller": "crl", "purpose": "ocsp", "burst": 10, "per_hour": 1}]
    config["operations"] = {"listen": f"127.0.0.1:{free_port()}"}
    (vault.dir / "wrong.yaml").write_text(json.dumps(config))
    done = subprocess.run([BUILD / "bin/chancery-vault", "--config", vault.dir / "wrong.yaml"], capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == 1 and "never asks for purpose 'ocsp'" in done.stderr


# --- refusals -----------------------------------------------------------------------------------------------------------------


def test_a_flood_of_refusals_is_summed_up(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp", "--pre-active")
    results = vault.sign("ocsp", key["key_id"], "ocsp", *[response_data(key)] * 256)
    assert all(result["code"] == CONFLICT for result in results)
    told = vault.events().count(f"key '{key['key_id']}' is pre-active".encode())
    assert told == 10
    counter = 'chancery_vault_signatures_total{purpose="ocsp",outcome="refused",reason="key-state"}'
    assert vault.metrics()[counter] >= 256
    vault.stop()  # the rest is told at the end of a minute, and at the end
    events = vault.events()
    vault.start()
    assert events.count(f"key '{key['key_id']}' is pre-active".encode()) == 11
    assert b"246" in events


# --- states -------------------------------------------------------------------------------------------------------------------


def approve_waiting(vault, done):
    """What a command that waits for officers names is approved by one."""
    assert done.returncode == 5, done.stderr
    action_id = re.search(r"chancery approve ([0-9a-f]{32})", done.stderr).group(1)
    action = vault.probe("gateway", "action", action_id)[0]
    assert vault.approve(action, "officer")["code"] == 0
    return action_id


def with_officer(vault, *words):
    """Runs a command that needs approval: once to propose, once when it is approved."""
    approve_waiting(vault, command(vault, *words))
    done = command(vault, *words)
    assert done.returncode == 0, done.stderr
    return done


def state_of(vault, key):
    return json.loads(command(vault, "show", key["key_id"], "--json").stdout)["state"]


def settled(vault, key, code):
    """A changed state holds within a second."""
    wait_for(lambda: sign_ocsp(vault, key)["code"] == code, 5, f"signing answers {code}")


def test_an_emergency_waits_for_nobody_and_the_way_back_needs_officers(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    assert sign_ocsp(vault, key)["code"] == 0
    done = command(vault, "suspend", key["key_id"], "--reason", "a strange log line")
    assert done.returncode == 0, done.stderr
    settled(vault, key, CONFLICT)
    events = vault.events()
    told = events[events.rindex(b"key.state-changed"):]
    assert key["key_id"].encode() in told and b"a strange log line" in told and b"suspended" in told
    assert command(vault, "suspend", key["key_id"]).returncode == 0  # is so already
    with_officer(vault, "activate", key["key_id"])
    settled(vault, key, 0)
    assert b"approved_by" in vault.events()


def test_an_action_that_was_used_activates_no_second_time(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    assert command(vault, "suspend", key["key_id"]).returncode == 0
    with_officer(vault, "activate", key["key_id"])
    assert command(vault, "suspend", key["key_id"]).returncode == 0
    again = command(vault, "activate", key["key_id"])
    assert again.returncode == 5 and "waits for officers: 0 of" in again.stderr  # another version, another action
    assert state_of(vault, key) == "suspended"


def test_a_way_that_there_is_not_is_refused(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    done = with_officer_refused(vault, "destroy", key["key_id"])
    assert "is active: it may become suspended, compromised, retired, stopped, not destroyed" in done.stderr
    assert state_of(vault, key) == "active"


def with_officer_refused(vault, *words):
    approve_waiting(vault, command(vault, *words))
    done = command(vault, *words)
    assert done.returncode == 1, done.stderr
    return done


def test_a_retired_ca_signs_crls_only_and_a_compromised_one_nothing(vault):
    ca = vault.make_ca("Retiring CA")
    with_officer(vault, "retire", ca["key_id"])
    wait_for(lambda: vault.sign("issuer", ca["key_id"], "end-entity-certificate", end_entity_tbs(ca["name"]))["code"] == CONFLICT, 5,
             "no more certificates")
    assert vault.sign("crl", ca["key_id"], "crl", crl_tbs(ca["name"], 1))["code"] == 0
    assert command(vault, "compromise", ca["key_id"]).returncode == 0
    wait_for(lambda: vault.sign("crl", ca["key_id"], "crl", crl_tbs(ca["name"], 2))["code"] == CONFLICT, 5, "no more CRLs")


def test_no_certificate_is_made_for_a_compromised_key(vault):
    root = vault.make_ca("Above Root")
    below = vault.generate("issuer", "ecdsa-p256", lone.CA_PURPOSES, "--subject", vault.file(name("Below CA").public_bytes()))
    below["name"] = name("Below CA")
    assert command(vault, "compromise", below["key_id"]).returncode == 0
    tbs = lone.ca_tbs(root, below, days=365)
    result = vault.sign("issuer", root["key_id"], "ca-certificate", tbs, action=vault.approve_certificate(root["key_id"], tbs))
    assert result["code"] == CONFLICT and "is compromised: no certificate is made for it" in result["message"], result


@pytest.mark.parametrize("compressed", [False, True])
def test_a_compromised_tsas_key_is_certified_in_no_form(vault, compressed):
    """By an issuer that does not look at the table of compromised keys: whose, tells the vault."""
    root = vault.make_ca("Stamping Root")
    tsa = vault.generate("issuer", "ecdsa-p256", "timestamp", "--policy", "1.2.3")
    assert tsa["code"] == 0, tsa
    tbs = tsa_tbs(root["name"], tsa, compressed)
    assert vault.sign("issuer", root["key_id"], "end-entity-certificate", tbs)["code"] == 0
    assert command(vault, "compromise", tsa["key_id"]).returncode == 0
    result = vault.sign("issuer", root["key_id"], "end-entity-certificate", tbs)
    assert result["code"] == CONFLICT and "is compromised: no certificate is made for it" in result["message"], result


@pytest.mark.parametrize("compressed", [False, True])
def test_a_cas_own_key_is_certified_in_no_form(vault, compressed):
    root = vault.make_ca("Own Root")
    result = vault.sign("issuer", root["key_id"], "end-entity-certificate", tsa_tbs(root["name"], root, compressed))
    assert result["code"] == DENIED and "is the issuing CA's own" in result["message"], result


def tsa_tbs(issuer, key, compressed):
    """A time-stamping authority's certificate, with its point written as RFC 5480 §2.2 has it, in one of the two forms."""
    usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.TIME_STAMPING])
    tbs = asn1_x509.TbsCertificate.load(end_entity_tbs(issuer, more=[usage]))
    form = serialization.PublicFormat.CompressedPoint if compressed else serialization.PublicFormat.UncompressedPoint
    point = lone.public_key(key).public_bytes(serialization.Encoding.X962, form)
    tbs["subject_public_key_info"]["public_key"] = keys.ECPointBitString(point)
    return tbs.dump(force=True)


def test_a_pre_active_key_is_activated_by_officers(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp", "--pre-active")
    with_officer(vault, "activate", key["key_id"])
    settled(vault, key, 0)


@pytest.mark.parametrize("service", ["issuer", "crl", "audit"])
def test_who_is_neither_gateway_nor_operator_changes_no_state(vault, service):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    done = command(vault, "suspend", key["key_id"], identity=f"{service}-1")
    assert done.returncode != 0
    assert state_of(vault, key) == "active"


def objects_of(vault, hsm):
    """What another program sees in a token, but for the marks: how far a destroyed key's row had come is not forgotten."""
    pin = (vault.dir / "hsm" / hsm / "pin").read_text().strip()
    environment = {**os.environ, "SOFTHSM2_CONF": str(vault.dir / "hsm" / hsm / "softhsm2.conf"), "GNUTLS_PIN": pin}
    done = subprocess.run(["p11tool", "--provider", "/usr/lib/softhsm/libsofthsm2.so", "--login", "--list-all", f"pkcs11:token=chancery-{hsm}"],
                          capture_output=True, text=True, timeout=60, env=environment, check=False)
    objects = re.split(r"^Object \d+:", done.stdout, flags=re.M)
    return "".join(one for one in objects if "chancery-mark/" not in one).lower().replace(":", "").replace("%", "")


def test_a_destroyed_key_is_gone_from_both_tokens_and_the_database(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp", "--quota", "5", "5")
    assert sign_ocsp(vault, key)["code"] == 0
    for hsm in "ab":
        assert key["key_id"] in objects_of(vault, hsm)
    with_officer(vault, "retire", key["key_id"])
    with_officer(vault, "destroy", key["key_id"])
    for hsm in "ab":
        assert key["key_id"] not in objects_of(vault, hsm)
    row = vault.psql(f"SELECT state, wrapped_key IS NULL, residency FROM keys WHERE key_id = '{key['key_id']}'")
    assert row == "destroyed|t|{}"
    assert vault.psql(f"SELECT count(*) FROM quotas WHERE key_id = '{key['key_id']}'") == "0"
    settled(vault, key, CONFLICT)
    assert b"key.destroyed" in vault.events()
    assert command(vault, "destroy", key["key_id"]).returncode == 0  # is so already


def test_another_vaults_workers_keep_no_copies_of_a_destroyed_key(vault):
    """Sessions sign with copies, which live in the worker that made them: the other vault sees the key's state, and tells its own."""
    second = lone.SecondVault(vault)
    second.start()
    try:
        key, kept = (vault.generate("issuer", "ecdsa-p256", "ocsp") for _ in range(2))
        assert [sign_ocsp(second.ask, each)["code"] for each in (key, kept)] == [0, 0]
        with_officer(vault, "retire", key["key_id"])
        with_officer(vault, "destroy", key["key_id"])
        dropped = f"key '{key['key_id']}' is destroyed: the HSM workers' copies of it are dropped"
        log = vault.dir / "vault-2.log"
        wait_for(lambda: dropped in log.read_text(), 30, "the second vault to drop its copies")
        assert sign_ocsp(second.ask, key)["code"] == CONFLICT
        assert sign_ocsp(second.ask, kept)["code"] == 0
        assert f"key '{kept['key_id']}' is destroyed" not in log.read_text()
    finally:
        second.kill()


def test_a_key_is_not_half_destroyed(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    with_officer(vault, "retire", key["key_id"])
    approve_waiting(vault, command(vault, "destroy", key["key_id"]))
    tokens = vault.dir / "hsm/b/tokens"
    tokens.rename(vault.dir / "hsm/b/away")
    try:
        os.kill(vault.worker_pids()["b"], 9)
        wait_for(lambda: vault.states()["b"] != "up", 30, "b is down")
        done = command(vault, "destroy", key["key_id"])
        assert done.returncode == 5 and "HSM 'b', which is not up" in done.stderr, done.stderr
        assert state_of(vault, key) == "retired" and key["key_id"] in objects_of(vault, "a")
    finally:
        (vault.dir / "hsm/b/away").rename(tokens)
    wait_for(lambda: vault.states()["b"] == "up", 30, "b is up")
    assert command(vault, "destroy", key["key_id"]).returncode == 0
    assert key["key_id"] not in objects_of(vault, "a") + objects_of(vault, "b")


# What an operator's identity alone asks for, as no command would.
ORDERS = {"activate": lambda key: ("change-state", key, "active"), "retire": lambda key: ("change-state", key, "retired"),
          "destroy": lambda key: ("change-state", key, "destroyed"), "policy": lambda key: ("change-policy", key, "--audit", "summary"),
          "export": lambda key: ("export", key)}


def key_for(vault, order):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp", *(["--pre-active"] if order in ("activate", "destroy") else []))
    return key["key_id"]


@pytest.mark.parametrize("order", ORDERS)
def test_an_identity_alone_does_not_do_what_needs_officers(vault, order):
    key_id = key_for(vault, order)
    before = vault.psql(f"SELECT * FROM keys WHERE key_id = '{key_id}'")
    for sender, why in (("operator", "this needs officers' approval"), ("gateway", "service 'gateway' may not send")):
        result = vault.probe(sender, *ORDERS[order](key_id))[0]
        assert result["code"] == DENIED and why in result["message"], result
    for fields in ({"key": key_id, "policy-version": 1, "from": "active", "to": "suspended"},  # approved, and another thing
                   {"key": uuid.uuid4().hex, "policy-version": 1, "from": "active", "to": "retired"}):
        action = vault.approved("change-key-state", fields, service="operator")
        result = vault.probe("operator", *ORDERS[order](key_id), "--action", action)[0]
        assert result["code"] == DENIED, result
    unapproved = vault.propose("operator", "export-key", {"key": key_id})["id"]
    assert vault.probe("operator", *ORDERS[order](key_id), "--action", unapproved)[0]["code"] == DENIED
    assert vault.psql(f"SELECT * FROM keys WHERE key_id = '{key_id}'") == before


def test_a_person_alone_marks_a_key_as_compromised_and_the_event_says_who(vault):
    """No daemon may: the gateway, which reads what strangers send, cannot end a key's life."""
    key_id = key_for(vault, "retire")
    for sender in ("gateway", "issuer"):
        result = vault.probe(sender, "change-state", key_id, "compromised")[0]
        assert result["code"] == DENIED and f"service '{sender}' may not send" in result["message"], result
    alice = vault.dir / "identity" / "alice"
    subprocess.run([BUILD / "bin/chancery", "system-ca", "issue", "--directory", vault.dir / "pki", "--service", "operator",
                    "--instance", "alice", "--out", alice], check=True, timeout=60)
    assert command(vault, "compromise", key_id, identity="alice").returncode == 0
    assert re.search(rb"key\.state-changed.*?alice", vault.events(), re.S)


def test_an_approval_is_used_once(vault):
    key_id = key_for(vault, "export")
    action = vault.approved("export-key", {"key": key_id}, service="operator")
    assert vault.probe("operator", "export", key_id, "--action", action)[0]["code"] == 0
    again = vault.probe("operator", "export", key_id, "--action", action)[0]
    assert again["code"] == REPLAYED, again


# --- policy and export --------------------------------------------------------------------------------------------------------


def test_officers_change_what_limits_a_key(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    words = ["set-policy", key["key_id"], "--quota-burst", "3", "--quota-per-hour", "1", "--audit", "each"]
    done = with_officer(vault, *words, "--json")
    assert json.loads(done.stdout)["quota_burst"] == 3
    shown = json.loads(command(vault, "show", key["key_id"], "--json").stdout)
    assert (shown["quota_burst"], shown["quota_per_hour"], shown["audit_mode"], shown["policy_version"]) == (3, 1, "each", 2)
    tbs = response_data(key)
    time.sleep(1.1)
    assert signed(vault.sign("ocsp", key["key_id"], "ocsp", *[tbs] * 5)) == 3
    assert b"key.policy-changed" in vault.events()


def test_officers_allow_a_key_an_extension_that_the_vault_does_not_know(vault):
    ca = vault.make_ca("Extension CA")
    tbs = end_entity_tbs(ca["name"], more=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.7"), b"\x05\x00")])
    result = vault.sign("issuer", ca["key_id"], "end-entity-certificate", tbs)
    assert result["code"] == DENIED and "extension 1.3.6.1.4.1.99999.7 is not signed" in result["message"], result
    done = with_officer(vault, "set-policy", ca["key_id"], "--extra-extensions", "1.3.6.1.4.1.99999.7", "--json")
    assert json.loads(done.stdout)["extra_extensions"] == ["1.3.6.1.4.1.99999.7"]
    assert vault.sign("issuer", ca["key_id"], "end-entity-certificate", tbs)["code"] == 0
    assert vault.psql(f"SELECT extra_extensions FROM keys WHERE key_id = '{ca['key_id']}'") == "{1.3.6.1.4.1.99999.7}"
    vault.psql(f"UPDATE keys SET extra_extensions = '{{1.2.3.4}}' WHERE key_id = '{ca['key_id']}'")  # a database administrator
    wait_for(lambda: "changed outside the vault" in vault.sign("issuer", ca["key_id"], "end-entity-certificate", tbs).get("message", ""), 5,
             "an edited row to refuse")


def test_officers_see_all_of_the_policy_that_a_new_one_replaces(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    with_officer(vault, "set-policy", key["key_id"], "--extra-extensions", "1.3.6.1.4.1.99999.7", "--verify-signatures", "no")
    back = command(vault, "set-policy", key["key_id"])
    action = vault.probe("gateway", "action", re.search(r"chancery approve ([0-9a-f]{32})", back.stderr).group(1))[0]
    replaces = re.search(r"^about-replaces: (.*)$", bytes.fromhex(action["document"]).decode(), re.M).group(1)
    assert "verify-signatures no; extra-extensions 1.3.6.1.4.1.99999.7" in replaces, replaces


def test_a_policy_that_was_not_approved_is_refused(vault):
    """The approval is for one policy: with another the document differs."""
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    approve_waiting(vault, command(vault, "set-policy", key["key_id"], "--quota-burst", "3", "--quota-per-hour", "1"))
    other = command(vault, "set-policy", key["key_id"], "--quota-burst", "4", "--quota-per-hour", "1")
    assert other.returncode == 5 and "waits for officers: 0 of" in other.stderr


def test_a_key_that_wants_more_officers_than_the_quorum(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    with_officer(vault, "set-policy", key["key_id"], "--approvals-required", "2")
    approve_waiting(vault, command(vault, "retire", key["key_id"]))
    done = command(vault, "retire", key["key_id"])
    assert done.returncode in (4, 5), done.stderr
    assert state_of(vault, key) == "active"


def test_an_exported_key_opens_only_under_the_key_encryption_key(vault, tmp_path):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    out = tmp_path / "key.wrapped"
    with_officer(vault, "export", key["key_id"], "--out", out)
    wrapped = out.read_bytes()
    assert stat.S_IMODE(out.stat().st_mode) == 0o400
    assert wrapped.hex() == vault.psql(f"SELECT encode(wrapped_key, 'hex') FROM keys WHERE key_id = '{key['key_id']}'")
    for kek in (bytes(32), os.urandom(32)):
        with pytest.raises(keywrap.InvalidUnwrap):
            keywrap.aes_key_unwrap_with_padding(kek, wrapped)
    with pytest.raises(ValueError):
        serialization.load_der_private_key(wrapped, None)
    assert b"key.exported" in vault.events()
    again = command(vault, "export", key["key_id"], "--out", out)
    assert again.returncode == 1 and "exists already" in again.stderr
