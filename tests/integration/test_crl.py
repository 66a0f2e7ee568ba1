# SPDX-License-Identifier: Apache-2.0
"""The CRL daemon: what it serves and how, what is in a list, numbers that are never made twice. Relying parties' verdicts on these lists
are in test_agreement.py."""
import concurrent.futures
import email.utils
import os
import signal
import subprocess
import time

import pytest
import requests
from asn1crypto import crl as asn1_crl
from conftest import wait_for
from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID


def url(suite, ca=None):
    return f"{suite.http}/crl/{ca or suite.issuing_ca}.crl"


def fetch(suite, ca=None):
    answer = requests.get(url(suite, ca), timeout=10)
    assert answer.status_code == 200, answer.text
    return x509.load_der_x509_crl(answer.content)


def number_of(crl):
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def generate(suite, ca=None):
    answer = suite.api("POST", f"/v1/crls/{ca or suite.issuing_ca}", timeout=60)
    assert answer.status_code == 201, answer.text
    return answer.json()


def entry_of(suite, serial):
    return fetch(suite).get_revoked_certificate_by_serial_number(int(serial, 16))


# --- HTTP -----------------------------------------------------------------------------------------------------------------


def test_a_crl_is_served_with_its_type_and_validators(suite):
    answer = requests.get(url(suite), timeout=10)
    crl = x509.load_der_x509_crl(answer.content)
    assert answer.headers["Content-Type"] == "application/pkix-crl"
    assert email.utils.parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp() == crl.last_update.replace(
        tzinfo=email.utils.parsedate_to_datetime(answer.headers["Last-Modified"]).tzinfo).timestamp()
    directives = dict(part.strip().partition("=")[::2] for part in answer.headers["Cache-Control"].split(","))
    lifetime = (crl.next_update - crl.last_update).total_seconds()
    assert 0 <= int(directives["max-age"]) < lifetime
    assert answer.headers["ETag"].startswith('"')


def test_a_copy_that_is_current_is_not_sent_again(suite):
    first = requests.get(url(suite), timeout=10)
    for headers in ({"If-None-Match": first.headers["ETag"]}, {"If-None-Match": '"x", W/' + first.headers["ETag"]},
                    {"If-Modified-Since": first.headers["Last-Modified"]}):
        again = requests.get(url(suite), headers=headers, timeout=10)
        assert (again.status_code, again.content) == (304, b""), headers
        assert again.headers["ETag"] == first.headers["ETag"]
    for headers in ({"If-None-Match": '"other"'}, {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}):
        assert requests.get(url(suite), headers=headers, timeout=10).status_code == 200


def test_a_new_crl_has_another_entity_tag(suite):
    old = requests.get(url(suite), timeout=10)
    generate(suite)
    new = requests.get(url(suite), headers={"If-None-Match": old.headers["ETag"]}, timeout=10)
    assert new.status_code == 200 and new.headers["ETag"] != old.headers["ETag"]


def test_head_says_the_same_without_a_body(suite):
    body, head = requests.get(url(suite), timeout=10), requests.head(url(suite), timeout=10)
    assert head.status_code == 200 and head.content == b""
    for name in ("Content-Type", "Content-Length", "ETag", "Last-Modified"):
        assert head.headers[name] == body.headers[name]


@pytest.mark.parametrize("path", ["/crl/nobody.crl", "/crl/", "/crl/.crl", "/crl/x", "/ca/nobody.cer", "/crl/a/b.crl", "/crl/%00.crl",
                                  "/crl/" + "a" * 300 + ".crl"])
def test_what_is_not_there_is_a_404_problem(suite, path):
    answer = requests.get(suite.http + path, timeout=10)
    assert answer.status_code in (400, 404)
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_other_methods_are_not_allowed(suite):
    answer = requests.post(url(suite), data=b"x", timeout=10)
    assert answer.status_code == 405 and "GET" in answer.headers["Allow"]


def test_the_cas_certificate_is_served(suite, tmp_path):
    answer = requests.get(f"{suite.http}/ca/{suite.issuing_ca}.cer", timeout=10)
    assert answer.headers["Content-Type"] == "application/pkix-cert"
    ca = x509.load_der_x509_certificate(answer.content)
    first = open(suite.chain, "rb").read()
    assert ca == x509.load_pem_x509_certificate(first)
    again = requests.get(f"{suite.http}/ca/{suite.issuing_ca}.cer", headers={"If-None-Match": answer.headers["ETag"]}, timeout=10)
    assert again.status_code == 304


# --- what is in a list ----------------------------------------------------------------------------------------------------


