# SPDX-License-Identifier: Apache-2.0
"""The suite's own signers when they may sign no more: compromised and revoked OCSP responders and TSAs stop and are replaced by
themselves, on every instance, within 10 s, judged by openssl; where that is impossible the instances say so; and which CA's TSA is
the default is stated, never derived."""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import time

import pytest
import requests
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from conftest import BUILD, wait_for

DER = serialization.Encoding.DER
# Seconds until another signs, everywhere, from the moment at which the key or certificate is marked. The bar is 10 on cores of one's own
# (CHANCERY_SIGNER_SECONDS=10); here a sanitizer's daemons share two cores with everything else.
DEADLINE = float(os.environ.get("CHANCERY_SIGNER_SECONDS", 40))
POLICY = "1.3.6.1.4.1.99999.1.1"  # of deploy/documents


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def openssl(*words):
    return run("openssl", *words)


# --- relying parties: one past HAProxy for each instance -------------------------------------------------------------------

class StatusClient:
    """Asks one OCSP responder about a certificate of the issuing CA."""
    kind, service, reload = "ocsp", "ocsp", "chancery_ocsp_signers_lost_total"

    def __init__(self, suite, instance, work):
        self.suite, self.instance = suite, instance
        self.url = "http://" + suite.config(instance)["http"]["listen"] + "/ocsp"
        self.work = work
        self.chain = pathlib.Path(suite.chain)

    def prepare(self, leaf):
        self.leaf = leaf
        (self.work / "leaf.pem").write_text(leaf["certificate"])

    def ask(self, nonce):
        """The certificate that signed a good answer which openssl verifies; None: there is no such answer."""
        reply = self.work / f"{self.instance}.ors"
        reply.unlink(missing_ok=True)
        out = openssl("ocsp", "-issuer", self.chain, "-cert", self.work / "leaf.pem", "-url", self.url, "-CAfile", self.chain, "-respout", reply,
                      "-nonce" if nonce else "-no_nonce")
        if "Response verify OK" not in out or "leaf.pem: good" not in out:
            return None
        return ocsp.load_der_ocsp_response(reply.read_bytes()).certificates[0]

    def signers(self):
        return [self.ask(nonce=True), self.ask(nonce=False)]


class StampClient:
    """Asks one TSA for a timestamp."""
    kind, service, reload = "tsa", "tsa", "chancery_tsa_signers_lost_total"

    def __init__(self, suite, instance, work):
        self.suite, self.instance, self.work = suite, instance, work
        self.url = "http://" + suite.config(instance)["http"]["listen"] + "/tsa"
        self.chain = suite.chain

    def prepare(self, _):
        self.query = self.work / "query.tsq"
        openssl("ts", "-query", "-digest", "00" * 32, "-sha256", "-cert", "-out", self.query)

    def signers(self):
        reply = self.work / f"{self.instance}.tsr"
        answer = requests.post(self.url, data=self.query.read_bytes(), headers={"Content-Type": "application/timestamp-query"}, timeout=30)
        reply.write_bytes(answer.content)
        if "Verification: OK" not in openssl("ts", "-verify", "-in", reply, "-queryfile", self.query, "-CAfile", self.chain):
            return [None]
        return [signer_of(answer.content)]


def signer_of(reply):
    signed = tsp.TimeStampResp.load(reply)["time_stamp_token"]["content"]
    serial = signed["signer_infos"][0]["sid"].chosen["serial_number"].native
    return next(c for c in (x509.load_der_x509_certificate(choice.chosen.dump()) for choice in signed["certificates"])
                if c.serial_number == serial)


CLIENTS = {"ocsp": StatusClient, "tsa": StampClient}


@pytest.fixture(scope="module")
def leaf(two_replicas):
    return two_replicas.issue()


@pytest.fixture
def clients(two_replicas, leaf, tmp_path):
    """clients(kind): one for each instance, when all have answered."""
    def make(kind):
        made = [CLIENTS[kind](two_replicas, name, tmp_path) for name in two_replicas.instances() if name.startswith(CLIENTS[kind].service + "-")]
        assert len(made) == 2
        for client in made:
            client.prepare(leaf)
            wait_for(lambda client=client: None not in client.signers(), 30, f"{client.instance} to answer")
        return made
    return make


def key_in_use(suite, kind, ca=None):
    (row,) = suite.psql("SELECT key_id, encode(serial, 'hex') FROM service_signers WHERE kind = %s AND ca_name = %s AND obstacle IS NULL "
                        "ORDER BY not_before DESC LIMIT 1", (kind, ca or suite.issuing_ca))
    return row


def stopped_events(suite, key):
    return suite.psql("SELECT type FROM audit_log WHERE type = 'signer.stopped' AND subject = %s", (key,))


def total(suite, service, name):
    return sum(value for instance in suite.instances() if instance.startswith(service + "-")
               for metric, value in suite.metrics(instance).items() if metric.startswith(name))


