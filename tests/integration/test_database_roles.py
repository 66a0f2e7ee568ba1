# SPDX-License-Identifier: Apache-2.0
"""What a daemon's role can do to the others when somebody else connects with it: nothing that the suite waits for may be locked by it, and it
cannot take all connections. Each role is tried by psycopg2 against the schema as `chancery db migrate` leaves it."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import psycopg2
import pytest

from conftest import BUILD, TOP
from lone_vault import PRIVATE_POSTGRES

ROLES = ("chancery_gateway", "chancery_issuer", "chancery_ocsp", "chancery_tsa", "chancery_crl", "chancery_audit", "chancery_vault",
         "chancery_auditor")
# Who may lock what others of its kind wait for; nobody may keep the schema as it is.
LOCKED_BY = {"audit_locks": "chancery_audit", "audit_log": "chancery_audit", "audit_senders": "chancery_audit", "audit_quarantine": "chancery_audit",
             "audit_quarantine_senders": "chancery_audit", "issuer_leases": "chancery_issuer",
             "certificates": "chancery_issuer", "cas": "chancery_issuer", "revocation_log_head": "chancery_issuer", "keys": "chancery_vault",
             "crl_leases": "chancery_crl", "tenants": None, "schema_migrations": None}
STRONG = ("SHARE", "SHARE UPDATE EXCLUSIVE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")


@pytest.fixture(scope="module")
def server():
    """A server with the schema; gives how to connect as a role."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="chancery-roles-"))
    url = subprocess.run([PRIVATE_POSTGRES, "start", directory], capture_output=True, text=True, check=True).stdout.strip()
    try:
        subprocess.run([BUILD / "bin" / "chancery", "db", "migrate", "--database", url, "--schema", TOP / "proto" / "schema"], check=True)
        yield lambda role: psycopg2.connect(f"host={directory}/run dbname=chancery user={role}")
    finally:
        subprocess.run([PRIVATE_POSTGRES, "stop", directory], check=True)
        shutil.rmtree(directory)


def refused(server, role, statement):
    with contextlib.closing(server(role)) as connection, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 2000")
        try:
            cursor.execute(statement)
        except psycopg2.errors.InsufficientPrivilege:
            return True
        return False


@pytest.mark.parametrize("role", ROLES)
def test_no_role_holds_an_advisory_lock(server, role):
    for statement in ("SELECT pg_advisory_lock(4841, 1)", "SELECT pg_advisory_xact_lock(1)", "SELECT pg_try_advisory_lock_shared(1)"):
        assert refused(server, role, statement), statement
    with contextlib.closing(server("owner")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'pg%%advisory%%'"
                       " AND has_function_privilege(%s, oid, 'EXECUTE')", (role,))
        assert not cursor.fetchall()


@pytest.mark.parametrize("role", ROLES)
def test_no_role_makes_anything(server, role):
    for statement in ("CREATE TEMP TABLE mine (a int)", "CREATE TABLE mine (a int)", "CREATE SCHEMA mine", "CREATE FUNCTION mine() RETURNS int"
                      " LANGUAGE sql AS 'SELECT 1'"):
        assert refused(server, role, statement), statement


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", LOCKED_BY)
def test_what_a_service_waits_for_is_locked_by_no_other_role(server, role, table):
    if LOCKED_BY[table] == role:
        return
    for mode in STRONG:
        assert refused(server, role, f"LOCK TABLE {table} IN {mode} MODE"), mode
    for strength in ("UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"):
        assert refused(server, role, f"SELECT 1 FROM {table} FOR {strength}"), strength


@pytest.mark.parametrize("role", ROLES)
def test_what_others_use_too_is_locked_against_them_by_no_role(server, role):
    """Neither the tables that are there nor those that will be: what another role has any right on, this one cannot lock against reading or writing."""
    with contextlib.closing(server("owner")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND EXISTS"
                       " (SELECT FROM unnest(%s) AS other WHERE other <> %s AND"
                       "  (has_any_column_privilege(other, c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(other, c.oid, 'DELETE')))",
                       (list(ROLES), role))
        shared = [name for (name,) in cursor.fetchall()]
    assert {"cas", "certificates", "audit_outbox", "revocation_log_head"} <= set(shared)
    for table in shared:
        for mode in STRONG:
            assert refused(server, role, f"LOCK TABLE {table} IN {mode} MODE"), (table, mode)


