# SPDX-License-Identifier: Apache-2.0
"""Old rows put back by a database administrator, with their old seals: refused with an alert, by a vault that was started after it and by
another vault that never saw the newer ones. What tells is in the HSMs."""
import lone_vault as lone
import pytest
from conftest import wait_for
from lone_vault import LoneVault, SecondVault, crl_tbs, name, secret

DENIED, REPLAYED = 2, 9


@pytest.fixture(scope="module")
def vault():
    made = LoneVault(officers=("officer", "second"))
    yield made
    made.remove()


def alerted(vault, reason):
    """In the events of any vault of the installation."""
    spools = [path.read_bytes() for path in vault.dir.glob("state*/**/*") if path.is_file()]
    return any(b"vault.alert" in content and reason.encode() in content for content in spools)


def keep(vault, table, where):
    vault.psql(f"DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM {table} WHERE {where}")


def put_back(vault, table, key, columns):
    values = ", ".join(f"{column} = kept.{column}" for column in columns)
    vault.psql(f"UPDATE {table} SET {values} FROM kept WHERE {table}.{key} = kept.{key}")


def test_old_rows_are_refused_by_vaults_that_never_saw_newer_ones(vault):
    root = vault.make_ca("Marked Root")
    key_id, other = root["key_id"], vault.make_ca("Counting Root")["key_id"]
    state = vault.psql("SELECT string_agg(column_name, ',') FROM information_schema.columns WHERE table_name = 'keys' "
                       "AND column_name NOT IN ('key_id', 'last_number', 'last_tbs_sha256', 'number_seal')").split(",")
    sign = lambda asked, number: asked.sign("crl", other, "crl", crl_tbs(name("Counting Root"), number))

    # The newer rows: a suspended key, a number, a quorum, a used action.
    keep(vault, "keys", f"key_id = '{key_id}'")
    assert vault.probe("operator", "change-state", key_id, "suspended")[0]["code"] == 0
    assert sign(vault, 5)["code"] == 0
    vault.psql(f"DROP TABLE IF EXISTS number; CREATE TABLE number AS SELECT * FROM keys WHERE key_id = '{other}'")
    assert sign(vault, 9)["code"] == 0
    vault.psql("DROP TABLE IF EXISTS old_quorum; CREATE TABLE old_quorum AS SELECT * FROM quorums")
    officers = f"officer={vault.public_key_digest('officer')}"
    change = vault.approved("change-quorum", {"version": 2, "required": 1, "officers": officers}, service="operator")
    assert vault.probe("operator", "change-quorum", 2, 1, officers, "--action", change)[0]["code"] == 0
    vault.psql("DROP TABLE IF EXISTS new_quorum; CREATE TABLE new_quorum AS SELECT * FROM quorums")
    export = vault.approved("export-key", {"key": other}, service="operator")
    assert vault.probe("operator", "export", other, "--action", export)[0]["code"] == 0

    # All of it back as it was, while no vault runs; then one that is started again, and a new one.
    vault.stop()
    put_back(vault, "keys", "key_id", state)
    vault.psql("UPDATE keys SET last_number = number.last_number, last_tbs_sha256 = number.last_tbs_sha256, number_seal = "
               "number.number_seal FROM number WHERE keys.key_id = number.key_id")
    vault.psql(f"UPDATE actions SET used_at = NULL, used_by = NULL WHERE action_id = '{export}'")
    vault.start()
    second = SecondVault(vault)
    second.start()
    try:
        for asked in (vault, second.ask):
            refused = asked.sign("crl", key_id, "crl", crl_tbs(name("Marked Root"), 1))
            assert refused["code"] == DENIED and "it is one of before" in refused["message"], refused
            refused = sign(asked, 6)
            assert refused["code"] == DENIED and "its last number was changed outside the vault" in refused["message"], refused
            refused = asked.probe("operator", "export", other, "--action", export)[0]
            assert refused["code"] == REPLAYED, refused
        vault.psql("UPDATE quorums SET version = o.version, quorum = o.quorum, seal = o.seal FROM old_quorum o "
                   "WHERE quorums.tenant_id = o.tenant_id")
        for asked in (vault, second.ask):
            refused = asked.propose("operator", "export-key", {"key": other})
            assert refused["code"] == DENIED and "was replaced before" in refused["message"], refused
    finally:
        second.kill()
        vault.psql("UPDATE quorums SET version = n.version, quorum = n.quorum, seal = n.seal FROM new_quorum n "
                   "WHERE quorums.tenant_id = n.tenant_id")
    for reason in ("policy-seal", "number-seal", "action-reused", "quorum-old"):
        wait_for(lambda: alerted(vault, reason), 5, f"a vault.alert with reason {reason}")


