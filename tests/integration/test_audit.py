# SPDX-License-Identifier: Apache-2.0
"""The audit log: what is done is in it, whoever dies meanwhile; and what a superuser does to it is found and named."""
import contextlib
import hashlib
import json
import pathlib
import signal

import psycopg2
import pytest
from conftest import wait_for
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from test_bus import probe


def verify(suite):
    """(exit code, the JSON answer)"""
    found = suite.cli("audit", "verify", "--json")
    assert found.out, found.err
    return found.code, json.loads(found.out)


def assert_unbroken(suite):
    code, answer = verify(suite)
    assert (code, answer["findings"]) == (0, [])
    return answer


def named(answer, kind=None):
    """The rows that findings are about."""
    return {finding["sequence"] for finding in answer["findings"] if kind in (None, finding["kind"])}


def events(suite, **filters):
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    answer = suite.api("GET", f"/v1/audit/events?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["events"]


def wait_for_event(suite, **filters):
    return wait_for(lambda: events(suite, **filters), 15, f"an event {filters}")[0]


def log_size(suite):
    return suite.psql("SELECT coalesce(max(log_sequence), 0) FROM audit_log")[0][0]


def newest_checkpoint(suite):
    return suite.psql("SELECT coalesce(max(log_size), 0) FROM audit_checkpoints")[0][0]


def wait_for_checkpoint(suite, size):
    wait_for(lambda: newest_checkpoint(suite) >= size, 15, f"a checkpoint of size {size}")


@contextlib.contextmanager
def collector_down(suite):
    suite.sv("down", "audit-1")
    try:
        yield
    finally:
        suite.sv("up", "audit-1")
        suite.wait_ready("audit-1")


@contextlib.contextmanager
def tampered(suite, *statements):
    """Does that as a superuser while the audit daemon is down, and puts everything back."""
    with collector_down(suite):
        suite.psql("DROP TABLE IF EXISTS kept_log, kept_checkpoints")
        suite.psql("CREATE TABLE kept_log AS SELECT * FROM audit_log")
        suite.psql("CREATE TABLE kept_checkpoints AS SELECT * FROM audit_checkpoints")
        try:
            for statement in statements:
                suite.psql(statement)
            yield
        finally:
            suite.psql("TRUNCATE audit_log, audit_checkpoints")
            suite.psql("INSERT INTO audit_log SELECT * FROM kept_log")
            suite.psql("INSERT INTO audit_checkpoints SELECT * FROM kept_checkpoints")
            suite.psql("DROP TABLE kept_log, kept_checkpoints")


# --- what is in it --------------------------------------------------------------------------------------------------------


def test_every_daemon_told_that_it_started(suite):
    for instance in suite.instances():
        wait_for(lambda name=instance: any(event["instance"] == name for event in events(suite, type="daemon.started", limit=1000)), 15,
                 f"daemon.started of {instance}")


def test_issuing_and_revoking_are_in_the_log_with_who_and_what(suite):
    serial = suite.issue()["serial"]
    suite.revoke(serial)
    issued = wait_for_event(suite, type="certificate.issued", subject=serial)
    revoked = wait_for_event(suite, type="certificate.revoked", subject=serial)
    assert issued["service"] == revoked["service"] == "issuer"
    assert issued["tenant"] == "default" and issued["outcome"] == "success"
    assert issued["log_sequence"] < revoked["log_sequence"]
    assert suite.psql("SELECT count(*) FROM audit_log WHERE subject = %s AND type = 'vault.signed'", (serial,))[0][0] <= 1


def test_what_the_vault_signed_can_be_had_from_the_log_alone(suite, tmp_path):
    """A certificate that a taken-over issuer hides is in no database but the log's."""
    issued = suite.issue()
    event = wait_for_event(suite, type="vault.signed", subject=issued["serial"])
    assert "content" not in event
    done = suite.cli("audit", "content", event["log_sequence"], "--out", tmp_path / "signed.der")
    assert done.code == 0, done.err
    signed = (tmp_path / "signed.der").read_bytes()
    assert signed == x509.load_pem_x509_certificate(issued["certificate"].encode()).tbs_certificate_bytes
    assert hashlib.sha256(signed).hexdigest() == event["details"]["tbs_sha256"]
    other = wait_for_event(suite, type="certificate.issued", subject=issued["serial"])
    for number, code, words in ((other["log_sequence"], 3, "keeps no octets"), (10**12, 3, "no event 1000000000000"),
                                ("0", 1, "'0' is no event's sequence number"), ("1x", 1, "'1x' is no event's sequence number")):
        done = suite.cli("audit", "content", number, "--out", tmp_path / "none.der")
        assert done.code == code and words in done.err, done
    assert not (tmp_path / "none.der").exists()
    assert suite.api("GET", "/v1/audit/events?with_content=true&limit=101").status_code == 400
    assert suite.api("GET", "/v1/audit/events?with_content=maybe").status_code == 400


def test_pages_and_filters(suite):
    everything = events(suite, limit=1000)
    numbers = [event["log_sequence"] for event in everything]
    assert numbers[0] == 1 and numbers == sorted(set(numbers))
    page = suite.api("GET", "/v1/audit/events?limit=2").json()
    assert [event["log_sequence"] for event in page["events"]] == [1, 2] and page["next_after"] == 2
    newest = events(suite, limit=2, newest_first="true")
    assert newest[0]["log_sequence"] == newest[1]["log_sequence"] + 1
    assert all(event["type"] == "key.generated" for event in events(suite, type="key.generated"))


def test_the_log_is_unbroken_and_soon_under_a_checkpoint(suite):
    suite.issue()
    size = log_size(suite)
    wait_for_checkpoint(suite, size)
    answer = assert_unbroken(suite)
    assert answer["events"] >= size and answer["covered_by_checkpoint"] >= size
    assert (suite.dir / "state/audit-1/checkpoint").read_text().startswith("chancery\n")


def test_one_checkpoint_key_whose_signature_openssl_accepts(suite, tmp_path):
    import base64
    import subprocess
    wait_for_checkpoint(suite, 1)
    assert suite.psql("SELECT count(*) FROM keys WHERE checkpoint_origin = 'chancery'")[0][0] == 1
    text, _, rest = (suite.dir / "state/audit-1/checkpoint").read_text().partition("\n\n")
    (tmp_path / "text").write_text(text + "\n")
    (tmp_path / "signature").write_bytes(base64.b64decode(rest.splitlines()[1]))
    subprocess.run(["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", suite.dir / "state/audit-1/checkpoint-key.der", "-signature",
                    tmp_path / "signature", tmp_path / "text"], check=True, capture_output=True)


# --- what is not taken ----------------------------------------------------------------------------------------------------


def test_a_vault_that_names_another_checkpoint_key_is_not_believed(suite):
    """The first key seen is kept in the state directory; what another one signs would cover any log."""
    kept = pathlib.Path(suite.env["CHANCERY_AUDIT_STATE"].split()[0]) / "checkpoint-key.der"
    own = kept.read_bytes()
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(serialization.Encoding.DER,
                                                                            serialization.PublicFormat.SubjectPublicKeyInfo)
    told = "the vault's checkpoint key is not the one in"
    suite.sv("down", "audit-1")
    try:
        wait_for(lambda: suite.pid("audit-1") is None or not suite.is_ready("audit-1"), 20, "audit-1 to be down")
        before = newest_checkpoint(suite)
        kept.write_bytes(other)
        earlier = suite.raw_log("audit-1").count(told)
        suite.sv("up", "audit-1")
        suite.wait_ready("audit-1")
        suite.issue()
        wait_for(lambda: suite.raw_log("audit-1").count(told) > earlier, 20, "the other key to be told")
        assert newest_checkpoint(suite) == before and kept.read_bytes() == other
    finally:
        suite.sv("down", "audit-1")
        kept.write_bytes(own)
        suite.sv("up", "audit-1")
        suite.wait_ready("audit-1")
    suite.issue()
    wait_for_checkpoint(suite, log_size(suite))
    assert_unbroken(suite)


def field(number, octets):
    def varint(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])
    return bytes([number << 3 | 2]) + varint(len(octets)) + octets