def replaced_everywhere(clients, old, since):
    """Seconds until every client's answers are good and by another certificate than `old`, which none gives after that."""
    def all_new():
        return all(signer and signer != old for client in clients for signer in client.signers())
    wait_for(all_new, DEADLINE - (time.monotonic() - since), "another certificate signs on every instance")
    took = time.monotonic() - since
    for _ in range(3):
        assert all_new()
    return took


def compromise(suite, kind):
    key, _ = key_in_use(suite, kind)
    done = suite.cli("vault", "key", "compromise", key, "--reason", "test")
    assert done.code == 0, done.err
    return key


def revoke(suite, kind):
    key, serial = key_in_use(suite, kind)
    suite.revoke(serial)
    return key


@pytest.mark.parametrize("what", [compromise, revoke])
@pytest.mark.parametrize("kind", ["ocsp", "tsa"])
def test_it_stops_at_once_and_another_takes_its_place(two_replicas, clients, kind, what):
    suite = two_replicas
    asking = clients(kind)
    old = asking[0].signers()[0]
    assert all(signer == old for client in asking for signer in client.signers())
    stopped = total(suite, "issuer", "chancery_issuer_signers_stopped_total")
    key = what(suite, kind)
    since = time.monotonic()
    took = replaced_everywhere(asking, old, since)
    print(f"{kind}, {what.__name__}: another certificate on both instances after {took:.2f} s (openssl's start included)")
    new = asking[0].signers()[0]
    assert new.public_key() != old.public_key()
    # told once, however many issuers saw it
    wait_for(lambda: stopped_events(suite, key), 10, "the alert in the audit log")
    assert len(stopped_events(suite, key)) == 1
    assert total(suite, "issuer", "chancery_issuer_signers_stopped_total") == stopped + 1
    assert any(key in line["msg"] and "may sign no more" in line["msg"] for name in ("issuer-1", "issuer-2") for line in suite.log(name))
    for client in asking:
        assert suite.metrics(client.instance)[client.reload] >= 1
        assert suite.is_ready(client.instance)


def test_a_key_compromised_before_it_was_certified_is_passed_over(two_replicas, clients):
    """A renewal that was cut short left a key; it becomes compromised; the next renewal must not take it up again."""
    suite = two_replicas
    asking = clients("tsa")
    old = asking[0].signers()[0]
    ((made, ca_key),) = suite.psql("SELECT count(*), min(c.key_id) FROM service_certificates s JOIN cas c USING (ca_id) "
                                   "WHERE s.kind = 'tsa' AND c.name = %s", (suite.issuing_ca,))
    seed = f"chancery/signer-key/v1\ndefault\n{ca_key}\ntsa\n{made}\necdsa-p256\n"
    out = run(BUILD / "tests" / "vaultprobe", "--identity", suite.dir / "identity" / "issuer-1", "--system-ca", suite.dir / "pki/system-ca.pem",
              "--service", "issuer", "--instance", "issuer-1", "--tenant", "default", "--vault", suite.env["CHANCERY_VAULT"].split()[0], "generate",
              "ecdsa-p256", "timestamp", "--policy", POLICY, "--message-id", hashlib.sha256(seed.encode()).hexdigest()[:32])
    left = json.loads(out.splitlines()[0])["key_id"]
    assert suite.cli("vault", "key", "compromise", left).code == 0
    compromise(suite, "tsa")
    since = time.monotonic()
    replaced_everywhere(asking, old, since)
    assert suite.psql("SELECT 1 FROM service_certificates WHERE key_id = %s", (left,)) == []
    assert any(left in line["msg"] and "passed over" in line["msg"] for name in ("issuer-1", "issuer-2") for line in suite.log(name))


def not_ready(suite, instance):
    answer = suite.operations(instance, "/readyz")
    return answer.text if answer.status_code == 503 else None


def test_without_a_vault_none_can_be_made_and_the_instances_say_so(two_replicas, clients):
    suite = two_replicas
    asking = clients("tsa")
    old = asking[0].signers()[0]
    vaults = [name for name in suite.instances() if name.startswith("vault-")]
    for vault in vaults:
        suite.sv("down", vault)
    try:
        revoke(suite, "tsa")
        for client in asking:
            wait_for(lambda client=client: "its certificate is revoked" in (not_ready(suite, client.instance) or ""), 10,
                     f"{client.instance} to say that it cannot stamp, and why")
            assert client.signers() == [None]
    finally:
        for vault in vaults:
            suite.sv("up", vault)
    for vault in vaults:
        suite.wait_ready(vault)
    print(f"again {replaced_everywhere(asking, old, time.monotonic()):.2f} s after the vaults were ready")
    for client in asking:
        suite.wait_ready(client.instance, 5)


# --- a CA that is compromised (RFC 6960 §2.7) and one that stopped -----------------------------------------------------------

