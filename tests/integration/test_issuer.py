# SPDX-License-Identifier: Apache-2.0
"""The CA: what it issues under each profile and what it refuses, that a request is answered once however often it comes, that
nothing pending is forgotten, status changes, listings. What it issues is read with openssl, gnutls and python cryptography."""
import base64
import concurrent.futures
import datetime
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest
import requests
import yaml
from conftest import utc, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TOP = pathlib.Path(__file__).resolve().parents[2]
REASONS = ["unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation",
           "privilegeWithdrawn", "aACompromise"]
USAGES = {
    "tls-server": ExtendedKeyUsageOID.SERVER_AUTH, "tls-client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code-signing": ExtendedKeyUsageOID.CODE_SIGNING, "ocsp-responder": ExtendedKeyUsageOID.OCSP_SIGNING,
    "tsa": ExtendedKeyUsageOID.TIME_STAMPING,
}


def fresh(prefix="i"):
    return f"{prefix}{time.monotonic_ns()}.example"


def make_csr(names, key=None, extensions=(), digest=hashes.SHA256()):
    """A CSR with [(oid, value), …] as subject."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(o, v) for o, v in names]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


def ask(suite, csr, profile="tls-server", role="officer", key=None, **fields):
    headers = {"Accept": "application/json"} | ({"Idempotency-Key": key} if key else {})
    return suite.api("POST", "/v1/certificates", role=role, headers=headers,
                     json={"profile": profile, "ca": suite.issuing_ca, "csr": csr} | fields)


def ask_for(suite, name, **options):
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
    return ask(suite, csr, **options)


def refusal(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    return answer.json()["detail"]


def certificate_of(answer):
    return x509.load_pem_x509_certificate(answer["certificate"].encode())


def row(suite, name):
    return suite.psql("SELECT status, encode(serial, 'hex') FROM certificates WHERE san_text = %s", (name,))


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


# --- what is issued ------------------------------------------------------------------------------------------------------------


def test_a_responders_certificate_is_for_the_suites_own_key_alone(suite):
    """Whoever had one could make every revoked certificate good again: the vault knows its own OCSP keys."""
    _, csr = suite.new_key_and_csr(fresh(), [], key="rsa-3072")
    assert "is not an OCSP key of this vault" in refusal(ask(suite, csr, profile="ocsp-responder"), 403)
    own = suite.psql("SELECT certificate_der FROM service_certificates WHERE kind = 'ocsp' ORDER BY not_before DESC LIMIT 1")
    certificate = x509.load_der_x509_certificate(bytes(own[0][0]))
    assert list(extension(certificate, x509.ExtendedKeyUsage).value) == [USAGES["ocsp-responder"]]
    # it is not itself asked about (RFC 6960 §4.2.2.2.1)
    access = {d.access_method for d in extension(certificate, x509.AuthorityInformationAccess).value}
    assert x509.AuthorityInformationAccessOID.OCSP not in access
    assert extension(certificate, x509.OCSPNoCheck)
    assert not any(isinstance(e.value, x509.CRLDistributionPoints) for e in certificate.extensions)


@pytest.mark.parametrize("profile", sorted(set(USAGES) - {"ocsp-responder"}))
def test_each_profile_makes_what_it_says(suite, tmp_path, profile):
    name = fresh()
    key, csr = suite.new_key_and_csr(name, [f"DNS:{name}"] if profile.startswith("tls") else [], key="rsa-3072")
    answer = ask(suite, csr, profile=profile)
    assert answer.status_code == 201, answer.text
    answer = answer.json()
    certificate = certificate_of(answer)

    # python cryptography
    assert certificate.public_key().public_numbers() == key.public_key().public_numbers()
    assert f"{certificate.serial_number:032x}" == answer["serial"]
    assert certificate.subject.rfc4514_string() == f"CN={name}"
    assert not extension(certificate, x509.BasicConstraints).value.ca
    usage = extension(certificate, x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    extended = extension(certificate, x509.ExtendedKeyUsage)
    assert list(extended.value) == [USAGES[profile]]
    assert extended.critical == (profile == "tsa")  # RFC 3161 §2.3
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert extension(certificate, x509.SubjectKeyIdentifier).value == identifier
    # the serial repeats the month of notAfter
    period = (certificate.not_valid_after.year - 1970) * 12 + certificate.not_valid_after.month - 1
    assert int(answer["serial"][:4], 16) == period
    # where to ask about it
    access = {d.access_method: d.access_location.value for d in extension(certificate, x509.AuthorityInformationAccess).value}
    assert access[x509.AuthorityInformationAccessOID.CA_ISSUERS].endswith(f"/ca/{suite.issuing_ca}.cer")
    assert x509.AuthorityInformationAccessOID.OCSP in access
    assert not any(isinstance(e.value, x509.OCSPNoCheck) for e in certificate.extensions)
    assert any(isinstance(e.value, x509.CRLDistributionPoints) for e in certificate.extensions)

    # openssl and gnutls
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(answer["certificate"])
    purpose = {"tls-server": "sslserver", "tls-client": "sslclient", "tsa": "timestampsign",
               "code-signing": "any"}[profile]
    done = subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", suite.chain, leaf],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(answer["certificate"] + pathlib.Path(suite.chain).read_text())
    roots = tmp_path / "root.pem"
    roots.write_text("-----BEGIN" + pathlib.Path(suite.chain).read_text().split("-----BEGIN")[2])
    done = subprocess.run(["certtool", "--verify", "--load-ca-certificate", roots, "--infile", bundle], capture_output=True,
                          text=True)
    assert done.returncode == 0 and "Verified. The certificate is trusted" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("key", ["rsa-2048", "ecdsa-p256"])
def test_nss_takes_a_servers_certificate(suite, tmp_path, key):
    """NSS wants keyEncipherment of an RSA key (SEC_ERROR_INADEQUATE_KEY_USAGE); other keys must not have it (RFC 8813 §3)."""
    name = fresh()
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"], key=key)
    answer = ask(suite, csr).json()
    assert extension(certificate_of(answer), x509.KeyUsage).value.key_encipherment == key.startswith("rsa")
    issuing, root = ["-----BEGIN" + pem for pem in pathlib.Path(suite.chain).read_text().split("-----BEGIN")[1:]]
    store = f"sql:{tmp_path}"
    subprocess.run(["certutil", "-N", "-d", store, "--empty-password"], check=True)
    for nickname, trust, pem in (("root", "C,,", root), ("issuing", ",,", issuing), ("leaf", ",,", answer["certificate"])):
        subprocess.run(["certutil", "-A", "-d", store, "-n", nickname, "-t", trust, "-a"], input=pem, text=True, check=True)
    done = subprocess.run(["certutil", "-V", "-d", store, "-n", "leaf", "-u", "V"], capture_output=True, text=True)
    assert done.returncode == 0 and "certificate is valid" in done.stdout, done.stdout + done.stderr


def test_cas_are_what_public_lints_want(suite):
    """zlint: a root has no pathLenConstraint, a subordinate has certificatePolicies."""
    issuing, root = [x509.load_pem_x509_certificate(("-----BEGIN" + pem).encode())
                     for pem in pathlib.Path(suite.chain).read_text().split("-----BEGIN")[1:]]
    assert extension(root, x509.BasicConstraints).value.path_length is None
    assert extension(issuing, x509.BasicConstraints).value.path_length == 0
    assert [p.policy_identifier.dotted_string for p in extension(issuing, x509.CertificatePolicies).value] == ["2.5.29.32.0"]
    assert not any(isinstance(e.value, x509.CertificatePolicies) for e in root.extensions)


def test_what_a_csr_asks_for_and_does_not_get_is_told(suite):
    name = fresh()
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    wishes = [x509.SubjectAlternativeName([x509.DNSName(name)]), usage, x509.TLSFeature([x509.TLSFeatureType.status_request]),
              x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])]
    csr = make_csr([(NameOID.COMMON_NAME, name)], extensions=wishes)
    told = ["keyUsage keyEncipherment", "tlsfeature (must-staple)", "extendedKeyUsage clientAuth"]
    answer = ask(suite, csr, key=f"key-{name}")
    assert answer.status_code == 201 and answer.json()["ignored"] == told, answer.text
    assert ask(suite, csr, key=f"key-{name}").json()["ignored"] == told  # a repeat says what the first said
    pem = suite.api("POST", "/v1/certificates", headers={"Accept": "application/pem-certificate-chain"},
                    json={"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr})
    assert pem.headers["Chancery-Ignored"] == ", ".join(told)
    assert ask_for(suite, fresh()).json()["ignored"] == []

    strict = f"p{time.monotonic_ns()}"
    document = (TOP / "deploy/profiles/tls-server.yaml").read_text().replace("name: tls-server", f"name: {strict}")
    apply(suite, strict, document + "requested_extensions: refuse\nrequesters: [role:officer]\n")
    assert "does not give: keyUsage keyEncipherment, tlsfeature" in refusal(ask(suite, csr, profile=strict), 400)
    assert "none of its requesters" in refusal(ask_for(suite, fresh(), profile=strict, role="requester"), 403)
    assert ask_for(suite, fresh(), profile=strict).status_code == 201


def test_subject_and_key_are_written_anew(suite):
    """A compressed point comes out uncompressed, a PrintableString as the UTF8String that CN is; chosen octets do not come out."""
    name = fresh()
    key = ec.generate_private_key(ec.SECP256R1())
    san = x509.SubjectAlternativeName([x509.DNSName(name)])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _type=x509.name._ASN1Type.PrintableString)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(san, False).sign(key, hashes.SHA256())
    answer = ask(suite, csr.public_bytes(serialization.Encoding.PEM).decode())
    der = certificate_of(answer.json()).subject.public_bytes()
    assert b"\x0c" + bytes([len(name)]) + name.encode() in der and b"\x13" + bytes([len(name)]) not in der
    chosen = x509.Name([x509.NameAttribute(x509.ObjectIdentifier("2.5.4.45"), "chosen")])  # x500UniqueIdentifier
    csr = x509.CertificateSigningRequestBuilder().subject_name(chosen).add_extension(san, False).sign(key, hashes.SHA256())
    assert "2.5.4.45" in refusal(ask(suite, csr.public_bytes(serialization.Encoding.PEM).decode()), 400)


def test_a_cas_name_and_a_common_name_beside_the_names_are_refused(suite):
    name = fresh()
    dns = x509.SubjectAlternativeName([x509.DNSName(name)])
    root = x509.load_pem_x509_certificate(("-----BEGIN" + pathlib.Path(suite.chain).read_text().split("-----BEGIN")[2]).encode())
    forged = x509.CertificateSigningRequestBuilder().subject_name(root.subject).sign(
        ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    assert f"is the name of CA '{suite.root_ca}'" in refusal(ask(suite, forged, profile="tls-client"), 400)
    other = make_csr([(NameOID.COMMON_NAME, "other.example")], extensions=[dns])
    assert "CN 'other.example' is none of" in refusal(ask(suite, other), 400)
    assert "no A-label" in refusal(ask_for(suite, "xn--0.example"), 400)


@pytest.mark.parametrize("key", ["rsa-2048", "rsa-4096", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519"])
def test_every_key_type_of_the_profile_is_accepted(suite, key):
    name = fresh()
    private, csr = suite.new_key_and_csr(name, [f"DNS:{name}"], key=key)
    answer = ask(suite, csr)
    assert answer.status_code == 201, answer.text
    der = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    assert certificate_of(answer.json()).public_key().public_bytes(*der) == private.public_key().public_bytes(*der)


def test_an_empty_subject_makes_the_alternative_name_critical(suite):
    name = fresh()
    _, csr = suite.new_key_and_csr("", [f"DNS:{name}", "IP:192.0.2.7", "IP:2001:db8::7"])
    certificate = certificate_of(ask(suite, csr).json())
    names = extension(certificate, x509.SubjectAlternativeName)
    assert names.critical and not list(certificate.subject)
    assert names.value.get_values_for_type(x509.DNSName) == [name]
    assert [str(a) for a in names.value.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "2001:db8::7"]


def test_names_in_the_request_replace_those_of_the_csr(suite):
    asked, wanted = fresh("asked"), fresh("wanted")
    _, csr = suite.new_key_and_csr(wanted, [f"DNS:{asked}"])
    answer = ask(suite, csr, subject_alt_names=[{"type": "dns", "value": wanted}])
    assert answer.status_code == 201 and answer.json()["ignored"] == [f"subjectAltName dns:{asked}"], answer.text
    assert answer.json()["subject_alt_names"] == [{"type": "dns", "value": wanted}]
    names = extension(certificate_of(answer.json()), x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [wanted]


def test_validity_is_what_was_asked_for(suite):
    answer = ask_for(suite, fresh(), validity="36h")
    if answer.status_code == 400:  # seconds where the gateway takes no duration
        answer = ask_for(suite, fresh(), validity=36 * 3600)
    assert answer.status_code == 201, answer.text
    certificate = certificate_of(answer.json())
    left = certificate.not_valid_after - datetime.datetime.utcnow()
    assert datetime.timedelta(hours=35, minutes=59) < left < datetime.timedelta(hours=36, minutes=1)


# --- what is refused ----------------------------------------------------------------------------------------------------------


def test_weak_and_unknown_keys_are_refused(suite):
    name = fresh()
    dns = x509.SubjectAlternativeName([x509.DNSName(name)])
    subject = [(NameOID.COMMON_NAME, name)]
    small = make_csr(subject, rsa.generate_private_key(65537, 1024), [dns])
    assert "RSA 1024" in refusal(ask(suite, small), 400)
    exponent = make_csr(subject, rsa.generate_private_key(3, 2048), [dns])
    assert "exponent" in refusal(ask(suite, exponent), 400)
    curve = make_csr(subject, ec.generate_private_key(ec.SECP256K1()), [dns])
    assert "secp256k1" in refusal(ask(suite, curve), 400)
    assert row(suite, name) == []


def test_a_csr_that_its_key_did_not_sign_is_refused(suite):
    name = fresh()
    _, pem = suite.new_key_and_csr(name, [f"DNS:{name}"])
    der = bytearray(base64.b64decode("".join(pem.splitlines()[1:-1])))
    der[der.index(name.encode())] ^= 1  # what was signed is another name
    broken = "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.b64encode(der).decode() + "\n-----END CERTIFICATE REQUEST-----\n"
    assert "signature" in refusal(ask(suite, broken), 400)


def test_sha1_signatures_are_refused(suite):
    name = fresh()
    dns = x509.SubjectAlternativeName([x509.DNSName(name)])
    pem = make_csr([(NameOID.COMMON_NAME, name)], extensions=[dns], digest=hashes.SHA1())
    assert "signature algorithm" in refusal(ask(suite, pem), 400)


def test_a_csr_that_asks_for_ca_true_is_refused(suite):
    name = fresh()
    extensions = [x509.SubjectAlternativeName([x509.DNSName(name)]), x509.BasicConstraints(ca=True, path_length=0)]
    assert "CA:TRUE" in refusal(ask(suite, make_csr([(NameOID.COMMON_NAME, name)], extensions=extensions)), 400)


@pytest.mark.parametrize("subject,sans,part", [
    ("ok", ["bad_name.example"], "bad_name"),
    ("ok", ["a..example"], "a..example"),
    ("ok", ["www.*.example"], "www.*.example"),
    ("ok", ["192.0.2.1"], "192.0.2.1"),
    ("ok", [], "at least 1"),
    ("ok", [f"n{i}.example" for i in range(101)], "101"),
])
def test_wrong_names_are_refused(suite, subject, sans, part):
    extensions = [x509.SubjectAlternativeName([x509.DNSName(n) for n in sans])] if sans else []
    assert part in refusal(ask(suite, make_csr([(NameOID.COMMON_NAME, subject)], extensions=extensions)), 400)


def test_subject_attributes_and_name_forms_outside_the_profile_are_refused(suite):
    name = fresh()
    dns = x509.SubjectAlternativeName([x509.DNSName(name)])
    attribute = make_csr([(NameOID.COMMON_NAME, name), (NameOID.SURNAME, "x")], extensions=[dns])
    assert "SN is not allowed" in refusal(ask(suite, attribute), 400)
    mail = x509.SubjectAlternativeName([x509.DNSName(name), x509.RFC822Name("a@example.com")])
    assert "email:a@example.com is not allowed" in refusal(
        ask(suite, make_csr([(NameOID.COMMON_NAME, name)], extensions=[mail])), 400)


def test_too_long_a_validity_is_refused(suite):
    assert "maximum" in refusal(ask_for(suite, fresh(), validity="399d"), 400)


def test_an_unknown_profile_or_ca_is_told(suite):
    assert "no-such" in refusal(ask_for(suite, fresh(), profile="no-such"), 404)
    assert "no-such" in refusal(ask_for(suite, fresh(), ca="no-such"), 404)
    assert "root" in refusal(ask_for(suite, fresh(), ca=suite.root_ca), 400)


def test_only_officers_get_responder_and_tsa_certificates(suite):
    _, csr = suite.new_key_and_csr("responder", [])
    for profile in ("ocsp-responder", "tsa"):
        assert "officers" in refusal(ask(suite, csr, profile=profile, role="requester"), 403)
    assert ask_for(suite, fresh(), role="requester").status_code == 201


# --- once, however often ------------------------------------------------------------------------------------------------------


def test_a_repeated_key_answers_what_it_made(suite):
    name = fresh()
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
    first, second = (ask(suite, csr, key=f"key-{name}").json() for _ in range(2))
    assert first["certificate"] == second["certificate"]
    assert len(row(suite, name)) == 1
    # the key is the client's: another client's is another
    assert ask(suite, csr, key=f"key-{name}", role="requester").json()["serial"] != first["serial"]


def test_a_repeated_key_with_other_content_is_a_conflict(suite):
    name = fresh()
    assert ask_for(suite, name, key=f"key-{name}").status_code == 201
    assert "idempotency key" in refusal(ask_for(suite, name, key=f"key-{name}"), 409)  # a fresh key pair: another request


def test_a_repeated_key_gives_its_certificate_though_the_profile_has_changed(suite):
    """What was issued stays issued: a repeat is answered before policy is asked."""
    name, profile = fresh(), f"repeat-{time.monotonic_ns()}"
    document = (TOP / "deploy/profiles/tls-server.yaml").read_text().replace("name: tls-server", f"name: {profile}")
    assert apply(suite, profile, document).json()["version"] == 1
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
    first = ask(suite, csr, profile=profile, key=name).json()
    assert apply(suite, profile, document.replace("ecdsa-p256, ", "")).json()["version"] == 2
    assert ask(suite, csr, profile=profile, key=name).json()["serial"] == first["serial"]
    assert "ecdsa-p256" in refusal(ask(suite, csr, profile=profile), 400)


def test_the_same_key_at_the_same_moment_makes_one_certificate(two_replicas):
    suite, name = two_replicas, fresh()
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask(suite, csr, key=f"race-{name}"), range(24)))
    assert {a.status_code for a in answers} == {201}, [a.text for a in answers if a.status_code != 201][:3]
    assert len({a.json()["certificate"] for a in answers}) == 1
    assert len(row(suite, name)) == 1


def test_both_issuers_work(two_replicas):
    suite = two_replicas
    names = [fresh() for _ in range(30)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert {a.status_code for a in pool.map(lambda n: ask_for(suite, n), names)} == {201}
    by = suite.psql("SELECT DISTINCT reserved_by FROM certificates WHERE san_text = ANY(%s)", (names,))
    assert {r[0] for r in by} == {"issuer-1", "issuer-2"}
    serials = suite.psql("SELECT count(*), count(DISTINCT serial) FROM certificates")[0]
    assert serials[0] == serials[1]


# --- between the two commits --------------------------------------------------------------------------------------------------


class Stopped:
    """All vaults stopped: the issuer waits between its two commits."""

    def __init__(self, suite):
        self.pids = [suite.pid(i) for i in suite.instances() if i.startswith("vault")]

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def test_a_pending_certificate_survives_its_issuers_death(suite):
    name = fresh("pending")
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])

    def quietly():
        try:
            ask(suite, csr, key=f"key-{name}")
        except requests.RequestException:
            pass
    with Stopped(suite):
        thread = threading.Thread(target=quietly, daemon=True)
        thread.start()
        wait_for(lambda: row(suite, name) and row(suite, name)[0][0] == "pending", 20, "the row to be pending")
        suite.kill("issuer-1", signal.SIGKILL)
    suite.wait_ready("issuer-1")
    wait_for(lambda: row(suite, name)[0][0] == "issued", 60, "recovery to finish the pending certificate")
    thread.join(60)
    (status, serial), = row(suite, name)
    answer = wait_for(lambda: (a := ask(suite, csr, key=f"key-{name}")).status_code == 201 and a, 30, "the repeated request")
    assert answer.json()["serial"] == serial
    shown = suite.api("GET", f"/v1/certificates/{serial}", headers={"Accept": "application/json"}).json()
    assert shown["status"] == "issued" and shown["certificate"] == answer.json()["certificate"]
    wait_for(lambda: suite.psql("SELECT 1 FROM audit_log WHERE type = 'certificate.issued' AND subject = %s", (serial,)), 30,
             "the audit event of the recovered certificate")


class HeldRecovery:
    """No issuer recovers: somebody has the lease."""

    def __init__(self, suite):
        self.suite = suite

    def __enter__(self):
        wait_for(lambda: self.suite.psql(
            "INSERT INTO issuer_leases AS l VALUES ('recovery/default', 'a test', now() + interval '2 minutes') ON CONFLICT (name)"
            " DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at WHERE l.expires_at <= now() RETURNING 1"),
            30, "the lease of recovery")

    def __exit__(self, *_):
        self.suite.psql("UPDATE issuer_leases SET expires_at = '-infinity' WHERE holder = 'a test'")


def ask_twice_without_a_vault(suite, names):
    with Stopped(suite):
        for name in names:
            _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
            assert ask(suite, csr, key=f"key-{name}").status_code in (503, 504)
            yield csr


def test_a_row_that_cannot_be_saved_keeps_no_other_waiting(suite):
    bad, good = fresh("bad"), fresh("good")
    list(ask_twice_without_a_vault(suite, [bad, good]))
    (_, serial), = row(suite, bad)
    suite.psql("CREATE FUNCTION test_no_save() RETURNS trigger LANGUAGE plpgsql AS"
               f" $$ BEGIN IF encode(NEW.serial, 'hex') = '{serial}' THEN RAISE 'no room' USING ERRCODE = '57014'; END IF; RETURN NEW; END $$")
    suite.psql("CREATE TRIGGER test_no_save BEFORE UPDATE ON certificates FOR EACH ROW EXECUTE FUNCTION test_no_save()")
    try:
        suite.kill("issuer-1", signal.SIGKILL)
        suite.wait_ready("issuer-1")
        wait_for(lambda: row(suite, good)[0][0] == "issued", 60, "the row behind the bad one")
        assert row(suite, bad)[0][0] == "pending"
    finally:
        suite.psql("DROP FUNCTION test_no_save() CASCADE")
    wait_for(lambda: row(suite, bad)[0][0] == "issued", 60, "the bad one")


def test_who_takes_a_row_over_gives_it_up_for_recoverys_reasons(suite):
    name = fresh("late")
    csr, = ask_twice_without_a_vault(suite, [name])
    with HeldRecovery(suite):
        suite.psql("UPDATE certificates SET reserved_at = reserved_at - interval '100 days' WHERE san_text = %s", (name,))
        assert "revoked before it was issued" in refusal(ask(suite, csr, key=f"key-{name}"), 409)
        assert row(suite, name)[0][0] == "revoked"


def test_a_cas_other_certificate_is_seen_at_once(suite):
    """Two activations at once: the issuers that have the first's certificate must not keep it."""
    where = "WHERE name = %s", (suite.root_ca,)
    der = bytes(suite.psql(f"SELECT certificate_der FROM cas {where[0]}", where[1])[0][0])
    shown = suite.api("GET", f"/v1/cas/{suite.root_ca}").json()["certificate"]
    try:
        suite.psql(f"UPDATE cas SET certificate_der = %s {where[0]}", (der[:-1] + bytes([der[-1] ^ 1]), *where[1]))
        assert suite.api("GET", f"/v1/cas/{suite.root_ca}").json()["certificate"] != shown
    finally:
        suite.psql(f"UPDATE cas SET certificate_der = %s {where[0]}", (der, *where[1]))
    assert suite.api("GET", f"/v1/cas/{suite.root_ca}").json()["certificate"] == shown