def quarantine(suite):
    answer = suite.api("GET", "/v1/audit/quarantine?limit=100")
    assert answer.status_code == 200, answer.text
    return answer.json()["events"]


def test_an_event_that_is_not_genuine_is_kept_apart_and_acknowledged(suite):
    import base64
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    certificate = x509.load_pem_x509_certificate((suite.dir / "identity/gateway-1/certificate.pem").read_bytes()).public_bytes(Encoding.DER)
    # event_id, service, instance, time, type, outcome of a well-formed event under a signature of nobody
    event = (field(1, b"0123456789abcdef") + field(2, b"gateway") + field(3, b"gateway-1") + bytes([5 << 3]) +
             b"\x80\x80\xf0\xd1\xdc\xd0\x91\x03" + field(7, b"certificate.issued") + field(8, b"success"))
    signed = field(1, event) + field(2, certificate) + field(3, bytes.fromhex("3006020101020101"))
    for _ in range(2):
        [reply] = probe(suite, "audit", "good", type=400, payload=field(1, signed).hex())
        assert reply["outcome"] == "answered", reply
    for payload in (field(1, field(1, b"\x0f")) + b"\x07", b""):  # that is no request
        [reply] = probe(suite, "audit", "good", type=400, payload=payload.hex())
        assert (reply["outcome"], reply["code"]) == ("error", "invalid"), reply
    [kept] = [one for one in quarantine(suite) if one.get("claimed", {}).get("event_id") == b"0123456789abcdef".hex()]
    assert base64.b64decode(kept["octets"]) == signed
    assert (kept["instance"], kept["code"], kept["claimed"]["type"]) == ("gateway-1", "unauthenticated", "certificate.issued")
    assert not suite.psql("SELECT 1 FROM audit_log WHERE event_id = %s", (b"0123456789abcdef",))
    wait_for_event(suite, type="audit.quarantined", subject="gateway/gateway-1")
    listed = suite.cli("audit", "quarantine")
    assert listed.code == 0 and "certificate.issued" in listed.out and "gateway-1" in listed.out, listed.err


