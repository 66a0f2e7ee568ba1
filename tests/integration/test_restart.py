# SPDX-License-Identifier: Apache-2.0
"""Replicas are restarted one after the other under light load: no client sees it (tests/fault/replicas restarts all, twice). Also what
each daemon says of itself without the database."""
import pathlib
import sys

import pytest

from conftest import wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fault"))
import common  # noqa: E402 pylint: disable=wrong-import-position

BALANCED = ("gateway", "ocsp", "tsa", "crl")
RESTARTED = BALANCED + ("issuer", "vault", "audit")


def summary(suite, instance):
    return suite.operations(instance, "/readyz").json()["summary"]


def test_restarts_one_after_the_other_are_not_seen(two_replicas):
    suite = two_replicas
    with common.Load(suite, each=2) as load:
        for service in RESTARTED:
            name = f"{service}-1"
            before = suite.pid(name)
            suite.sv("restart", name)
            wait_for(lambda: suite.pid(name) not in (None, before), 30, "a new process")
            suite.wait_ready(name)
            if service in BALANCED:
                wait_for(lambda: up_in_haproxy(suite, service) == 2, 20, "HAProxy uses it again")
    for kind, clients in load.clients.items():
        assert sum(len(client.good) for client in clients) > 10, kind
        assert [line for client in clients for line in client.bad] == [], kind


def up_in_haproxy(suite, service):
    """Servers of a backend that HAProxy uses."""
    page = common.requests.get(f"http://127.0.0.1:{suite.read_ports()['stats']}/metrics", timeout=5).text
    return sum(1 for line in page.splitlines()
               if line.startswith(f'haproxy_server_status{{proxy="{service}",') and 'state="UP"' in line and line.endswith(" 1"))


@pytest.fixture
def no_database(two_replicas):
    """Away for a test. What ailed a daemon before (a CA that other tests stopped) may ail it afterwards."""
    before = {instance: summary(two_replicas, instance) for instance in two_replicas.instances()}
    two_replicas.sv("down", "postgres")
    yield two_replicas
    two_replicas.sv("up", "postgres")
    for instance in two_replicas.instances():
        two_replicas.wait_ready(instance)
        try:
            wait_for(lambda: summary(two_replicas, instance) in ("", before[instance]), 60, f"{instance} to be as before")
        except AssertionError as late:
            raise AssertionError(f"{late}: {summary(two_replicas, instance)}") from late


def test_without_the_database_each_daemon_says_what_it_can_still_do(no_database):
    suite = no_database
    for services, ready in ((("ocsp", "tsa", "crl"), True), (("vault", "issuer", "audit"), False)):
        for service in services:
            wait_for(lambda: "database: away" in summary(suite, f"{service}-1"), 10, f"{service} to say it")
            assert suite.is_ready(f"{service}-1") is ready
            assert suite.metrics(f"{service}-1")['chancery_ready{condition="database"}'] == (2 if ready else 0)
    wait_for(lambda: "issuer: answers that it cannot" in summary(suite, "gateway-1"), 15, "the gateway to say it")
    assert suite.is_ready("gateway-1")
    code, out, _ = suite.cli("status", "--operations", " ".join(
        f"{name}={suite.config(name)['operations']['listen']}" for name in ("ocsp-1", "vault-1")))
    assert code != 0 and "database: away" in out
    # What libpq says of sockets, hosts and files is for the log; a client hears that the database does not answer.
    answer = suite.api("GET", "/v1/cas")
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    for text in (answer.text, *(suite.operations(name, "/readyz").text for name in suite.instances())):
        assert not any(part in text for part in ("PGSQL", "socket", str(suite.dir), "/tmp/", "connection to server")), text
    assert any(".s.PGSQL" in line["msg"] for line in suite.log("issuer-1"))