def test_without_a_vault_the_caller_may_retry_and_gets_the_same_certificate(suite):
    name = fresh("retry")
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
    with Stopped(suite):
        answer = ask(suite, csr, key=f"key-{name}")
        assert answer.status_code in (503, 504), answer.text
        (status, serial), = row(suite, name)
        assert status == "pending"
    answer = wait_for(lambda: (a := ask(suite, csr, key=f"key-{name}")).status_code == 201 and a, 30, "the repeated request")
    assert answer.json()["serial"] == serial
    assert len(row(suite, name)) == 1


def test_what_the_vault_may_have_signed_before_it_refuses_is_revoked_and_not_cancelled(suite):
    """The row's bytes begin a week ago by now, which the vault does not sign; whether it signed what they were at first, nobody knows."""
    name = fresh("refused")
    _, csr = suite.new_key_and_csr(name, [f"DNS:{name}"])
    with Stopped(suite):
        assert ask(suite, csr, key=f"key-{name}").status_code in (503, 504)
        (status, serial), = row(suite, name)
        assert status == "pending"
        tbs = bytes(suite.psql("SELECT tbs_certificate FROM certificates WHERE serial = decode(%s, 'hex')", (serial,))[0][0])
        at = tbs.index(b"\x17\x0d") + 2  # notBefore, a UTCTime
        begins = datetime.datetime.strptime(tbs[at:at + 13].decode(), "%y%m%d%H%M%SZ") - datetime.timedelta(days=7)
        tbs = tbs[:at] + begins.strftime("%y%m%d%H%M%SZ").encode() + tbs[at + 13:]
        suite.psql("SET LOCAL session_replication_role = replica;"  # past the trigger: nobody's role may
                   " UPDATE certificates SET tbs_certificate = %s WHERE serial = decode(%s, 'hex')", (tbs, serial))
    wait_for(lambda: ask(suite, csr, key=f"key-{name}").status_code in (403, 409) and row(suite, name)[0][0] != "pending", 60, "a decision")
    assert row(suite, name) == [("revoked", serial)]
    assert [entry[:2] for entry in log_of(suite, serial)] == [("revoked", 5)]  # cessationOfOperation
    answer = ask(suite, csr, key=f"key-{name}")
    assert answer.status_code == 409 and "revoked before it was issued" in answer.json()["detail"], answer.text