def test_a_lock_of_a_cas_row_holds_up_no_crl(server, ca):
    with contextlib.closing(server("chancery_issuer")) as issuer, contextlib.closing(server("chancery_crl")) as crl:
        issuer.cursor().execute("SELECT set_config('chancery.tenant', 'default', false)")
        cursor = issuer.cursor()
        cursor.execute("SELECT ca_id FROM cas FOR UPDATE")
        assert cursor.fetchall() == [(ca,)]
        cursor = crl.cursor()
        cursor.execute("SET lock_timeout = 2000; SELECT set_config('chancery.tenant', 'default', false)")
        cursor.execute("INSERT INTO crl_leases (ca_id, holder, expires_at) VALUES (%s, 'crl-1/0', now())", (ca,))
        cursor.execute("INSERT INTO crls (ca_id, crl_number, tenant_id, state, this_update, next_update, log_sequence, made_by)"
                       " VALUES (%s, 1, 'default', 'reserved', now(), now() + interval '1 day', 0, 'crl-1')", (ca,))
        for statement, words in (("INSERT INTO crl_leases (ca_id, holder, expires_at) VALUES (12345, 'crl-1/0', now())", "there is no CA 12345"),
                                 ("INSERT INTO crls (ca_id, crl_number, tenant_id, state, this_update, next_update, log_sequence, made_by)"
                                  " VALUES (12345, 2, 'default', 'reserved', now(), now() + interval '1 day', 0, 'crl-1')", "there is no CA 12345"),
                                 (f"UPDATE crls SET tenant_id = 'other' WHERE ca_id = {ca}", "is not of tenant other")):
            cursor.execute("SAVEPOINT before")
            with pytest.raises(psycopg2.errors.ForeignKeyViolation, match=words):
                cursor.execute(statement)
            cursor.execute("ROLLBACK TO before")


def test_a_ca_is_neither_deleted_nor_moved(server, ca):
    for statement in ("DELETE FROM cas", "UPDATE cas SET tenant_id = 'other'"):
        with contextlib.closing(server("owner")) as connection, connection.cursor() as cursor, \
                pytest.raises(psycopg2.errors.CheckViolation, match="neither deleted nor moved"):
            cursor.execute(statement)


def test_services_wait_for_the_row_that_another_of_them_holds(server):
    with contextlib.closing(server("chancery_audit")) as one, contextlib.closing(server("chancery_audit")) as other:
        one.cursor().execute("SELECT name FROM audit_locks WHERE name = 'append' FOR UPDATE")
        cursor = other.cursor()
        cursor.execute("SET lock_timeout = 200")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            cursor.execute("SELECT name FROM audit_locks WHERE name = 'append' FOR UPDATE")
        other.rollback()
        cursor.execute("SELECT name FROM audit_locks WHERE name = 'checkpoint' FOR UPDATE SKIP LOCKED")
        assert cursor.fetchall() == [("checkpoint",)]


# --- nothing un-revokes: what a taken-over issuer tries --------------------------------------------------------------------------------------

PERIOD = 683  # 2026-12: a serial's first two octets


@pytest.fixture(scope="module")
def ca(server):
    with contextlib.closing(server("owner")) as connection, connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, public_key_sha256, residency)"
                       " VALUES ('k', 'default', '', 'ecdsa-p256', '{}', '', '', '{}')")
        cursor.execute("INSERT INTO cas (tenant_id, name, state, document, document_sha256, subject_der, subject, key_id, key_algorithm,"
                       " public_key_info, key_identifier, tbs_certificate, certificate_der, not_before, not_after, serial_tag_key)"
                       " VALUES ('default', 'root', 'active', '', '', '', '', 'k', 'ecdsa-p256', '', '', '', '', now(), now(), '') RETURNING ca_id")
        found = cursor.fetchone()[0]
        cursor.execute("SELECT ensure_certificate_partitions(%s, %s)", (PERIOD, PERIOD))
        return found


class Issuer:
    """The issuer's role in its tenant: each statement is a transaction."""

    def __init__(self, server, ca):
        self.connection, self.ca, self.made = server("chancery_issuer"), ca, 0
        self.does("SELECT set_config('chancery.tenant', 'default', false)")

    def does(self, statement, *parameters):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else cursor.rowcount

    def certificate(self, status):
        """A new row, brought to that status as the issuer does it; its serial."""
        self.made += 1
        serial = PERIOD.to_bytes(2, "big") + os.urandom(8)
        self.does("INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, profile_version, subject, public_key_sha256,"
                  " not_before, not_after, requested_by, reserved_by, tbs_certificate) VALUES (%s, %s, %s, 'default', 'pending', 'p', 1, '', '',"
                  " now(), now() + interval '1 day', '', '', 'tbs')", PERIOD, self.ca, serial)
        for step in {"pending": (), "issued": ("issued",), "cancelled": ("cancelled",), "suspended": ("issued", "suspended"),
                     "revoked": ("issued", "revoked")}[status]:
            assert self.become(serial, step) == 1
            if step in ("suspended", "revoked"):
                self.log(serial, step)
        return serial

    def become(self, serial, status):
        off = status in ("revoked", "suspended")
        return self.does("UPDATE certificates SET status = %s, certificate_der = CASE WHEN %s THEN 'der' ELSE certificate_der END,"
                         " revoked_at = CASE WHEN %s THEN now() END, revocation_reason = CASE WHEN %s THEN 1 END WHERE ca_id = %s AND serial = %s",
                         status, status == "issued", off, off, self.ca, serial)

    def log(self, serial, action, moved=1, reason=None, revoked_at="2026-12-01Z"):
        reason = {"revoked": 1, "suspended": 6, "reinstated": 8}[action] if reason is None else reason
        return self.does("WITH head AS (UPDATE revocation_log_head SET sequence = sequence + 1 RETURNING sequence)"
                         " INSERT INTO revocation_log (sequence, tenant_id, ca_id, serial, action, reason, revoked_at)"
                         " SELECT sequence + %s - 1, 'default', %s, %s, %s, %s, %s FROM head", moved, self.ca, serial, action, reason, revoked_at)

    def logged(self, serial):
        return [row[0] for row in self.does("SELECT action FROM revocations WHERE ca_id = %s AND serial = %s", self.ca, serial)]


