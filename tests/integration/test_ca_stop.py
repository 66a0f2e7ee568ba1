# SPDX-License-Identifier: Apache-2.0
"""A CA that is stopped, started again and revoked, and keys that are never certified again: in a suite with two replicas of each daemon
whose quorum is two of three officers. The vault's own refusals are in test_approvals.py."""
import concurrent.futures
import datetime
import hashlib
import json
import re
import subprocess
import time

import psycopg2
import pytest
import requests
from conftest import TOP, new_key_and_csr, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

DONE, NOT_FOUND, DENIED, UNAVAILABLE, FINDINGS = 0, 3, 4, 5, 6
OFFICERS = ("officer", "officer-2", "officer-3")
DER, SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture(scope="module")
def suite(new_suite):
    made = new_suite("--replicas", "2", "--officers", "3", "--required", "2")
    made.start()
    return made


def as_officer(suite, officer, *words):
    certificate, key = suite.client(officer)
    return suite.cli(*words, env={"CHANCERY_CERT": certificate, "CHANCERY_KEY": key})


def with_two_officers(suite, *words):
    """Each run goes on from where the last stopped."""
    for officer in ("officer", "officer-3"):
        done = as_officer(suite, officer, *words, "--yes", "--json")
        if done.code == DONE:
            return json.loads(done.out)
        assert done.code == UNAVAILABLE and "1 of 2" in done.err, done.err
    raise AssertionError(done.err)


def make_ca(suite, path, name, parent=None):
    text = f'name: {name}\nsubject: "CN={name},O=Example"\nkey: ecdsa-p256\nvalidity: {"2y" if parent else "5y"}\n'
    text += f"parent: {parent}\nurls: {{ ocsp: {suite.http}/ocsp }}\nocsp_responder: {{ key: ecdsa-p256 }}\n" if parent else ""
    path.write_text(text)
    for officer in ("officer", "officer-2", "officer"):
        done = as_officer(suite, officer, "ca", "create", path, "--yes", "--json")
        if done.code == DONE:
            return json.loads(done.out)
        assert done.code == UNAVAILABLE, done.err
    raise AssertionError(done.err)


@pytest.fixture(scope="module")
def cas(suite, tmp_path_factory):
    """A root and a CA below it."""
    path = tmp_path_factory.mktemp("cas") / "ca.yaml"
    return [make_ca(suite, path, "stop-root"), make_ca(suite, path, "stop-below", "stop-root")]


def show(suite, name):
    return json.loads(suite.cli("ca", "show", name, "--json").out)


def ask(suite, ca, **fields):
    _, csr = new_key_and_csr(None, ["DNS:www.example"])
    return suite.api("POST", "/v1/certificates", json={"profile": "tls-server", "ca": ca, "csr": csr} | fields)


def refused_by(suite, instance):
    return sum(value for name, value in suite.metrics(instance).items()
               if name.startswith("chancery_issuer_refused_total") and 'request="issue"' in name)


def assert_nobody_issues(suite, ca, words):
    """Asked until each of the two issuers refused."""
    before = {instance: refused_by(suite, instance) for instance in ("issuer-1", "issuer-2")}
    deadline = time.monotonic() + 20
    while any(refused_by(suite, instance) == number for instance, number in before.items()):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(suite, ca), range(8)))
        for answer in answers:
            assert answer.status_code == 409 and words in answer.json()["detail"], answer.text
        assert time.monotonic() < deadline, "one issuer was never asked"


def openssl(*words, check=True):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=30, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def crl_of(suite, ca):
    """A new CRL, its signature verified by openssl with the CA's certificate."""
    made = suite.api("POST", f"/v1/crls/{ca}")
    assert made.status_code in (200, 201), made.text
    (suite.dir / "now.crl").write_bytes(suite.api("GET", f"/v1/crls/{ca}", headers={"Accept": "application/pkix-crl"}).content)
    (suite.dir / "now.pem").write_text(show(suite, ca)["certificate"])
    assert "verify OK" in openssl("crl", "-inform", "DER", "-in", suite.dir / "now.crl", "-CAfile", suite.dir / "now.pem", "-noout")
    return x509.load_der_x509_crl((suite.dir / "now.crl").read_bytes())