def test_a_crl_names_its_ca_and_is_signed_by_it(suite, tmp_path):
    for ca in (suite.issuing_ca, suite.root_ca):
        crl = fetch(suite, ca)
        issuer = x509.load_der_x509_certificate(requests.get(f"{suite.http}/ca/{ca}.cer", timeout=10).content)
        assert crl.issuer == issuer.subject and crl.is_signature_valid(issuer.public_key())
        authority = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert authority == issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        assert all(not extension.critical for extension in crl.extensions)


def test_gnutls_verifies_it(suite, tmp_path):
    (tmp_path / "ca.crl").write_bytes(requests.get(url(suite), timeout=10).content)
    done = subprocess.run(["certtool", "--verify-crl", "--inder", "--infile", tmp_path / "ca.crl", "--load-ca-certificate", suite.chain],
                          capture_output=True, text=True, check=False)
    if "Error" in done.stderr or "import" in done.stderr:  # certtool wants both in one encoding
        pem = subprocess.run(["openssl", "crl", "-inform", "DER", "-in", tmp_path / "ca.crl"], capture_output=True, check=True).stdout
        (tmp_path / "ca.pem").write_bytes(pem)
        done = subprocess.run(["certtool", "--verify-crl", "--infile", tmp_path / "ca.pem", "--load-ca-certificate", suite.chain],
                              capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Verified" in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("reason, flag", [
    ("keyCompromise", x509.ReasonFlags.key_compromise), ("affiliationChanged", x509.ReasonFlags.affiliation_changed),
    ("superseded", x509.ReasonFlags.superseded), ("cessationOfOperation", x509.ReasonFlags.cessation_of_operation),
    ("privilegeWithdrawn", x509.ReasonFlags.privilege_withdrawn), ("unspecified", None)])
def test_a_revoked_certificate_is_in_the_next_crl_with_its_reason(suite, reason, flag):
    serial = suite.issue()["serial"]
    assert entry_of(suite, serial) is None
    suite.revoke(serial, reason)
    generate(suite)
    entry = entry_of(suite, serial)
    assert entry is not None
    reasons = [extension.value.reason for extension in entry.extensions if extension.oid == CRLEntryExtensionOID.CRL_REASON]
    assert reasons == ([flag] if flag else [])


def test_an_invalidity_date_is_in_the_entry(suite):
    serial = suite.issue()["serial"]
    answer = suite.api("POST", f"/v1/certificates/{serial}/revoke", json={"reason": "keyCompromise",
                                                                           "invalidity_date": "2026-01-02T03:04:05Z"})
    assert answer.status_code == 200, answer.text
    generate(suite)
    date = entry_of(suite, serial).extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date
    assert date.isoformat() == "2026-01-02T03:04:05"


def test_a_suspended_certificate_is_on_hold_until_it_is_reinstated(suite):
    serial = suite.issue()["serial"]
    assert suite.api("POST", f"/v1/certificates/{serial}/suspend", json={}).status_code == 200
    generate(suite)
    reason = entry_of(suite, serial).extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason == x509.ReasonFlags.certificate_hold
    assert suite.api("POST", f"/v1/certificates/{serial}/reinstate", json={}).status_code == 200
    generate(suite)
    assert entry_of(suite, serial) is None


def test_an_acknowledged_revocation_is_in_the_very_next_crl(suite):
    for _ in range(5):
        serial = suite.issue()["serial"]
        suite.revoke(serial)
        generate(suite)
        assert entry_of(suite, serial) is not None


# --- a database that has lost something -----------------------------------------------------------------------------------


def events_of(suite, event_type, number):
    return suite.psql("SELECT signed_event FROM audit_log WHERE type = %s AND subject = %s AND position(%s::bytea IN signed_event) > 0",
                      [event_type, suite.issuing_ca, f"crl_number\x12{chr(len(str(number)))}{number}".encode()])


def crl_instances(suite):
    return [instance for instance in suite.instances() if instance.startswith("crl-")]


def kept_total(suite):
    found = [line.split()[-1] for instance in crl_instances(suite) for line in suite.operations(instance, "/metrics").text.splitlines()
             if line.startswith("chancery_crl_entries_kept_total")]
    return sum(int(value) for value in found)