def test_an_hsm_that_was_away_gets_what_it_lacks_and_answers_for_the_other(vault):
    """Written while b was shut out, the mark is in b when a alone is gone: another vault, which has b alone, knows by it that the
    number in the database is an old one."""
    key_id = vault.make_ca("Away Root")["key_id"]
    sign = lambda asked, number: asked.sign("crl", key_id, "crl", crl_tbs(name("Away Root"), number))
    assert sign(vault, 2)["code"] == 0
    vault.psql(f"DROP TABLE IF EXISTS number; CREATE TABLE number AS SELECT * FROM keys WHERE key_id = '{key_id}'")
    told = (vault.dir / "vault.log").read_text().count("marks that it lacked")
    assert lone.hsm_command(vault, "disable", "b").returncode == 0
    assert sign(vault, 5)["code"] == 0
    assert lone.hsm_command(vault, "enable", "b").returncode == 0
    wait_for(lambda: (vault.dir / "vault.log").read_text().count("marks that it lacked") > told, 20, "the marks to be brought to HSM b")
    second = SecondVault(vault)
    second.start()
    try:
        assert lone.hsm_command(second.ask, "disable", "a").returncode == 0
        vault.psql("UPDATE keys SET last_number = number.last_number, last_tbs_sha256 = number.last_tbs_sha256, number_seal = "
                   "number.number_seal FROM number WHERE keys.key_id = number.key_id")
        refused = sign(second.ask, 3)
        assert refused["code"] == DENIED and "its last number was changed outside the vault" in refused["message"], refused
    finally:
        second.kill()


def test_a_data_key_that_was_taken_away_is_missed(vault):
    """The one before it would seal again; a vault that never saw the newer one knows that there was one."""
    sealed = secret(vault, "gateway", "seal", "contact/1", "07" * 20)
    version = int(secret(vault, "operator", "rotate"), 16)
    assert version == int(sealed[2:10], 16) + 1
    assert not secret(vault, "gateway", "seal", "contact/1", "07" * 20).startswith("error")
    vault.stop()
    vault.psql(f"CREATE TABLE taken AS SELECT * FROM data_keys WHERE version = {version}; DELETE FROM data_keys WHERE version = {version}")
    vault.start()
    refused = secret(vault, "gateway", "seal", "contact/1", "07" * 20)
    assert refused.startswith("error denied") and f"data key {version} of tenant 'default' was removed outside the vault" in refused
    wait_for(lambda: alerted(vault, "data-key-old"), 5, "a vault.alert with reason data-key-old")
    vault.psql("INSERT INTO data_keys SELECT * FROM taken")
    assert not secret(vault, "gateway", "seal", "contact/1", "07" * 20).startswith("error")


def test_a_restored_backup_counts_when_its_keeper_says_so(vault):
    """Rows and numbers of before are refused, whoever put them there, until --database-restored; used actions stay used."""
    key_id = vault.make_ca("Restored Root")["key_id"]
    sign = lambda number: vault.sign("crl", key_id, "crl", crl_tbs(name("Restored Root"), number))
    used = vault.approved("export-key", {"key": key_id}, service="operator")
    assert sign(2)["code"] == 0
    columns = vault.psql("SELECT string_agg(column_name, ',') FROM information_schema.columns WHERE table_name = 'keys' "
                         "AND column_name <> 'key_id'").split(",")
    keep(vault, "keys", f"key_id = '{key_id}'")  # the backup
    assert sign(7)["code"] == 0
    assert vault.probe("operator", "export", key_id, "--action", used)[0]["code"] == 0
    assert vault.probe("operator", "change-state", key_id, "suspended")[0]["code"] == 0
    refused = lone.vault_command(vault, "--database-restored")
    assert refused.returncode == 1 and "stop every vault first" in refused.stderr, refused.stderr
    vault.stop()
    put_back(vault, "keys", "key_id", columns)
    vault.psql(f"UPDATE actions SET used_at = NULL, used_by = NULL WHERE action_id = '{used}'")
    vault.start()
    assert sign(3)["code"] == DENIED
    vault.stop()
    done = lone.vault_command(vault, "--database-restored")
    assert done.returncode == 0 and f"forgotten: number/{key_id}" in done.stdout and "action/" not in done.stdout, done.stdout + done.stderr
    vault.start()
    wait_for(lambda: sign(3)["code"] == 0, 20, "the restored row to count")
    assert vault.probe("operator", "export", key_id, "--action", used)[0]["code"] == REPLAYED