CA_DOCUMENT = """\
name: {name}
parent: {parent}
subject: "CN={name},O=Example,C=CH"
key: ecdsa-p256
validity: 1y
path_length: 0
urls: {{ ocsp: "http://pki.example/ocsp" }}
ocsp_responder: {{ key: ecdsa-p256 }}
timestamp_authority: {{ key: ecdsa-p256, policies: ["{policy}"]{more} }}
"""


def document(suite, tmp_path, name, policy, more=""):
    path = tmp_path / f"{name}.yaml"
    path.write_text(CA_DOCUMENT.format(name=name, parent=suite.root_ca, policy=policy, more=more))
    return path


def stamp(suite, policy=None):
    """(rejection or None, the CA that certified the signer)"""
    words = ["ts", "-query", "-digest", "00" * 32, "-sha256", "-cert"] + (["-tspolicy", policy] if policy else [])
    query = subprocess.run(["openssl", *words], capture_output=True, check=True).stdout
    answer = requests.post(suite.http + "/tsa", data=query, headers={"Content-Type": "application/timestamp-query"}, timeout=30)
    if answer.status_code != 200:
        return f"HTTP {answer.status_code}", None
    try:
        signer = signer_of(answer.content)
    except ValueError:  # asn1crypto demands the token
        text = subprocess.run(["openssl", "ts", "-reply", "-in", "/dev/stdin", "-text"], input=answer.content, capture_output=True,
                              check=False).stdout.decode()
        return re.search(r"Failure info: (.*)", text).group(1), None
    return None, signer.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value


def test_another_ca_with_a_tsa_does_not_become_the_default(two_replicas, clients, tmp_path):
    suite = two_replicas
    clients("tsa")
    # 1. That it would be the default beside another is refused before officers are asked.
    refused = suite.cli("ca", "create", "--yes", document(suite, tmp_path, "stamping-too", "1.2.3.4", ", default: true"))
    assert refused.code != 0 and f"'{suite.issuing_ca}' is the default already" in refused.err
    # 2. Without, it changes nothing for who names no policy; who names its own policy gets it.
    made = suite.cli("ca", "create", "--yes", document(suite, tmp_path, "stamping-too", "1.2.3.4"))
    assert made.code == 0, made.err
    wait_for(lambda: stamp(suite, "1.2.3.4") == (None, "stamping-too"), 20, "the other CA's TSA stamps")
    assert {stamp(suite)[1] for _ in range(6)} == {"Example Issuing CA 1"}
    assert stamp(suite, POLICY) == (None, "Example Issuing CA 1")
    table = suite.cli("ca", "list").out
    assert re.search(rf"^{suite.issuing_ca} +active +yes", table, re.M) and re.search(r"^stamping-too +active +no", table, re.M), table
    # 3. Where none is stated, nobody is taken, and the instances say so.
    suite.psql("UPDATE cas SET timestamp_default = false")
    try:
        wait_for(lambda: "policy is not supported" in (stamp(suite)[0] or ""), 5, "no default")
        assert stamp(suite, "1.2.3.4") == (None, "stamping-too")
        for instance in ("tsa-1", "tsa-2"):
            wait_for(lambda instance=instance: "no CA is stated to be the default" in suite.operations(instance, "/readyz").text, 5,
                     f"{instance} says so")
    finally:
        suite.psql("UPDATE cas SET timestamp_default = true WHERE name = %s", (suite.issuing_ca,))
    wait_for(lambda: stamp(suite) == (None, "Example Issuing CA 1"), 5, "the stated default")


def test_a_compromised_ca_has_issued_nothing_that_is_good(two_replicas):
    """And its TSA stamps no more. The CA of the test before."""
    suite = two_replicas
    url = "http://" + suite.config("ocsp-1")["http"]["listen"] + "/ocsp"
    issuer = x509.load_pem_x509_certificate(suite.api("GET", "/v1/cas/stamping-too").json()["certificate"].encode())
    leaf = x509.load_pem_x509_certificate(suite.issue(ca="stamping-too")["certificate"].encode())
    body = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build().public_bytes(DER)

    def status():
        answer = ocsp.load_der_ocsp_response(requests.post(url, data=body, headers={"Content-Type": "application/ocsp-request"}, timeout=15).content)
        return answer if answer.response_status == ocsp.OCSPResponseStatus.SUCCESSFUL else None
    wait_for(lambda: status() and status().certificate_status == ocsp.OCSPCertStatus.GOOD, 20, "good at first, and cached")
    ((key,),) = suite.psql("SELECT key_id FROM cas WHERE name = 'stamping-too'")
    assert suite.cli("vault", "key", "compromise", key).code == 0
    wait_for(lambda: status() and status().certificate_status == ocsp.OCSPCertStatus.REVOKED, 5, "revoked, the cached answer too")
    assert status().revocation_reason == x509.ReasonFlags.ca_compromise
    wait_for(lambda: stamp(suite, "1.2.3.4")[1] is None, 5, "its TSA stamps no more")
    assert stamp(suite)[1] == "Example Issuing CA 1"