def test_an_entry_that_the_database_has_lost_stays_in_the_next_crls_and_is_told(suite):
    serial = suite.issue()["serial"]
    suite.revoke(serial)
    assert not events_of(suite, "crl.entries-kept", generate(suite)["crl_number"])
    [(row,)] = suite.psql("DELETE FROM revocations WHERE encode(serial, 'hex') = %s RETURNING to_jsonb(revocations)::text", [serial])
    before = kept_total(suite)
    try:
        for _ in range(2):  # from list to list, not only once
            number = generate(suite)["crl_number"]
            entry = entry_of(suite, serial)
            assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.key_compromise
            [(event,)] = wait_for(lambda number=number: events_of(suite, "crl.entries-kept", number), 15, "the event of a kept entry")
            assert serial.encode() in bytes(event)
        assert kept_total(suite) == before + 2
        assert any("ALERT" in str(line) and serial in str(line) for instance in crl_instances(suite) for line in suite.log(instance))
    finally:
        suite.psql("INSERT INTO revocations SELECT * FROM jsonb_populate_record(NULL::revocations, %s::jsonb)", [row])
    number = generate(suite)["crl_number"]
    assert entry_of(suite, serial) is not None
    wait_for(lambda: events_of(suite, "crl.published", number), 15, "the list's event")
    assert not events_of(suite, "crl.entries-kept", number)


def test_a_list_before_that_somebody_wrote_to_stops_no_list_and_is_told(suite):
    """The instance that serves the list holds the next one against what it serves; one that has just started has only the database's."""
    newest = generate(suite)["crl_number"]
    for instance in crl_instances(suite):
        suite.sv("down", instance)
    suite.psql("UPDATE crls SET der = overlay(der PLACING '\\x00'::bytea FROM octet_length(der)) WHERE crl_number = %s AND ca_id = "
               "(SELECT ca_id FROM cas WHERE name = %s)", [newest, suite.issuing_ca])
    for instance in crl_instances(suite):
        suite.sv("up", instance)
    for instance in crl_instances(suite):
        suite.wait_ready(instance)
    number = wait_for(lambda: suite.api("POST", f"/v1/crls/{suite.issuing_ca}", timeout=60).json().get("crl_number"), 60, "a list")
    wait_for(lambda: events_of(suite, "crl.previous-unreadable", number), 15, "the event of a list that cannot be read")
    assert not events_of(suite, "crl.previous-unreadable", generate(suite)["crl_number"])


def test_numbers_go_on_where_the_database_has_lost_the_last_ones(suite):
    newest = generate(suite)["crl_number"]
    suite.psql("DELETE FROM crls WHERE crl_number = %s AND ca_id = (SELECT ca_id FROM cas WHERE name = %s)", [newest, suite.issuing_ca])
    assert generate(suite)["crl_number"] > newest
    assert number_of(fetch(suite)) > newest


# --- making them ----------------------------------------------------------------------------------------------------------


def test_crls_are_made_on_schedule(suite):
    before = number_of(fetch(suite, suite.root_ca))
    interval = suite.psql("SELECT crl_interval_s FROM cas WHERE name = %s", [suite.root_ca])[0][0]
    suite.psql("UPDATE cas SET crl_interval_s = 1 WHERE name = %s", [suite.root_ca])
    try:
        wait_for(lambda: number_of(fetch(suite, suite.root_ca)) >= before + 2, 15, "two scheduled CRLs")
    finally:
        suite.psql("UPDATE cas SET crl_interval_s = %s WHERE name = %s", [interval, suite.root_ca])
    rows = suite.psql("SELECT DISTINCT scheduled FROM crls JOIN cas USING (ca_id) WHERE name = %s AND crl_number > %s", [suite.root_ca, before])
    assert rows == [(True,)]


def test_making_one_takes_an_officer_and_a_ca_that_exists(suite):
    assert suite.api("POST", f"/v1/crls/{suite.issuing_ca}", role="requester").status_code == 403
    assert suite.api("POST", "/v1/crls/nobody").status_code == 404
    assert suite.api("GET", "/v1/crls/nobody").status_code == 404


def test_each_crl_is_an_audit_event_and_in_the_metrics(suite):
    made = generate(suite)

    def event():
        found = suite.psql("SELECT count(*) FROM audit_log WHERE type = 'crl.published' AND subject = %s AND "
                           "position(%s::bytea in signed_event) > 0", [suite.issuing_ca, str(made["crl_number"]).encode()])
        return found[0][0] >= 1
    wait_for(event, 10, "the event crl.published")
    wait_for(lambda: suite.psql("SELECT count(*) FROM audit_outbox WHERE service = 'crl'")[0][0] == 0, 10, "the outbox to be empty")
    metrics = suite.metrics("crl-1")
    assert metrics[f'chancery_crl_number{{ca="{suite.issuing_ca}"}}'] >= made["crl_number"]
    assert metrics[f'chancery_crl_next_update_timestamp_seconds{{ca="{suite.issuing_ca}"}}'] > time.time()