def test_a_false_row_in_an_outbox_stops_none_behind_it(suite):
    suite.psql("INSERT INTO audit_outbox (service, signed_event) VALUES ('issuer', 'no event'), ('crl', 'no event either')")
    serial = suite.issue()["serial"]
    wait_for_event(suite, type="certificate.issued", subject=serial)
    wait_for(lambda: {"issuer", "crl"} <= {one["service"] for one in quarantine(suite)}, 15, "both rows in quarantine")
    wait_for(lambda: not suite.psql("SELECT 1 FROM audit_outbox"), 15, "the outbox to be empty")
    assert_unbroken(suite)


def test_an_event_that_waits_in_an_outbox_is_not_taken_away_unseen(suite):
    taken = "DELETE FROM audit_outbox WHERE service = 'issuer' AND number = (SELECT max(number) FROM audit_outbox WHERE service = 'issuer')"
    with collector_down(suite):
        suite.issue()
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            suite.psql(f"SET ROLE chancery_issuer; {taken}")
        with pytest.raises(psycopg2.errors.CheckViolation, match="neither in the log nor in quarantine"):
            suite.psql(taken)
        suite.psql(f"SET session_replication_role = replica; {taken}")
    try:
        event = wait_for_event(suite, type="audit.outbox-missing", subject="issuer")
        assert event["details"] == {"missing": "1"}
        code, answer = verify(suite)
        assert (code, [finding["kind"] for finding in answer["findings"]]) == (6, ["missing"])
        assert "1 events of service issuer were taken out of its outbox" in answer["findings"][0]["text"]
        wait_for(lambda: suite.metrics("audit-1").get("chancery_audit_outbox_missing{service=\"issuer\"}") == 1, 15, "the metric")
    finally:
        suite.psql("UPDATE audit_outbox_numbers SET last = last - 1 WHERE service = 'issuer'")
    wait_for(lambda: not suite.psql("SELECT 1 FROM audit_outbox"), 15, "the outbox to be empty")
    assert_unbroken(suite)


