# SPDX-License-Identifier: Apache-2.0
"""Identities of services on a real suite with two of each daemon: refused, replaced, expired and of another system CA, while it runs.
Every test leaves the suite as it found it: each instance with a good identity, none restarted."""
import datetime
import json
import os
import shutil
import subprocess
import threading

import pytest
import requests
from conftest import BUILD, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ON_THE_BUS = ("audit-1", "audit-2", "vault-1", "vault-2", "issuer-2", "crl-1", "crl-2")
# Seconds until every daemon honours a refusal. The bar is 10 on cores of one's own (CHANCERY_REFUSAL_SECONDS=10).
HONOURED = float(os.environ.get("CHANCERY_REFUSAL_SECONDS", 40))
NOW = lambda: datetime.datetime.now(datetime.timezone.utc)


def probe(suite, identity, instance, trusted=None):
    """What that instance answers to a ping of the identity in that directory (tests/tools/busprobe.c)."""
    done = subprocess.run([BUILD / "tests" / "busprobe", "--identity", identity, "--system-ca", trusted or suite.dir / "pki/system-ca.pem",
                           "--service", instance.split("-")[0], "--address", suite.config(instance)["bus"]["listen"],
                           "--timeout", "3000", "good"], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def system_ca(suite, *words):
    output = suite.cli("system-ca", *words, "--directory", suite.dir / "pki")
    assert output.code == 0, output
    return output


def certificate(suite, instance):
    return x509.load_pem_x509_certificate((suite.dir / "identity" / instance / "certificate.pem").read_bytes())


def left(suite, instance):
    return suite.metrics(instance)["chancery_identity_expires_seconds"]


def renew(suite, instance, days):
    """With another number of days each time, so that the metric tells that it is in use."""
    system_ca(suite, "renew", "--days", days, "--out", suite.dir / "identity" / instance)


def wait_in_use(suite, instance, days):
    wait_for(lambda: days - 1 < left(suite, instance) / 86400 <= days, 15, f"{instance} to use the identity of {days} days")


def replace(suite, instance, pem, key=None):
    """As an administrator would: new files renamed over the old, with their owner and mode."""
    for name, content in (("key.pem", key), ("certificate.pem", pem)):
        path = suite.dir / "identity" / instance / name
        if content is None:
            continue
        before, fresh = path.stat(), path.with_suffix(".new")
        fresh.write_bytes(content)
        os.chown(fresh, before.st_uid, before.st_gid)
        os.chmod(fresh, before.st_mode & 0o777)
        os.rename(fresh, path)


@pytest.fixture
def pids(two_replicas):
    """No daemon is restarted by what a test does."""
    before = {instance: two_replicas.pid(instance) for instance in two_replicas.instances()}
    yield before
    assert {instance: two_replicas.pid(instance) for instance in two_replicas.instances()} == before


class Load:
    """Light load from one thread: certificates, and what came of them."""

    def __init__(self, suite):
        self.suite, self.done, self.failures, self.stop = suite, 0, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            try:
                self.suite.issue()
                self.done += 1
            except Exception as error:  # noqa: BLE001: whatever a client sees is a failure
                self.failures.append(repr(error))
            self.stop.wait(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_clients_trust_another_ca_than_daemons(two_replicas):
    suite = two_replicas
    assert suite.api("GET", "/v1/whoami").status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(suite.url + "/v1/whoami", verify=str(suite.dir / "pki/system-ca.pem"), timeout=10)
    subprocess.run(["openssl", "verify", "-purpose", "sslserver", "-CAfile", suite.dir / "pki/public-ca.pem",
                    suite.dir / "identity/gateway-1/https-certificate.pem"], check=True, capture_output=True)


def test_a_stolen_identity_is_refused_by_every_daemon_and_its_owner_gets_another(two_replicas, tmp_path, pids):
    suite, stolen = two_replicas, tmp_path / "stolen"
    shutil.copytree(suite.dir / "identity/issuer-1", stolen)
    assert [probe(suite, stolen, instance)["outcome"] for instance in ON_THE_BUS] == ["answered"] * len(ON_THE_BUS)
    newest = suite.psql("SELECT max(log_sequence) FROM audit_log")[0][0]
    began = NOW()
    output = system_ca(suite, "revoke", "--instance", "issuer-1", "--reason", "keyCompromise")
    assert "issuer/issuer-1" in output.out and "every daemon honours it within 10 s" in output.out

    def refused_by(instance):
        reply = probe(suite, stolen, instance)
        return reply["outcome"] == "error" and reply["code"] == "unauthenticated" and "is refused since" in reply["message"]

    for instance in ON_THE_BUS:
        wait_for(lambda instance=instance: refused_by(instance), HONOURED, f"{instance} to refuse it")
    print(f"refused by all {len(ON_THE_BUS)} on the bus {(NOW() - began).total_seconds():.1f} s after the command began, "
          f"with a probe of each")
    assert suite.metrics("ocsp-1")["chancery_refused_identities"] >= 1

    # The daemon whose identity it is says so; the others go on without it.
    wait_for(lambda: "is refused since" in suite.why_not_ready("issuer-1"), 15, "issuer-1 to say what is wrong")
    assert suite.issue()["status"] == "issued"

    # The database turned back does not bring it back: everybody knows the number of the list.
    suite.psql("DELETE FROM refused_identities")
    wait_for(lambda: suite.psql("SELECT count(*) FROM refused_identities")[0][0] == 1, 10, "the list to be back")
    assert refused_by("vault-1") and refused_by("vault-2")

    # openssl reads the list as RFC 5280 has it, and what is older is not taken.
    crl = subprocess.run(["openssl", "crl", "-in", suite.dir / "pki/system-ca.crl", "-CAfile", suite.dir / "pki/system-ca.pem", "-noout",
                          "-text"], capture_output=True, text=True, check=True)
    assert "verify OK" in crl.stderr and "Key Compromise" in crl.stdout and "X509v3 CRL Number" in crl.stdout

    renew(suite, "issuer-1", 400)
    suite.wait_ready("issuer-1", 20)
    assert refused_by("vault-1") and refused_by("audit-2")
    events = wait_for(lambda: suite.psql("SELECT type FROM audit_log WHERE log_sequence > %s AND type IN "
                                         "('identity.refused-list', 'identity.reloaded')", (newest,)), 10, "the events")
    assert ("identity.refused-list",) in events


def test_a_stolen_operators_certificate_is_refused_by_every_gateway_and_vault(two_replicas, tmp_path):
    """Also on connections that it had opened before; others go on, and the list is the operators' CA's CRL."""
    suite = two_replicas
    assert suite.cli("operator", "issue", "--directory", suite.dir / "pki", "--name", "mallory", "--role", "officer", "--out",
                     tmp_path / "mallory").code == 0
    thief = requests.Session()
    thief.trust_env = False
    thief.cert, thief.verify = (str(tmp_path / "mallory.pem"), str(tmp_path / "mallory.key")), suite.ca_file

    def refused_by():
        return {instance for instance in ("gateway-1", "gateway-2")
                if suite.metrics(instance).get('chancery_gateway_refused_total{reason="unauthenticated"}', 0) > before[instance]}

    before = {instance: suite.metrics(instance).get('chancery_gateway_refused_total{reason="unauthenticated"}', 0)
              for instance in ("gateway-1", "gateway-2")}
    assert thief.get(suite.url + "/v1/whoami", timeout=10).json()["name"] == "mallory"
    began = NOW()
    output = suite.cli("operator", "revoke", "--directory", suite.dir / "pki", "--name", "mallory")
    assert output.code == 0 and "default/officer/mallory" in output.out and "every gateway and vault honours it within 10 s" in output.out

    wait_for(lambda: thief.get(suite.url + "/v1/whoami", timeout=10).status_code == 401, HONOURED, "the open connection to be refused")
    answer = thief.get(suite.url + "/v1/whoami", timeout=10)
    assert "is refused since" in answer.json()["detail"] and "keyCompromise" in answer.json()["detail"], answer.text

    def asked_until_both_refused():
        requests.get(suite.url + "/v1/whoami", cert=thief.cert, verify=suite.ca_file, timeout=10)
        return len(refused_by()) == 2
    wait_for(asked_until_both_refused, HONOURED, "each gateway to refuse it")
    print(f"refused by both gateways {(NOW() - began).total_seconds():.1f} s after the command began")

    assert suite.api("GET", "/v1/whoami").status_code == 200
    wait_for(lambda: suite.psql("SELECT 1 FROM audit_log WHERE type = 'client.refused' AND actor = 'mallory'"), 10, "the audit event")
    crl = subprocess.run(["openssl", "crl", "-in", suite.dir / "pki/operators-ca.crl", "-CAfile", suite.dir / "pki/operators-ca.pem", "-noout",
                          "-text"], capture_output=True, text=True, check=True)
    assert "verify OK" in crl.stderr and "Key Compromise" in crl.stdout
    # daemons that believe no operators' certificates do not ask for the list
    assert suite.metrics("gateway-1")["chancery_refused_identities"] > suite.metrics("ocsp-1")["chancery_refused_identities"]
    # a gateway that starts while no vault can tell it knows it too
    suite.sv("restart", "gateway-1")
    suite.wait_ready("gateway-1")
    assert (suite.dir / "state/gateway-1/refused-identities").read_text().count("BEGIN X509 CRL") >= 1
    assert suite.metrics("gateway-1")["chancery_refused_identities"] > suite.metrics("ocsp-1")["chancery_refused_identities"]


def test_replaced_identities_are_used_at_once_by_messages_and_tls_at_no_request(two_replicas, pids):
    suite = two_replicas
    with Load(suite) as load:
        for days, instance in enumerate(("vault-1", "issuer-2", "audit-1", "ocsp-1"), 300):
            renew(suite, instance, days)
            wait_in_use(suite, instance, days)
        wait_for(lambda: load.done > 5, 30, "certificates")
    assert load.failures == []

    def presented():
        shown = subprocess.run(["openssl", "s_client", "-connect", suite.config("vault-1")["bus"]["listen"], "-showcerts",
                                "-cert", suite.dir / "identity/ocsp-1/certificate.pem", "-key", suite.dir / "identity/ocsp-1/key.pem"],
                               input="", capture_output=True, text=True, timeout=20, check=False).stdout
        return "BEGIN CERTIFICATE" in shown and x509.load_pem_x509_certificate(shown[shown.index("-----BEGIN"):].encode()).serial_number
    # nng had set up the connection that comes next before: hence more than one try
    wait_for(lambda: presented() == certificate(suite, "vault-1").serial_number, 10, "TLS to present the new certificate")


def test_a_wrong_pair_is_refused_told_and_the_old_stays(two_replicas, pids):
    suite, instance = two_replicas, "ocsp-2"
    own = (suite.dir / "identity" / instance / "certificate.pem").read_bytes()
    for number, (other, words) in enumerate((("ocsp-1", "is not the key of the certificate"), (None, "")), 1):
        replace(suite, instance, (suite.dir / "identity" / other / "certificate.pem").read_bytes() if other else b"nonsense")
        wait_for(lambda number=number: suite.metrics(instance).get('chancery_identity_reloads_total{outcome="refused"}') == number, 15,
                 "the refusal to be counted")
        told = lambda: [line["msg"] for line in suite.log(instance) if "the old identity stays" in line["msg"]]
        wait_for(lambda number=number: len(told()) >= number, 10, "the log to have it, which is written beside")
        assert len(told()) == number and words in told()[-1]  # once each
    assert suite.is_ready(instance)
    replace(suite, instance, own)


def test_an_identity_that_expires_while_it_runs_is_said_and_renewed(two_replicas, pids):
    suite, instance = two_replicas, "tsa-2"
    ca = x509.load_pem_x509_certificate((suite.dir / "pki/system-ca.pem").read_bytes())
    ca_key = serialization.load_pem_private_key((suite.dir / "pki/system-ca.key").read_bytes(), None)
    held, key, end = certificate(suite, instance), ec.generate_private_key(ec.SECP256R1()), NOW() + datetime.timedelta(seconds=8)
    builder = (x509.CertificateBuilder().subject_name(held.subject).issuer_name(ca.subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(NOW() - datetime.timedelta(minutes=1)).not_valid_after(end))
    for extension in held.extensions:
        if extension.oid != x509.ExtensionOID.SUBJECT_KEY_IDENTIFIER:
            builder = builder.add_extension(extension.value, extension.critical)
    short = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False).sign(ca_key, hashes.SHA256())
    replace(suite, instance, short.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    wait_for(lambda: left(suite, instance) < 10, 10, "the short identity to be in use")
    assert any("expires at" in line["msg"] for line in suite.log(instance))
    wait_for(lambda: suite.psql("SELECT 1 FROM audit_log WHERE type = 'identity.expiring' AND instance = %s", (instance,)), 10, "the alert")
    wait_for(lambda: "expired at" in suite.why_not_ready(instance), 15, "/readyz to say it")
    wait_for(lambda: any(f"of {instance} expired at" in line["msg"] for peer in ("vault-1", "vault-2") for line in suite.log(peer)), 15,
             "a vault to say whom it refuses and why")
    system_ca(suite, "renew", "--days", 420, "--out", suite.dir / "identity" / instance)
    suite.wait_ready(instance, 20)
    wait_in_use(suite, instance, 420)


def test_the_system_ca_is_rolled_over_under_load(two_replicas, tmp_path, pids):
    suite, instances = two_replicas, two_replicas.instances()
    shutil.copytree(suite.dir / "identity/ocsp-1", tmp_path / "old")
    with Load(suite) as load:
        system_ca(suite, "roll")
        for instance in instances:
            wait_for(lambda instance=instance: suite.metrics(instance)["chancery_identity_trusted_cas"] == 2, 15, f"{instance} to trust both")
        early = suite.cli("system-ca", "roll", "--finish", "--directory", suite.dir / "pki")
        assert early.code != 0 and "has no identity of the new system CA yet" in early.err
        for instance in instances:
            renew(suite, instance, 500)
        renew(suite, "operator", 500)
        for instance in instances:
            wait_in_use(suite, instance, 500)
        for instance in instances:  # events that the old identities signed must be with the collector before their CA goes
            wait_for(lambda instance=instance: suite.metrics(instance)["chancery_audit_spool_bytes"] == 0, 15, f"{instance}'s spool to be sent")
        system_ca(suite, "roll", "--finish")
        for instance in instances:
            wait_for(lambda instance=instance: suite.metrics(instance)["chancery_identity_trusted_cas"] == 1, 15, f"{instance} to trust one")
        certificates = load.done
        wait_for(lambda: load.done > certificates + 3, 30, "certificates afterwards")
    assert load.failures == []
    assert all(suite.is_ready(instance) for instance in instances)
    # The old identity is refused: by TLS, or by the message where nng had set up the connection that comes next before the CA went.
    (tmp_path / "both.pem").write_bytes(b"".join((suite.dir / "pki" / name).read_bytes() for name in ("system-ca.pem", "system-ca-retired.pem")))
    for instance in ("vault-1", "vault-2", "audit-1", "crl-2"):
        reply = probe(suite, tmp_path / "old", instance, trusted=tmp_path / "both.pem")
        assert reply["outcome"] == "none" or (reply["outcome"], reply["code"]) == ("error", "unauthenticated"), reply
    verified = suite.cli("audit", "verify")  # events that it signed verify by system-ca-retired.pem
    assert verified.code == 0, verified