def test_the_number_of_a_daemon_killed_while_it_waits_for_the_vault_is_never_used(suite):
    """crl-1 has reserved a number and waits for a signature: killed there, it leaves a number that is given up."""
    before = suite.psql("SELECT max(crl_number) FROM crls JOIN cas USING (ca_id) WHERE name = %s", [suite.issuing_ca])[0][0]

    def reserved():
        return suite.psql("SELECT crl_number FROM crls JOIN cas USING (ca_id) WHERE name = %s AND crls.state = 'reserved'", [suite.issuing_ca])
    vault = suite.pid("vault-1")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        os.kill(vault, signal.SIGSTOP)
        try:
            asked = pool.submit(suite.api, "POST", f"/v1/crls/{suite.issuing_ca}", timeout=60)
            wait_for(reserved, 10, "a reserved number")
            lost = reserved()[0][0]
            suite.kill("crl-1", signal.SIGKILL)
        finally:
            os.kill(vault, signal.SIGCONT)
        suite.wait_ready("crl-1")
        asked.result()  # answered or not: the gateway asks again with the same message id
    assert lost == before + 1
    made = generate(suite)
    assert made["crl_number"] > lost
    state = suite.psql("SELECT crls.state FROM crls JOIN cas USING (ca_id) WHERE name = %s AND crl_number = %s", [suite.issuing_ca, lost])
    assert state == [("abandoned",)]
    assert number_of(fetch(suite)) == made["crl_number"]


def test_lists_are_served_while_the_database_is_away(suite):
    told = len(suite.log("crl-1"))
    suite.sv("down", "postgres")
    try:
        wait_for(lambda: any("cannot follow" in line["msg"] for line in suite.log("crl-1")[told:]), 10, "crl-1 to notice")
        assert requests.get(url(suite), timeout=10).status_code == 200
        assert suite.is_ready("crl-1")
    finally:
        suite.sv("up", "postgres")
    wait_for(lambda: any("following the database again" in line["msg"] for line in suite.log("crl-1")[told:]), 30, "crl-1 to go on")
    for instance in suite.instances():
        suite.wait_ready(instance)
    wait_for(lambda: suite.api("POST", f"/v1/crls/{suite.issuing_ca}", timeout=60).status_code == 201, 30, "a new CRL")


def test_two_instances_asked_at_once_never_make_a_number_twice(two_replicas):
    suite = two_replicas
    before = number_of(fetch(suite))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: generate(suite), range(16)))
    numbers = [crl["crl_number"] for crl in made]
    assert len(set(numbers)) == 16 and min(numbers) > before
    assert {crl["made_by"] for crl in made} == {"crl-1", "crl-2"}
    rows = suite.psql("SELECT crl_number, this_update FROM crls JOIN cas USING (ca_id) WHERE name = %s AND crls.state = 'published' "
                      "ORDER BY crl_number", [suite.issuing_ca])
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    for instance in ("crl-1", "crl-2"):
        direct = f"http://{suite.config(instance)['http']['listen']}/crl/{suite.issuing_ca}.crl"
        wait_for(lambda: number_of(x509.load_der_x509_crl(requests.get(direct, timeout=10).content)) >= max(numbers), 1,
                 f"{instance} to serve the newest")


def test_a_hundred_thousand_entries(suite):
    """Streamed: memory grows by the list itself, sent and received, not by rows. asn1crypto checks the encoding."""
    ca = suite.psql("SELECT ca_id, tenant_id FROM cas WHERE name = %s", [suite.issuing_ca])[0]
    suite.psql("INSERT INTO revocations (ca_id, tenant_id, serial, sequence, action, reason, revoked_at, logged_at, known, expiry_period, not_after) "
               "SELECT %s, %s, decode('04b0' || lpad(to_hex(n), 28, '0'), 'hex'), 0, 'revoked', 1, now(), now(), true, 1200, '2070-01-15' "
               "FROM generate_series(1, 100000) AS n", ca)
    try:
        made = generate(suite)
        assert made["entries"] >= 100000
        answer = requests.get(url(suite), timeout=30)
        parsed = asn1_crl.CertificateList.load(answer.content, strict=True)
        assert len(parsed["tbs_cert_list"]["revoked_certificates"]) == made["entries"]
        status = open(f"/proc/{suite.pid('crl-1')}/status").read()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        assert peak < 400, f"peak {peak:.0f} MiB for a list of {len(answer.content)} octets"  # with AddressSanitizer
    finally:
        suite.psql("DELETE FROM revocations WHERE expiry_period = 1200")
        generate(suite)