def test_events_of_no_tenant_are_auditors_alone(suite):
    import requests
    def ask(name, path):
        client = tuple(suite.dir / "client" / f"{name}.{end}" for end in ("pem", "key"))
        return requests.get(suite.url + path, cert=client, verify=suite.ca_file, timeout=30)
    for name, words in {"plain": ("--role", "officer"), "only-auditor": ("--role", "auditor"),
                        "elsewhere": ("--role", "officer", "--tenant", "other")}.items():
        made = suite.cli("operator", "issue", "--directory", suite.dir / "pki", "--name", name, *words, "--out", suite.dir / "client" / name)
        assert made.code == 0, made.err
    suite.issue()
    wait_for_event(suite, type="certificate.issued")
    everything = ask("only-auditor", "/v1/audit/events?limit=1000").json()["events"]
    assert {event.get("tenant") for event in everything} >= {None, "default"}
    own = ask("plain", "/v1/audit/events?limit=1000").json()["events"]
    assert {event.get("tenant") for event in own} == {"default"}
    assert ask("plain", "/v1/audit/events?type=daemon.started").json()["events"] == []
    assert ask("elsewhere", "/v1/audit/events").json()["events"] == []
    for name in ("plain", "elsewhere", "requester"):
        assert ask(name, "/v1/audit/quarantine").status_code == 403
    assert ask("only-auditor", "/v1/audit/quarantine").status_code == 200
    for path in ("/v1/cas", "/v1/actions", "/v1/certificates"):  # an auditor is nothing else
        assert ask("only-auditor", path).status_code == 403


# --- who dies meanwhile ---------------------------------------------------------------------------------------------------


def test_what_is_done_while_the_collector_is_down_is_in_the_log_afterwards(suite):
    with collector_down(suite):
        serials = [suite.issue()["serial"] for _ in range(3)]
    for serial in serials:
        wait_for_event(suite, type="certificate.issued", subject=serial)
    assert_unbroken(suite)


def test_killing_daemons_loses_no_event_and_repeats_none(suite):
    serials = []
    for instance in ("audit-1", "issuer-1", "vault-1", "audit-1"):
        serials.append(suite.issue()["serial"])
        suite.kill(instance, signal.SIGKILL)
        suite.wait_ready(instance)
    for serial in serials:
        wait_for(lambda wanted=serial: len(events(suite, type="certificate.issued", subject=wanted)) == 1, 15, f"the event of {serial}")
    assert_unbroken(suite)


def test_two_collectors_share_one_chain(two_replicas):
    suite = two_replicas
    for _ in range(10):
        suite.issue()
    wait_for(lambda: all(suite.metrics(name).get("chancery_audit_appended_total", 0) > 0 for name in ("audit-1", "audit-2")), 15,
             "both to append")
    suite.kill("audit-2", signal.SIGKILL)
    serial = suite.issue()["serial"]
    wait_for_event(suite, type="certificate.issued", subject=serial)
    suite.wait_ready("audit-2")
    size = log_size(suite)
    wait_for_checkpoint(suite, size)
    assert assert_unbroken(suite)["covered_by_checkpoint"] >= size
    assert suite.psql("SELECT count(*) FROM keys WHERE checkpoint_origin = 'chancery'")[0][0] == 1


# --- what a superuser does to the table -----------------------------------------------------------------------------------