# --- status -------------------------------------------------------------------------------------------------------------------


def change(suite, serial, action, role="officer", **body):
    return suite.api("POST", f"/v1/certificates/{serial}/{action}", role=role, json=body or {})


def log_of(suite, serial):
    return suite.psql("SELECT action, reason, sequence FROM revocation_log WHERE serial = decode(%s, 'hex') ORDER BY sequence",
                      (serial,))


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_revokes(suite, reason):
    serial = suite.issue()["serial"]
    answer = change(suite, serial, "revoke", reason=reason)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["revocation_reason"]) == ("revoked", reason)
    assert abs((utc(answer.json()["revoked_at"]) - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) < 30
    (action, number, _), = log_of(suite, serial)
    codes = {"unspecified": 0, "keyCompromise": 1, "cACompromise": 2, "affiliationChanged": 3, "superseded": 4,
             "cessationOfOperation": 5, "privilegeWithdrawn": 9, "aACompromise": 10}
    assert (action, number) == ("revoked", codes[reason])
    # again: the same answer and no second entry; for another reason: a conflict
    assert change(suite, serial, "revoke", reason=reason).status_code == 200
    assert len(log_of(suite, serial)) == 1
    other = "superseded" if reason != "superseded" else "keyCompromise"
    assert "revoked already" in refusal(change(suite, serial, "revoke", reason=other), 409)


def test_a_revocation_for_certificate_hold_is_a_suspension(suite):
    serial = suite.issue()["serial"]
    assert change(suite, serial, "revoke", reason="certificateHold").json()["status"] == "suspended"
    assert change(suite, serial, "reinstate").json()["status"] == "issued"


def test_reasons_that_are_none_are_refused(suite):
    serial = suite.issue()["serial"]
    for reason in ("removeFromCRL", "because", "KeyCompromise", "7"):
        assert reason in refusal(change(suite, serial, "revoke", reason=reason), 400)
    assert log_of(suite, serial) == []


def test_suspend_and_reinstate(suite):
    serial = suite.issue()["serial"]
    held = change(suite, serial, "suspend").json()
    assert (held["status"], held["revocation_reason"]) == ("suspended", "certificateHold")
    assert change(suite, serial, "suspend").json()["status"] == "suspended"
    free = change(suite, serial, "reinstate").json()
    assert free["status"] == "issued" and not free.get("revocation_reason") and not free.get("revoked_at")
    change(suite, serial, "suspend")
    revoked = change(suite, serial, "revoke", reason="keyCompromise").json()
    assert (revoked["status"], revoked["revocation_reason"]) == ("revoked", "keyCompromise")
    assert "revoked" in refusal(change(suite, serial, "reinstate"), 409)
    assert "revoked" in refusal(change(suite, serial, "suspend"), 409)
    entries = log_of(suite, serial)
    assert [(e[0], e[1]) for e in entries] == [("suspended", 6), ("reinstated", 8), ("suspended", 6), ("revoked", 1)]
    wait_for(lambda: len(suite.psql("SELECT 1 FROM audit_log WHERE subject = %s", (serial,))) >= 5, 30,
             "an audit event for the issuance and each change")


def test_only_officers_change_status(suite):
    serial = suite.issue()["serial"]
    for action in ("revoke", "suspend", "reinstate"):
        refusal(change(suite, serial, action, role="requester"), 403)
    assert log_of(suite, serial) == []


def test_serials_that_nobody_issued_are_not_found(suite):
    serial = suite.issue()["serial"]
    invented = serial[:-1] + ("0" if serial[-1] != "0" else "1")
    for text in (invented, "00", "zz", "f" * 40):
        assert suite.api("GET", f"/v1/certificates/{text}").status_code in (400, 404)
        assert change(suite, text, "revoke", reason="superseded").status_code in (400, 404)
    assert suite.api("GET", f"/v1/certificates/{serial.upper()}", headers={"Accept": "application/json"}).status_code in (200, 400)


def test_revocations_at_the_same_time_get_a_gapless_order(two_replicas):
    suite = two_replicas
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        serials = list(pool.map(lambda _: suite.issue()["serial"], range(24)))
        assert {a.status_code for a in pool.map(lambda s: change(suite, s, "revoke", reason="superseded"), serials)} == {200}
    sequences = [r[0] for r in suite.psql("SELECT sequence FROM revocation_log ORDER BY sequence")]
    assert sequences == list(range(1, len(sequences) + 1))
    assert suite.psql("SELECT sequence FROM revocation_log_head") == [(sequences[-1],)]


# --- listing ------------------------------------------------------------------------------------------------------------------


def listing(suite, **filters):
    answer = suite.api("GET", "/v1/certificates", params=filters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_filters_find_what_they_say(suite):
    name = fresh("Filter-")
    serial = ask_for(suite, name).json()["serial"]
    other = ask_for(suite, fresh("other"), profile="tls-client").json()["serial"]

    def serials(**filters):
        return [c["serial"] for c in listing(suite, limit=1000, **filters)["certificates"]]
    assert serials(san=name.lower()) == [serial]
    assert serials(subject=name.upper()) == [serial]
    assert serials(san=name, status="issued") == [serial]
    assert serials(san=name, status="revoked") == []
    change(suite, serial, "revoke", reason="superseded")
    assert serials(san=name, status="revoked") == [serial]
    assert serial in serials(profile="tls-server") and serial not in serials(profile="tls-client")
    assert other in serials(profile="tls-client")
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    late = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=200)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert serials(san=name, expires_before=soon) == []
    assert serials(san=name, expires_before=late) == [serial]
    assert serials(san="100% _no such'; --") == []
    refusal(suite.api("GET", "/v1/certificates", params={"status": "good"}), 400)


def test_a_cursor_walks_over_all_of_them_once(suite):
    marker = f"walk{time.monotonic_ns()}"
    made = [ask_for(suite, f"n{i}.{marker}.example").json()["serial"] for i in range(7)]
    seen, cursor, pages = [], None, 0
    while pages < 10:
        page = listing(suite, san=marker, limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [c["serial"] for c in page["certificates"]]
        cursor, pages = page.get("next_cursor"), pages + 1
        if not cursor:
            break
        ask_for(suite, f"late{pages}.{marker}.example")  # newer ones do not disturb the walk
    assert seen == made[::-1] and pages == 3
    refusal(suite.api("GET", "/v1/certificates", params={"cursor": "nonsense"}), 400)


# --- profiles, CAs, the suite's own signers --------------------------------------------------------------------------------


def apply(suite, name, document, role="officer"):
    return suite.api("PUT", f"/v1/profiles/{name}", role=role, data=document.encode(),
                     headers={"Content-Type": "application/yaml"})


def test_a_profile_is_versioned_and_strict(suite):
    name = f"p{time.monotonic_ns()}"
    document = (TOP / "deploy/profiles/tls-server.yaml").read_text().replace("name: tls-server", f"name: {name}")
    assert apply(suite, name, document).json()["version"] == 1
    assert apply(suite, name, document).json()["version"] == 1
    assert apply(suite, name, document + "# changed\n").json()["version"] == 2
    assert "unknown key 'validty'" in refusal(apply(suite, name, document.replace("validity", "validty")), 400)
    assert "OCSPSigning" in refusal(apply(suite, name, document.replace("serverAuth", "OCSPSigning")), 400)
    refusal(apply(suite, name, document, role="requester"), 403)


def test_the_shipped_profiles_and_documents_are_the_applied_ones(suite):
    applied = {p["name"]: p for p in suite.api("GET", "/v1/profiles").json()["profiles"]}
    for file in (TOP / "deploy/profiles").glob("*.yaml"):
        assert applied[file.stem]["kind"] == yaml.safe_load(file.read_text())["kind"]


def test_signers_have_certificates_from_their_own_ca(suite):
    wait_for(lambda: len(suite.psql("SELECT 1 FROM service_certificates")) >= 3, 60, "responder and TSA certificates")
    for kind, der, ca in suite.psql("SELECT s.kind, s.certificate_der, c.certificate_der FROM service_certificates s "
                                    "JOIN cas c USING (ca_id)"):
        certificate, issuer = x509.load_der_x509_certificate(bytes(der)), x509.load_der_x509_certificate(bytes(ca))
        assert certificate.issuer == issuer.subject
        issuer.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes,
                                   ec.ECDSA(certificate.signature_hash_algorithm))
        usage = USAGES["ocsp-responder" if kind == "ocsp" else "tsa"]
        assert list(extension(certificate, x509.ExtendedKeyUsage).value) == [usage]


def test_two_issuers_make_each_signer_once(two_replicas):
    suite = two_replicas
    wait_for(lambda: len(suite.psql("SELECT 1 FROM service_certificates")) >= 3, 60, "responder and TSA certificates")
    assert suite.psql("SELECT kind, ca_id FROM service_certificates WHERE stopped_at IS NULL GROUP BY 1, 2 HAVING count(*) > 1") == []


def test_a_ca_document_is_strict_and_bound_by_its_parent(suite):
    document = {"name": f"ca{time.monotonic_ns()}", "parent": suite.issuing_ca, "subject": "CN=Below", "key": "ecdsa-p256",
                "validity": "1y"}

    def prepare(**changes):
        return suite.api("POST", "/v1/cas", data=json.dumps(document | changes), headers={"Content-Type": "application/json"})
    assert "path_length 0" in refusal(prepare(), 400)
    assert "beyond the parent's end" in refusal(prepare(parent=suite.root_ca, path_length=0, validity="40y"), 400)
    assert "no such active CA" in refusal(prepare(parent="nobody"), 404)
    assert "unknown key" in refusal(prepare(lifetime="1y"), 400)
    taken = refusal(prepare(name=suite.issuing_ca, parent=suite.root_ca, path_length=0), 409)
    assert "another document" in taken


def test_partitions_exist_ahead_of_need(suite):
    names = {r[0] for r in suite.psql("SELECT relname FROM pg_class WHERE relname LIKE 'certificates_p%' AND relkind = 'r'")}
    now = datetime.datetime.now(datetime.timezone.utc)
    period = (now.year - 1970) * 12 + now.month - 1
    assert {f"certificates_p{p}" for p in range(period, period + 37)} <= names


def test_what_happens_is_counted(suite):
    name = 'chancery_issuer_certificates_total{profile="tls-server",outcome="issued"}'
    before = suite.metrics("issuer-1").get(name, 0)
    suite.issue()
    assert suite.metrics("issuer-1")[name] == before + 1
