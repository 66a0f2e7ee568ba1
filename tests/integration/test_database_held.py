# SPDX-License-Identifier: Apache-2.0
"""What each daemon's database role, in somebody else's hands, can hold up of a running suite: every table and row that it may lock is locked, and
every connection that it may have is taken. All but that role's own work goes on, and that goes on afterwards."""
import contextlib
import os

import psycopg2
import pytest
import requests
from conftest import wait_for
from cryptography import x509
from test_ocsp import Leaf, ask_for, issuer, post as ask_ocsp, read  # noqa: F401 (issuer is a fixture)
from test_tsa import granted, post as ask_tsa, query

MODES = ("ACCESS EXCLUSIVE", "EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE", "SHARE UPDATE EXCLUSIVE", "ROW EXCLUSIVE", "ROW SHARE", "ACCESS SHARE")
ROWS = ("UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE")


class Jobs:
    """What a suite is for. Each raises where it is not done."""

    def __init__(self, suite, issuer):
        self.suite, self.issuer, self.leaf = suite, issuer, Leaf(suite)

    def issue(self):
        return self.suite.issue()["serial"]

    def revoke(self):
        serial = self.suite.issue()["serial"]
        self.suite.revoke(serial)
        return serial

    def make_crl(self):
        answer = self.suite.api("POST", f"/v1/crls/{self.suite.issuing_ca}")
        assert answer.status_code == 201, answer.text

    def serve_crl(self):
        x509.load_der_x509_crl(requests.get(f"{self.suite.http}/crl/{self.suite.issuing_ca}.crl", timeout=10).content)

    def ocsp(self):
        answer = read(ask_ocsp(self.suite.http, ask_for(self.leaf.certificate, self.issuer)))
        assert answer.certificate_status.name == "GOOD"

    def timestamp(self):
        granted(ask_tsa(self.suite, query()))

    def audit(self):
        """What the gateway refuses comes into the log."""
        before = self.suite.psql("SELECT max(log_sequence) FROM audit_log")[0][0]
        assert self.suite.api("GET", "/v1/cas", role=None).status_code == 401
        wait_for(lambda: self.suite.psql("SELECT max(log_sequence) FROM audit_log")[0][0] > before, 10, "an event")


ALL = ("issue", "revoke", "make_crl", "serve_crl", "ocsp", "timestamp", "audit")
# What is the role's own work: its service does it, or waits for what its service keeps.
OWN = {
    "chancery_issuer": ("issue", "revoke"),
    "chancery_crl": ("make_crl",),
    "chancery_ocsp": (),
    "chancery_tsa": (),
    "chancery_audit": ("audit",),
    "chancery_vault": ("issue", "revoke", "make_crl", "timestamp"),
    "chancery_gateway": (),
    "chancery_auditor": (),
}


@pytest.fixture(scope="module")
def jobs(suite, issuer):  # noqa: F811
    return Jobs(suite, issuer)


def connect(suite, role):
    """As the user of that role's daemon, whom PostgreSQL knows by the socket."""
    instance = next((name for name in suite.instances() if name == f"{role.removeprefix('chancery_')}-1"), None)
    user = os.stat(f"/proc/{suite.pid(instance)}").st_uid if instance else 0
    os.seteuid(user)
    try:
        return psycopg2.connect(host=str(suite.dir / "run"), dbname="chancery", user=role, options="-c lock_timeout=300 -c chancery.tenant=default")
    finally:
        os.seteuid(0)


def attempt(cursor, statement):
    cursor.execute("SAVEPOINT before")
    try:
        cursor.execute(statement)
        return True
    except psycopg2.Error:
        cursor.execute("ROLLBACK TO before")
        return False


def lock_all(suite, connection):
    """The strongest lock of each table, and of each table's rows, that the role gets. Gives what it holds."""
    tables = [name for (name,) in suite.psql("SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')")]
    cursor, held = connection.cursor(), {}
    for table in tables:
        held[table] = [next((mode for mode in MODES if attempt(cursor, f"LOCK TABLE {table} IN {mode} MODE")), None),
                       next((rows for rows in ROWS if attempt(cursor, f"SELECT 1 FROM {table} FOR {rows}")), None)]
    return held


def take_all(suite, role, held):
    with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
        for _ in range(200):
            held.enter_context(contextlib.closing(connect(suite, role)))


@pytest.mark.parametrize("role", OWN)
def test_locks_of_a_role_hold_up_its_own_work_alone(suite, jobs, role):
    others = [job for job in ALL if job not in OWN[role]]
    with contextlib.closing(connect(suite, role)) as connection:
        held = lock_all(suite, connection)
        for job in others:
            try:
                getattr(jobs, job)()
            except Exception as failed:
                raise AssertionError(f"{job}, while {role} held {({table: what for table, what in held.items() if any(what)})}") from failed
    for job in OWN[role]:
        wait_for(lambda job=job: works(jobs, job), 30, f"{job} to work again")


def works(jobs, job):
    try:
        getattr(jobs, job)()
        return True
    except (AssertionError, requests.RequestException):
        return False


@pytest.mark.parametrize("role", OWN)
def test_a_flood_of_a_role_holds_up_its_own_work_alone(suite, jobs, role):
    with contextlib.ExitStack() as held:
        take_all(suite, role, held)
        for job in ALL:
            if job not in OWN[role]:
                getattr(jobs, job)()
    for job in ALL:
        wait_for(lambda job=job: works(jobs, job), 30, f"{job} to work again")