@pytest.fixture
def issuer(server, ca):
    issuer = Issuer(server, ca)
    yield issuer
    issuer.connection.close()


FORWARDS = {"pending": {"issued", "cancelled", "revoked"}, "issued": {"suspended", "revoked"}, "suspended": {"issued", "revoked"},
            "cancelled": {"revoked"}, "revoked": set()}


@pytest.mark.parametrize("before", FORWARDS)
def test_a_certificates_status_moves_one_way(issuer, before):
    for after in FORWARDS.keys() - {before}:
        serial = issuer.certificate(before)
        if after in FORWARDS[before]:
            assert issuer.become(serial, after) == 1
        else:
            with pytest.raises(psycopg2.errors.CheckViolation, match=f"{before} does not become {after}"):
                issuer.become(serial, after)


@pytest.mark.parametrize("change", ["certificate_der = 'other'", "not_after = now()", "public_key_sha256 = 'x'", "revoked_at = NULL",
                                    "revocation_reason = NULL", "revoked_at = '2100-01-01Z'"])
def test_what_was_revoked_is_not_rewritten(issuer, change):
    serial = issuer.certificate("revoked")
    with pytest.raises(psycopg2.errors.CheckViolation, match="is not rewritten"):
        issuer.does(f"UPDATE certificates SET {change} WHERE ca_id = %s AND serial = %s", issuer.ca, serial)


def test_the_newest_entry_of_the_log_is_what_relying_parties_are_told(issuer):
    serial = issuer.certificate("suspended")
    assert issuer.logged(serial) == ["suspended"]
    issuer.log(serial, "reinstated")
    assert issuer.logged(serial) == ["reinstated"]
    issuer.log(serial, "revoked")
    assert issuer.logged(serial) == ["revoked"]
    issuer.log(serial, "revoked")  # for another reason
    for action in ("reinstated", "suspended"):
        with pytest.raises(psycopg2.errors.CheckViolation, match=f"revoked does not become {action}"):
            issuer.log(serial, action)
    assert issuer.logged(serial) == ["revoked"]


def test_the_log_is_only_added_to_in_its_order(issuer, server):
    serial = issuer.certificate("revoked")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        issuer.log(serial, "revoked", 0)
    for moved in (2, 1000):
        with pytest.raises(psycopg2.errors.CheckViolation, match="is not the head's number"):
            issuer.log(serial, "revoked", moved)
    for sequence in ("sequence", "sequence + 2", "sequence - 1", "0"):
        with pytest.raises(psycopg2.errors.CheckViolation, match="is not the number after"):
            issuer.does(f"UPDATE revocation_log_head SET sequence = {sequence}")
    with contextlib.closing(server("owner")) as connection, connection.cursor() as cursor:
        for statement in ("UPDATE revocation_log SET reason = 0", "DELETE FROM revocation_log", "TRUNCATE revocation_log"):
            with pytest.raises(psycopg2.errors.CheckViolation, match="entries are only added"):
                cursor.execute(statement)
            connection.rollback()


def test_an_entry_says_what_readers_take_for_revoked(issuer):
    """removeFromCRL and certificateHold are no reasons of a revocation, and none begins in the future."""
    for action, reasons in {"revoked": (6, 7, 8, 11, -1), "suspended": (0, 1, 8), "reinstated": (0, 6)}.items():
        for reason in reasons:
            with pytest.raises(psycopg2.errors.CheckViolation, match=f"{reason} is no reason for {action}"):
                issuer.log(issuer.certificate("issued"), action, reason=reason)
    with pytest.raises(psycopg2.errors.CheckViolation, match="lies in the future"):
        issuer.log(issuer.certificate("issued"), "revoked", revoked_at="2100-01-01Z")
    for reason in (0, 1, 2, 3, 4, 5, 9, 10):
        issuer.log(issuer.certificate("issued"), "revoked", reason=reason)


def test_a_serial_that_the_database_has_never_seen_can_be_revoked(issuer):
    serial = b"\x01" * 3
    issuer.log(serial, "revoked")
    assert issuer.does("SELECT action, known, expiry_period, not_after FROM revocations WHERE serial = %s", serial) == [("revoked", False, 32767, None)]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_floods_leaves_the_others_their_connections(server, role):
    with contextlib.ExitStack() as held:
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            for _ in range(100):
                held.enter_context(contextlib.closing(server(role)))
        for other in set(ROLES) - {role}:
            server(other).close()