@pytest.fixture
def covered(suite):
    """A log of some size with all of it under a checkpoint; the number of its last row."""
    suite.issue()
    size = log_size(suite)
    assert size > 20
    wait_for_checkpoint(suite, size)
    assert_unbroken(suite)
    return size


@pytest.mark.parametrize("change", ["actor = 'mallory'", "subject = 'x'", "event_time = event_time - interval '1 day'",
                                    "signed_event = set_byte(signed_event, 30, get_byte(signed_event, 30) # 1)"])
def test_an_altered_event_is_named(suite, covered, change):
    with tampered(suite, f"UPDATE audit_log SET {change} WHERE log_sequence = 7"):
        code, answer = verify(suite)
    assert code == 6
    assert named(answer) == {7} and named(answer, "altered") == {7}
    assert "row 7" in answer["findings"][0]["text"]
    assert_unbroken(suite)


def test_removed_events_are_named(suite, covered):
    with tampered(suite, "DELETE FROM audit_log WHERE log_sequence IN (3, 9, 10)"):
        code, answer = verify(suite)
    assert code == 6
    assert {3, 9, 10} <= named(answer, "missing")
    assert_unbroken(suite)


def test_events_removed_from_the_end_are_named(suite, covered):
    with tampered(suite, "DELETE FROM audit_log WHERE log_sequence > (SELECT max(log_sequence) - 2 FROM audit_log)"):
        last = suite.psql("SELECT max(log_sequence) FROM kept_log")[0][0]
        code, answer = verify(suite)
    assert code == 6
    assert named(answer, "missing") == {last - 1, last}
    assert named(answer, "truncated") == {0}


def test_events_and_checkpoints_removed_from_the_end_are_named(suite, covered):
    first = covered - 10
    with tampered(suite, f"DELETE FROM audit_log WHERE log_sequence > {first}", f"DELETE FROM audit_checkpoints WHERE log_size > {first}"):
        code, answer = verify(suite)
    assert code == 6
    assert set(range(first + 1, covered + 1)) <= named(answer, "missing")
    assert "checkpoint" in {finding["kind"] for finding in answer["findings"]}


def test_reordered_events_are_named(suite, covered):
    with tampered(suite, "UPDATE audit_log SET log_sequence = -log_sequence WHERE log_sequence IN (5, 12)",
                  "UPDATE audit_log SET log_sequence = CASE log_sequence WHEN -5 THEN 12 ELSE 5 END WHERE log_sequence < 0"):
        code, answer = verify(suite)
    assert code == 6
    assert {5, 12} <= named(answer, "reordered")
    assert_unbroken(suite)


def test_a_chain_computed_anew_does_not_hide_it(suite, covered):
    anew = """DO $$ DECLARE p bytea := decode(repeat('00', 32), 'hex'); r record; h bytea; BEGIN
        FOR r IN SELECT * FROM audit_log ORDER BY log_sequence LOOP
            h := sha256('chancery/log/v1'::bytea || '\\x00' || p || int8send(r.log_sequence) || r.signed_event);
            UPDATE audit_log SET previous_hash = p, hash = h WHERE log_sequence = r.log_sequence;
            p := h;
        END LOOP; END $$"""
    with tampered(suite, "DELETE FROM audit_log WHERE log_sequence = 6",
                  "UPDATE audit_log SET log_sequence = -log_sequence WHERE log_sequence > 6",
                  "UPDATE audit_log SET log_sequence = -log_sequence - 1 WHERE log_sequence < 0", anew):
        code, answer = verify(suite)
    assert code == 6 and answer["finding_count"] > 0
    assert any("checkpoint" in finding["text"] for finding in answer["findings"])


def test_the_table_takes_no_change_from_any_daemon(suite):
    rights = suite.psql("SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE table_name = 'audit_log'"
                        " AND grantee LIKE 'chancery_%%'", ())
    assert {right for right in rights if right[1] not in ("SELECT",)} <= {("chancery_audit", "INSERT")} | \
        {right for right in rights if right[0] == "chancery_owner"}