def ocsp_says(suite, certificate, chain):
    (suite.dir / "leaf.pem").write_text(certificate)
    (suite.dir / "issuer.pem").write_text(chain[0])
    (suite.dir / "chain.pem").write_text("".join(chain))
    return openssl("ocsp", "-issuer", suite.dir / "issuer.pem", "-cert", suite.dir / "leaf.pem", "-url", f"{suite.http}/ocsp",
                   "-CAfile", suite.dir / "chain.pem", check=False)


def events(suite, kind, subject):
    return suite.api("GET", f"/v1/audit/events?type={kind}&subject={subject}").json()["events"]


def key_state(suite, name):
    return suite.psql("SELECT k.state FROM cas c JOIN keys k USING (key_id) WHERE c.name = %s", (name,))[0][0]


# --- a CA ---


def test_one_officer_stops_a_ca_and_all_below_it_at_once(suite, cas):
    leaf = ask(suite, "stop-below").json()
    chain = re.findall("-----BEGIN.*?END CERTIFICATE-----\n", leaf["chain"], re.S)
    wait_for(lambda: ": good" in ocsp_says(suite, leaf["certificate"], chain), 30, "the responder of stop-below")

    done = as_officer(suite, "officer-2", "ca", "suspend", "stop-root", "--reason", "strange signatures", "--json")
    stopped = time.monotonic()
    assert done.code == DONE, done.err
    assert json.loads(done.out)["state"] == "suspended"
    assert_nobody_issues(suite, "stop-below", "CA 'stop-root' above it: it is stopped: strange signatures")
    assert time.monotonic() - stopped < 20
    assert key_state(suite, "stop-root") == "stopped" and key_state(suite, "stop-below") == "active"

    # everybody says it, and why
    table = suite.cli("ca", "list").out
    assert re.search(r"stop-root +suspended .*it is stopped: strange signatures", table), table
    assert re.search(r"stop-below +suspended .*CA 'stop-root' above it", table), table
    status = suite.cli("status")
    assert status.code == FINDINGS and re.search(r"CA stop-below +suspended", status.out), status.out
    below = show(suite, "stop-below")
    assert (below["state"], below["own_state"]) == ("suspended", "active") and "stop-root" in below["why"]
    # nothing is made below it, and its status goes on being told
    answer = suite.api("POST", "/v1/cas", data='name: stop-no\nparent: stop-root\nsubject: "CN=no"\nkey: ecdsa-p256\nvalidity: 1y\n',
                       headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 409 and "stop-root" in answer.json()["detail"]
    crl_of(suite, "stop-root")
    crl_of(suite, "stop-below")
    assert ": good" in ocsp_says(suite, leaf["certificate"], chain)
    wait_for(lambda: events(suite, "ca.suspended", "stop-root"), 10, "the audit event")


def test_it_takes_the_quorum_to_start_it_again(suite, cas):
    for _ in range(2):
        done = as_officer(suite, "officer", "ca", "activate", "stop-root", "--yes")
        assert done.code == UNAVAILABLE and "change-ca-state waits for officers: 1 of 2" in done.err
    assert show(suite, "stop-root")["state"] == "suspended" and key_state(suite, "stop-root") == "stopped"
    assert with_two_officers(suite, "ca", "activate", "stop-root")["state"] == "active"
    assert ask(suite, "stop-below").status_code == 201
    # an approval that was used is used
    assert as_officer(suite, "officer", "ca", "suspend", "stop-root").code == DONE
    assert as_officer(suite, "officer", "ca", "activate", "stop-root", "--yes").code == UNAVAILABLE
    assert with_two_officers(suite, "ca", "activate", "stop-root")["state"] == "active"


def test_what_was_on_its_way_is_not_signed_after_a_stop(suite, cas):
    """Reserved while the vaults are away, and the CA stopped meanwhile."""
    for instance in ("vault-1", "vault-2"):
        suite.sv("down", instance)
    try:
        answer = ask(suite, "stop-below")
        assert answer.status_code == 503, answer.text
        done = as_officer(suite, "officer", "ca", "suspend", "stop-below", "--reason", "drill")
        assert done.code == UNAVAILABLE and "is stopped, but its key is not yet" in done.err, done.err
        assert ask(suite, "stop-below").status_code == 409
        suite.psql("UPDATE certificates SET reserved_at = reserved_at - interval '2 minutes' WHERE status = 'pending'")
    finally:
        for instance in ("vault-1", "vault-2"):
            suite.sv("up", instance)
        for instance in ("vault-1", "vault-2"):
            suite.wait_ready(instance)
    assert key_state(suite, "stop-below") == "active"
    wait_for(lambda: as_officer(suite, "officer", "ca", "suspend", "stop-below").code == DONE, 20, "the vault to hear of it")
    assert key_state(suite, "stop-below") == "stopped"
    # it may have been signed, so it is revoked and never told (recovery)
    rows = ("SELECT encode(serial, 'hex') FROM certificates c JOIN cas USING (ca_id)"
            " WHERE cas.name = 'stop-below' AND status = 'revoked' AND c.certificate_der IS NULL")
    (serial,), = wait_for(lambda: suite.psql(rows), 40, "recovery to look at it")
    told = wait_for(lambda: events(suite, "certificate.revoked", serial), 10, "the audit event")
    assert told[0]["details"]["why"] == "CA 'stop-below' is suspended and issues nothing: it is stopped: drill"
    assert with_two_officers(suite, "ca", "activate", "stop-below")["state"] == "active"


def serial_of(ca):
    return format(x509.load_pem_x509_certificate(ca["certificate"].encode()).serial_number, "032x")


def test_one_officer_does_not_revoke_a_ca_and_two_do(suite, cas):
    serial = serial_of(show(suite, "stop-below"))
    for verb in (("revoke", "--reason", "cACompromise"), ("suspend",), ("reinstate",)):
        done = as_officer(suite, "officer", "certificate", *verb, serial)
        assert done.code == DENIED and "is a CA's" in done.err, done.err
    done = as_officer(suite, "officer", "ca", "revoke", "stop-below", "--reason", "cACompromise", "--yes")
    assert done.code == UNAVAILABLE and re.search(rf"^  certificate +{serial}\n  reason +cACompromise$", done.err, re.M), done.err
    assert show(suite, "stop-below")["state"] == "active" and ask(suite, "stop-below").status_code == 201

    revoked = with_two_officers(suite, "ca", "revoke", "stop-below", "--reason", "cACompromise")
    assert (revoked["state"], revoked["why"]) == ("revoked", "its certificate is revoked (cACompromise)")
    assert_nobody_issues(suite, "stop-below", "its certificate is revoked (cACompromise)")
    assert key_state(suite, "stop-below") == "compromised"
    entry = crl_of(suite, "stop-root").get_revoked_certificate_by_serial_number(int(serial, 16))
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.ca_compromise
    key = x509.load_pem_x509_certificate(revoked["certificate"].encode()).public_key().public_bytes(DER, SPKI)
    assert suite.psql("SELECT source FROM compromised_keys WHERE public_key_sha256 = %s", (hashlib.sha256(key).digest(),))
    # final: there is no way back
    for verb in ("suspend", "activate", "retire"):
        assert as_officer(suite, "officer", "ca", verb, "stop-below").code not in (DONE, UNAVAILABLE)
    wait_for(lambda: events(suite, "ca.revoked", "stop-below") and events(suite, "certificate.revoked", serial), 10, "both events")
    approvers = events(suite, "key.state-changed", show(suite, "stop-below")["key_id"])[-1]["details"]
    assert approvers["approved_by"] == "officer officer-3" and approvers["ca_state"] == "revoked"


def test_a_key_that_an_operator_stopped_or_that_expired_counts_too(suite, cas, tmp_path):
    suite.psql("UPDATE cas SET not_after = now() - interval '1 minute' WHERE name = 'stop-root'")
    # what is held in memory is dropped with the next change of any CA, as on every restart
    suite.psql("UPDATE cas SET state_reason = ' ' WHERE name = 'stop-root'")
    assert show(suite, "stop-root")["state"] == "expired"
    suite.psql("UPDATE cas SET not_after = now() + interval '4 years', state_reason = '' WHERE name = 'stop-root'")
    assert show(suite, "stop-root")["state"] == "active"
    # in the vault alone: its row says active, and what counts is the key
    key = {name: show(suite, name)["key_id"] for name in
           ("stop-root", make_ca(suite, tmp_path / "ca.yaml", "stop-vault", "stop-root")["name"],
            make_ca(suite, tmp_path / "ca.yaml", "stop-vault-too", "stop-root")["name"])}

    def put(verb, name):
        done = suite.cli("vault", "key", verb, key[name], "--reason", "an operator's own")
        assert done.code == DONE, done.err
    put("suspend", "stop-root")  # as an offline root's, between its uses
    assert ask(suite, "stop-vault").status_code == 201
    put("suspend", "stop-vault")
    assert suite.psql("SELECT state FROM cas WHERE name = 'stop-vault'") == [("active",)]
    assert_nobody_issues(suite, "stop-vault", "its key is suspended")
    assert ask(suite, "stop-vault-too").status_code == 201
    put("compromise", "stop-root")
    assert_nobody_issues(suite, "stop-vault-too", "CA 'stop-root' above it: its key is compromised")


@pytest.mark.parametrize("character", ["\u202e", "\u0085", "\u2028", "\u200b"])
def test_reasons_and_comments_are_what_they_look_like(suite, cas, character):
    answer = suite.api("PUT", "/v1/cas/stop-root/state", json={"state": "suspended", "reason": f"quiet{character}night"})
    assert answer.status_code == 400 and f"U+{ord(character):04X}" in answer.json()["detail"], answer.text
    _, csr = new_key_and_csr(None, ["DNS:visible.example"])
    answer = suite.api("POST", "/v1/keys/blocked", json={"key": csr, "comment": f"quiet{character}night"})
    assert answer.status_code == 400 and f"U+{ord(character):04X}" in answer.json()["detail"], answer.text


# --- a key ---


def issue_for(suite, private, name, role="officer"):
    _, csr = new_key_and_csr(None, [f"DNS:{name}"], key=private)
    return suite.api("POST", "/v1/certificates", role=role, json={"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr})


def assert_never_again(suite, private):
    answer = issue_for(suite, private, f"n{time.monotonic_ns()}.example")
    assert answer.status_code == 400 and "public key is known to be compromised" in answer.json()["detail"], answer.text


def status_of(suite, serial):
    found = suite.api("GET", f"/v1/certificates/{serial}").json()
    return found["status"], found.get("revocation_reason")


def test_a_key_revoked_for_compromise_is_not_certified_again(suite):
    private = ec.generate_private_key(ec.SECP256R1())
    serials = [issue_for(suite, private, f"{name}.example").json()["serial"] for name in ("first", "second")]
    suite.revoke(serials[0], "superseded")
    assert issue_for(suite, private, "third.example").status_code == 201
    suite.revoke(serials[1])
    assert_never_again(suite, private)
    # and what else is out for it is revoked, but for what was revoked before
    found = suite.api("GET", "/v1/certificates?san=third.example").json()["certificates"][0]
    assert (found["status"], found["revocation_reason"]) == ("revoked", "keyCompromise")
    assert status_of(suite, serials[0]) == ("revoked", "superseded")
    # for this tenant alone: another's officer may have had a copy of the request certified, and revoked
    key = hashlib.sha256(private.public_key().public_bytes(DER, SPKI)).digest()
    assert suite.psql("SELECT tenant_id, source FROM compromised_keys WHERE public_key_sha256 = %s", (key,)) == [("default", "revocation")]


def test_nor_when_it_is_written_in_another_way(suite, tmp_path):
    """RFC 5480 §2.2: the same point, compressed."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    openssl("ec", "-in", tmp_path / "key.pem", "-conv_form", "compressed", "-out", tmp_path / "short.pem")
    openssl("req", "-new", "-key", tmp_path / "short.pem", "-subj", "/", "-addext", "subjectAltName=DNS:short.example",
            "-out", tmp_path / "short.csr")
    csr = (tmp_path / "short.csr").read_text()
    assert len(x509.load_pem_x509_csr(csr.encode()).tbs_certrequest_bytes) < 120  # 33 octets of point, not 65
    suite.revoke(issue_for(suite, private, "long.example").json()["serial"])
    answer = suite.api("POST", "/v1/certificates", json={"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr})
    assert answer.status_code == 400 and "known to be compromised" in answer.json()["detail"], answer.text


@pytest.mark.parametrize("form", ["certificate", "request", "public-key", "der"])
def test_an_officer_blocks_a_key(suite, tmp_path, form):
    private, csr = new_key_and_csr(None, ["DNS:block.example"])
    issued = issue_for(suite, private, f"block-{form}.example").json()
    file = tmp_path / "key"
    file.write_bytes({
        "certificate": issued["certificate"].encode(), "request": csr.encode(),
        "public-key": private.public_key().public_bytes(serialization.Encoding.PEM, SPKI),
        "der": private.public_key().public_bytes(DER, SPKI)}[form])
    done = suite.cli("key", "block", file, "--comment", "found in a public repository", "--json")
    assert done.code == DONE, done.err
    said = json.loads(done.out)
    revoked = said.pop("certificates_revoked")
    assert revoked in (0, 1)  # 0: an issuer's upkeep was faster
    assert said == {"public_key_sha256": hashlib.sha256(private.public_key().public_bytes(DER, SPKI)).hexdigest(), "known": False,
                    "cas_stopped": []}
    wait_for(lambda: status_of(suite, issued["serial"]) == ("revoked", "keyCompromise"), 20, "its certificate to be revoked")
    assert_never_again(suite, private)
    assert json.loads(suite.cli("key", "block", file, "--json").out)["known"] is True
    wait_for(lambda: events(suite, "key.blocked", said["public_key_sha256"]), 10, "the audit event")


def test_one_officer_does_not_block_a_cas_key_which_nobody_could_undo(suite, tmp_path):
    (tmp_path / "ca.pem").write_bytes(requests.get(f"{suite.http}/ca/{suite.issuing_ca}.cer", timeout=10).content)
    pem = subprocess.run(["openssl", "x509", "-inform", "DER", "-in", tmp_path / "ca.pem"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "ca.pem").write_text(pem)
    done = suite.cli("key", "block", tmp_path / "ca.pem")
    assert done.code != 0 and f"it is the key of CA '{suite.issuing_ca}'" in done.err and "ca suspend" in done.err
    assert suite.psql("SELECT state FROM cas WHERE name = %s", (suite.issuing_ca,)) == [("active",)]
    assert suite.issue()["status"] == "issued"


def test_only_officers_block_without_a_proof_and_no_private_key_is_taken(suite, tmp_path):
    private, csr = new_key_and_csr(None, ["DNS:x.example"])
    assert suite.api("POST", "/v1/keys/blocked", role="requester", json={"key": csr}).status_code == 403
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    answer = suite.api("POST", "/v1/keys/blocked", json={"key": pem})
    assert answer.status_code == 400 and "never send one" in answer.json()["detail"]
    (tmp_path / "key.pem").write_text(pem)
    assert "which is not sent" in suite.cli("key", "block", tmp_path / "key.pem").err
    answer = suite.api("POST", "/v1/keys/blocked", json={"key": "MAA="})
    assert answer.status_code == 400 and "neither a certificate" in answer.json()["detail"]
    assert issue_for(suite, private, "still.example").status_code == 201


def report(suite, csr):
    return suite.api("POST", "/v1/keys/compromised", role="requester", json={"proof": csr})


def test_a_holders_proof_blocks_a_key_for_everybody(suite, tmp_path):
    private, csr = new_key_and_csr("This key is compromised")
    issued = issue_for(suite, private, "holder.example").json()
    # a request made for anything else proves nothing
    _, other = new_key_and_csr("holder.example", key=private)
    answer = report(suite, other)
    assert answer.status_code == 400 and "not 'CN=This key is compromised'" in answer.json()["detail"]
    der = bytearray(x509.load_pem_x509_csr(csr.encode()).public_bytes(DER))
    der[-1] ^= 1
    (tmp_path / "broken").write_bytes(der)
    done = suite.cli("key", "report", tmp_path / "broken")
    assert done.code != DONE and "does not verify" in done.err, done.err
    assert status_of(suite, issued["serial"])[0] == "issued"

    answer = report(suite, csr)
    assert answer.status_code == 200 and answer.json()["certificates_revoked"] == 1, answer.text
    assert status_of(suite, issued["serial"]) == ("revoked", "keyCompromise")
    assert_never_again(suite, private)
    key = hashlib.sha256(private.public_key().public_bytes(DER, SPKI)).digest()
    assert suite.psql("SELECT tenant_id, source FROM compromised_keys WHERE public_key_sha256 = %s", (key,)) == [("", "holder")]


def test_proofs_are_limited(suite):
    """Ten a minute of a client at each gateway: within forty at two gateways, over one change of the minute, one is refused."""
    _, csr = new_key_and_csr("This key is compromised")
    answers = [report(suite, csr) for _ in range(45)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited and 0 < int(limited[0].headers["Retry-After"]) <= 61


def test_another_tenants_word_counts_there_alone(suite):
    private, _ = new_key_and_csr(None)
    key = hashlib.sha256(private.public_key().public_bytes(DER, SPKI)).digest()
    suite.psql("INSERT INTO compromised_keys (public_key_sha256, tenant_id, source) VALUES (%s, 'another', 'officer')", (key,))
    assert issue_for(suite, private, "tenant.example").status_code == 201
    suite.psql("INSERT INTO compromised_keys (public_key_sha256, source) VALUES (%s, 'holder')", (key,))
    assert_never_again(suite, private)
    # upkeep finds what was on its way when a key was blocked
    find = "SELECT status, revocation_reason FROM certificates WHERE public_key_sha256 = %s"
    wait_for(lambda: suite.psql(find, (key,)) == [("revoked", 1)], 30, "the certificate of the blocked key to be revoked")


@pytest.mark.parametrize("role", ["issuer", "vault", "gateway", "crl"])
def test_no_daemon_takes_a_key_off_the_table(suite, role):
    for statement in ("DELETE FROM compromised_keys", "UPDATE compromised_keys SET tenant_id = 'x'", "TRUNCATE compromised_keys"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            suite.psql(f"SET ROLE chancery_{role}; {statement}")


def test_revocations_of_before_the_table_are_in_it(suite):
    """Migration 0005 on a database that has some."""
    connection = psycopg2.connect(host=str(suite.dir / "run"), dbname="postgres", user="postgres")
    connection.autocommit = True
    connection.cursor().execute("CREATE DATABASE before_0005")
    with psycopg2.connect(host=str(suite.dir / "run"), dbname="before_0005", user="postgres") as old:
        cursor = old.cursor()
        files = sorted((TOP / "proto" / "schema").glob("0*.sql"))
        for file in files:
            if file.name.startswith("0005"):
                cursor.execute("""
                  INSERT INTO keys (key_id, tenant_id, label, algorithm, purposes, public_key_info, public_key_sha256, residency, state)
                  SELECT 'k' || n, 'default', 'l', 'ecdsa-p256', '{1}', '\\x', sha256(('key' || n)::bytea), '{}', s
                  FROM (VALUES (1, 'active'), (2, 'compromised')) AS given (n, s);
                  INSERT INTO cas (tenant_id, name, state, document, document_sha256, subject_der, subject, key_id, key_algorithm,
                    public_key_info, key_identifier, tbs_certificate, certificate_der, not_before, not_after, serial_tag_key)
                  SELECT 'default', 'old' || n, 'active', '', '\\x', '\\x', '', 'k1', 'ecdsa-p256', '\\x', '\\x', '\\x', ('\\x0' || n)::bytea,
                    now(), now() + interval '1 year', '\\x' FROM (VALUES (1), (2)) AS given (n);
                  SELECT ensure_certificate_partitions(700, 700);
                  INSERT INTO certificates (expiry_period, ca_id, serial, tenant_id, status, profile, profile_version, subject,
                    public_key_sha256, not_before, not_after, certificate_der, requested_by, reserved_by, revoked_at, revocation_reason)
                  SELECT 700, (SELECT min(ca_id) FROM cas), ('\\x0' || n)::bytea, 'default', 'revoked', p, v, '', sha256(('leaf' || n)::bytea),
                    now(), now() + interval '1 year', ('\\x0' || n)::bytea, '', '', now(), r
                  FROM (VALUES (2, 'ca', 0, 2), (3, 'tls-server', 1, 1), (4, 'tls-server', 1, 4)) AS given (n, p, v, r)""")
            cursor.execute(file.read_text())
        cursor.execute("SELECT public_key_sha256, source FROM compromised_keys")
        found = {(bytes(key), source) for key, source in cursor.fetchall()}
        digest = lambda text: hashlib.sha256(text.encode()).digest()
        assert found == {(digest("leaf2"), "revocation"), (digest("leaf3"), "revocation"), (digest("key2"), "vault")}
        cursor.execute("SELECT name, state, state_reason FROM cas ORDER BY name")
        assert cursor.fetchall() == [("old1", "active", ""), ("old2", "revoked", "cACompromise")]
    connection.cursor().execute("DROP DATABASE before_0005 WITH (FORCE)")
