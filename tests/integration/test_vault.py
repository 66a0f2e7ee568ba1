# SPDX-License-Identifier: Apache-2.0
"""The vault, asked over the bus by hand-made identities: what it signs, what it refuses and records, and that a lost HSM costs no
caller an error. (issue: "It must show" 3 and 6)"""
import datetime
import hashlib
import json
import os
import re
import signal
import subprocess
import uuid

import pytest
from asn1crypto import ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import lone_vault as lone
from conftest import wait_for
from lone_vault import LoneVault, checkpoint, crl_tbs, end_entity_tbs, name, response_data, timestamp, verifies

DENIED, INVALID, NOT_FOUND, CONFLICT = 2, 1, 4, 5
ROOT = "Test Root CA"
ISSUING = "Test Issuing CA"


@pytest.fixture(scope="module")
def vault():
    made = LoneVault()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def root(vault):
    return vault.make_ca(ROOT)


@pytest.fixture(scope="module")
def issuing(vault, root):
    return vault.make_ca(ISSUING, path_length=0, issuer=root, days=1825)


@pytest.fixture(scope="module")
def responder(vault):
    return vault.generate("issuer", "ecdsa-p256", "ocsp")


@pytest.fixture(scope="module")
def authority(vault):
    return vault.generate("issuer", "ecdsa-p256", "timestamp", "--policy", lone.POLICY)


def refused(vault, result, words, code=DENIED):
    """The refusal names what is wrong, and is an event."""
    assert result["code"] == code, result
    assert words in result["message"], result
    assert b"vault.refused" in vault.events()
    assert words.encode() in vault.events()


# --- what is signed ---


def test_a_key_is_on_both_hsms_and_an_end_entity_certificate_is_signed(vault, issuing):
    assert issuing["copies"] == 2
    tbs = end_entity_tbs(name(ISSUING))
    result = vault.sign("issuer", issuing["key_id"], "end-entity-certificate", tbs)
    assert result["code"] == 0, result
    assert verifies(issuing, tbs, result["signature"])
    assert b"vault.signed" in vault.events()


@pytest.mark.parametrize("algorithm", ["rsa-2048", "rsa-3072", "ecdsa-p384", "ecdsa-p521"])
def test_keys_of_each_algorithm_are_made_on_both(vault, algorithm):
    key = vault.generate("issuer", algorithm, "ocsp")
    assert key["code"] == 0, key
    assert key["copies"] == 2


def test_ed25519_is_refused_where_a_second_copy_is_required(vault):
    key = vault.generate("issuer", "ed25519", "ocsp")
    assert key["code"] != 0
    assert "CKR_KEY_NOT_WRAPPABLE" in key["message"] and "single_copy_accepted" in key["message"]


def told_of(vault, key_id):
    """How often the spool has key.generated of this key."""
    return len(re.findall(rb"key\.generated.{0,200}?" + key_id.encode(), vault.events(), re.S))


def test_no_event_tells_of_a_key_whose_row_could_not_be_written(vault):
    before = vault.events().count(b"key.generated")
    vault.psql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
               "CREATE TRIGGER refuse BEFORE INSERT ON keys FOR EACH ROW EXECUTE FUNCTION refuse()")
    try:
        assert vault.generate("issuer", "ecdsa-p256", "ocsp")["code"] != 0
    finally:
        vault.psql("DROP TRIGGER refuse ON keys; DROP FUNCTION refuse()")
    assert vault.events().count(b"key.generated") == before


def test_a_key_whose_vault_ended_before_the_event_is_told_of(vault):
    """By a repeat of the message, or by the next vault that looks. The row is as such a vault leaves it."""
    again = ["--message-id", uuid.uuid4().hex]
    key = vault.generate("issuer", "ecdsa-p256", "ocsp", *again)["key_id"]
    assert vault.psql(f"SELECT generated_told FROM keys WHERE key_id = '{key}'") == "t" and told_of(vault, key) == 1
    assert vault.generate("issuer", "ecdsa-p256", "ocsp", *again)["key_id"] == key
    assert told_of(vault, key) == 1, "once is enough"

    vault.psql(f"UPDATE keys SET generated_told = false WHERE key_id = '{key}'")
    assert vault.generate("issuer", "ecdsa-p256", "ocsp", *again)["key_id"] == key
    assert told_of(vault, key) == 2

    vault.psql(f"UPDATE keys SET generated_told = false, created_at = created_at - interval '1 hour' WHERE key_id = '{key}'")
    vault.stop()
    vault.start()
    wait_for(lambda: vault.psql(f"SELECT generated_told FROM keys WHERE key_id = '{key}'") == "t", 20, "the event that was owed")
    assert told_of(vault, key) == 3
    vault.psql(f"UPDATE keys SET created_at = created_at + interval '1 hour' WHERE key_id = '{key}'")  # its seal is right again


def test_the_same_message_id_gives_the_same_key(vault):
    again = ["--message-id", uuid.uuid4().hex]
    first = vault.generate("issuer", "ecdsa-p256", "ocsp", *again)
    assert vault.generate("issuer", "ecdsa-p256", "ocsp", *again)["key_id"] == first["key_id"]
    assert vault.generate("issuer", "ecdsa-p384", "ocsp", *again)["code"] == CONFLICT


def test_256_items_each_have_their_own_result(vault, issuing):
    good = [end_entity_tbs(name(ISSUING)) for _ in range(8)]
    items = [good[i % 8] if i % 16 else end_entity_tbs(name("Another CA")) for i in range(256)]
    results = vault.sign("issuer", issuing["key_id"], "end-entity-certificate", *items)
    assert len(results) == 256
    assert [result["code"] for result in results] == [0 if i % 16 else DENIED for i in range(256)]
    assert all(verifies(issuing, items[i], results[i]["signature"]) for i in range(256) if i % 16)


def test_crl_numbers_never_go_back(vault, issuing):
    def sign(tbs):
        return vault.sign("crl", issuing["key_id"], "crl", tbs)

    fifth = crl_tbs(name(ISSUING), 5)
    assert sign(fifth)["code"] == 0
    assert sign(fifth)["code"] == 0  # the same bytes again
    refused(vault, sign(crl_tbs(name(ISSUING), 4)), "is not above 5")
    refused(vault, sign(crl_tbs(name(ISSUING), 5, hours=23)), "is not above 5")
    # A number that is taken is gone for ever: a crl daemon taken over must not end a CA's CRLs.
    for far in (10006, 2 ** 63, 2 ** 150):
        refused(vault, sign(crl_tbs(name(ISSUING), far)), "is more than 10000 above 5")
    assert sign(crl_tbs(name(ISSUING), 10005))["code"] == 0


def test_ocsp_responses_and_timestamps_are_signed(vault, responder, authority):
    tbs = response_data(responder)
    result = vault.sign("ocsp", responder["key_id"], "ocsp", tbs)
    assert verifies(responder, tbs, result["signature"])
    attributes, info = timestamp()
    result = vault.sign("tsa", authority["key_id"], "timestamp", attributes, content=info)
    assert result["code"] == 0, result
    assert verifies(authority, attributes, result["signature"])


def test_a_checkpoint_never_shrinks(vault):
    key = vault.generate("audit", "ecdsa-p256", "audit-checkpoint", "--origin", "chancery.example/log")
    assert vault.sign("audit", key["key_id"], "audit-checkpoint", checkpoint("chancery.example/log", 100))["code"] == 0
    refused(vault, vault.sign("audit", key["key_id"], "audit-checkpoint", checkpoint("chancery.example/log", 99)), "is not above 100")
    refused(vault, vault.sign("audit", key["key_id"], "audit-checkpoint", checkpoint("chancery.example/log", 100, b"x")), "is not above")
    refused(vault, vault.sign("audit", key["key_id"], "audit-checkpoint", checkpoint("else.example/log", 101)), "checkpoint of origin")


# --- who may ask ---


@pytest.mark.parametrize("service, purpose", [
    ("issuer", "ocsp"), ("issuer", "crl"), ("issuer", "timestamp"), ("issuer", "audit-checkpoint"),
    ("ocsp", "end-entity-certificate"), ("ocsp", "ca-certificate"), ("tsa", "end-entity-certificate"), ("crl", "ca-certificate"),
    ("audit", "end-entity-certificate"), ("tsa", "ocsp")])
def test_a_purpose_has_one_caller(vault, issuing, responder, service, purpose):
    key = responder if purpose == "ocsp" else issuing
    tbs = response_data(responder) if purpose == "ocsp" else end_entity_tbs(name(ISSUING))
    refused(vault, vault.sign(service, key["key_id"], purpose, tbs), f"service '{service}' may not ask for purpose '{purpose}'")


@pytest.mark.parametrize("service", ["gateway", "operator"])
def test_who_is_no_signer_gets_no_certificate_whatever_the_key(vault, issuing, service):
    result = vault.sign(service, issuing["key_id"], "end-entity-certificate", end_entity_tbs(name(ISSUING)))
    refused(vault, result, f"service '{service}' may not ask for purpose 'end-entity-certificate'")


def test_a_daemon_renews_its_own_identity_and_nobody_elses(vault):
    """With a system CA whose key is in the vault: made and certified by an operator with officers' approvals."""
    ca = vault.make_system_ca("System CA")
    held = x509.load_pem_x509_certificate((vault.dir / "identity/ocsp-1/certificate.pem").read_bytes())
    names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    tbs = lone.identity_tbs(name("System CA"), names)
    signed = vault.sign("ocsp", ca["key_id"], "service-identity", tbs)
    assert verifies(ca, tbs, signed["signature"])
    for more in (x509.DNSName("localhost"), x509.DNSName("vault.chancery.internal")):  # the public HTTPS name, another service's
        wider = lone.identity_tbs(name("System CA"), x509.SubjectAlternativeName([*names, more]))
        refused(vault, vault.sign("ocsp", ca["key_id"], "service-identity", wider), "a renewal keeps its names")
    refused(vault, vault.sign("tsa", ca["key_id"], "service-identity", tbs), "tsa/tsa-1 asks for the identity of ocsp/ocsp-1")
    refused(vault, vault.sign("operator", ca["key_id"], "service-identity", tbs), "needs officers' approvals")
    operators = {"key": ca["key_id"], "tbs-sha256": hashlib.sha256(tbs).hexdigest(), "identity": "ocsp/ocsp-1",
                 "not-after": lone.certificate_end(tbs)}
    action = vault.approved("service-identity", operators, service="operator")
    assert vault.sign("operator", ca["key_id"], "service-identity", tbs, action=action)["code"] == 0


def test_a_certification_request_for_a_ca_key_leaves_with_approvals(vault, issuing):
    request = (x509.CertificateSigningRequestBuilder().subject_name(name(ISSUING)).sign(lone.THROWAWAY, hashes.SHA256())
               .tbs_certrequest_bytes)
    refused(vault, vault.sign("issuer", issuing["key_id"], "ca-csr", request), "the public key is not key")
    point = lone.THROWAWAY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    info = request.replace(point, bytes.fromhex(issuing["public_key_info"]))
    refused(vault, vault.sign("issuer", issuing["key_id"], "ca-csr", info), "needs officers' approvals")
    fields = {"key": issuing["key_id"], "tbs-sha256": hashlib.sha256(info).hexdigest(), "subject": f"CN={ISSUING}"}
    action = vault.approved("ca-csr", fields)
    signed = vault.sign("issuer", issuing["key_id"], "ca-csr", info, action=action)
    assert verifies(issuing, info, signed["signature"])


def test_an_ocsp_key_signs_no_certificate(vault, responder):
    refused(vault, vault.sign("issuer", responder["key_id"], "end-entity-certificate", end_entity_tbs(name(ISSUING))),
            "is not for purpose 'end-entity-certificate'")


def test_audit_may_make_no_ca_key(vault):
    key = vault.generate("audit", "ecdsa-p256", lone.CA_PURPOSES, "--subject", vault.file(name("Stolen CA").public_bytes()))
    assert key["code"] == DENIED
    assert "may not make a CA key" in key["message"]


def test_a_key_of_mixed_purposes_is_not_made(vault):
    assert vault.generate("issuer", "ecdsa-p256", "ocsp,timestamp", "--policy", lone.POLICY)["code"] == INVALID


def test_another_tenants_key_does_not_exist(vault, issuing):
    tbs = end_entity_tbs(name(ISSUING))
    assert vault.sign("issuer", issuing["key_id"], "end-entity-certificate", tbs, tenant="other")["code"] == NOT_FOUND


def test_an_unknown_purpose_and_an_unknown_key(vault, issuing):
    tbs = end_entity_tbs(name(ISSUING))
    assert vault.sign("issuer", issuing["key_id"], "77", tbs)["code"] == INVALID
    assert vault.sign("issuer", "00" * 16, "end-entity-certificate", tbs)["code"] == NOT_FOUND


# --- what the bytes say ---


def certificate(vault, key, tbs, **options):
    return vault.sign("issuer", key["key_id"], "end-entity-certificate", tbs, **options)


def test_an_issuer_that_is_not_the_keys_ca(vault, issuing):
    refused(vault, certificate(vault, issuing, end_entity_tbs(name("Another CA"))), "issuer is 'CN=Another CA'")


def test_a_not_after_beyond_the_cas(vault, issuing):
    refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), days=2000)), "is beyond the CA's")


def test_a_not_before_before_the_cas(vault, issuing):
    early = lone.now() - datetime.timedelta(hours=1)
    refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), start=early)), "is before the CA's")


def test_ca_true_without_approval(vault, issuing):
    tbs = end_entity_tbs(name(ISSUING), constraints=x509.BasicConstraints(True, None))
    refused(vault, certificate(vault, issuing, tbs), "basicConstraints has cA TRUE")


def test_key_cert_sign_in_an_end_entity_certificate(vault, issuing):
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), key_usage=usage)), "keyUsage has keyCertSign")


def test_a_taken_over_issuer_makes_no_crl_signer(vault, root, issuing, tmp_path):
    """An end entity with the CA's name and without keyUsage: OpenSSL believes its CRLs, as a local CA proves; this vault signs none."""
    attacker, ca_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, day = name("Local CA"), datetime.timedelta(days=1)
    start = lone.now().replace(tzinfo=None)

    def write(path, made):
        (tmp_path / path).write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(subject, key, *extensions):
        builder = (x509.CertificateBuilder().issuer_name(ca_name).subject_name(subject).public_key(key.public_key()).serial_number(77)
                   .not_valid_before(start - day).not_valid_after(start + day))
        for extension in (*extensions, x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                          x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())):
            builder = builder.add_extension(extension, False)
        return builder.sign(ca_key, hashes.SHA256())

    def verify():
        words = ["openssl", "verify", "-crl_check", "-extended_crl", "-CAfile", "ca.pem", "-CRLfile", "forged.pem", "-untrusted",
                 "signer.pem", "victim.pem"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout + done.stderr

    write("ca.pem", issue(ca_name, ca_key, x509.BasicConstraints(True, None)))
    write("victim.pem", issue(name("www.example"), attacker, lone.DIGITAL_SIGNATURE))
    write("forged.pem", x509.CertificateRevocationListBuilder().issuer_name(ca_name).last_update(start).next_update(start + day)
          .add_extension(x509.CRLNumber(1), False)
          .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(attacker.public_key()), False).sign(attacker, hashes.SHA256()))
    write("signer.pem", issue(ca_name, attacker))
    assert "victim.pem: OK" in verify() and "error" not in verify()  # the attack works on a CA that signs such a certificate
    write("signer.pem", issue(ca_name, attacker, lone.DIGITAL_SIGNATURE))
    assert "[CRL path] error 26" in verify()  # "unsuitable certificate purpose": keyUsage without cRLSign ends it

    refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), key_usage=None)), "keyUsage is absent")
    for subject in (ISSUING, ISSUING.upper(), f" {ISSUING.replace(' ', '   ')}"):
        refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), subject=name(subject))), "is the name of the issuer")
    refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), subject=name(ROOT.lower()))),
            "is the name of a CA of this tenant")
    netscape = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.16.840.1.113730.1.1"), bytes.fromhex("03020100"))
    for extension, words in ((netscape, "extension 2.16.840.1.113730.1.1 (nsCertType) is not signed"),
                             (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "anyExtendedKeyUsage"),
                             (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), "extension 1.2.3.4 is not")):
        refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), more=[extension])), words)


def test_bytes_that_are_no_tbs_certificate(vault, issuing):
    tbs = end_entity_tbs(name(ISSUING))
    for octets in (b"\x30\x03\x02\x01\x01", tbs[:-1], tbs + b"\0", b"\x00" * 100, bytes(32)):
        assert certificate(vault, issuing, octets)["code"] == INVALID


def test_a_key_without_a_ca_certificate_issues_nothing(vault):
    ca = vault.generate("issuer", "ecdsa-p256", lone.CA_PURPOSES, "--subject", vault.file(name("Young CA").public_bytes()))
    refused(vault, certificate(vault, ca, end_entity_tbs(name("Young CA"))), "has no CA certificate yet")


# --- CA certificates ---


@pytest.fixture(scope="module")
def candidate(vault):
    ca = vault.generate("issuer", "ecdsa-p256", lone.CA_PURPOSES, "--subject", vault.file(name("Candidate CA").public_bytes()))
    ca["name"] = name("Candidate CA")
    return ca


def ca_certificate(vault, key, tbs):
    """Asked for with the approval of an officer over these bytes (what is refused without: test_approvals.py)."""
    return vault.sign("issuer", key["key_id"], "ca-certificate", tbs, action=vault.approve_certificate(key["key_id"], tbs))


def test_a_path_length_beyond_the_issuing_cas(vault, issuing, candidate):
    tbs = lone.ca_tbs(issuing, candidate, path_length=0, days=100)
    refused(vault, ca_certificate(vault, issuing, tbs), "pathLenConstraint is 0")


def test_a_ca_certificate_for_a_key_that_is_not_the_vaults(vault, root):
    foreign = {"name": name("Foreign CA"), "public_key_info": lone.THROWAWAY.public_key().public_bytes(
        lone.serialization.Encoding.DER, lone.serialization.PublicFormat.SubjectPublicKeyInfo).hex()}
    tbs = lone.ca_tbs(root, foreign, days=100)
    result = ca_certificate(vault, root, tbs)
    refused(vault, result, "subject public key: no such key", NOT_FOUND)


def test_a_self_signed_certificate_for_another_key(vault, root, candidate):
    tbs = lone.ca_tbs(root, {"name": root["name"], "public_key_info": candidate["public_key_info"]}, days=100)
    refused(vault, ca_certificate(vault, root, tbs), "the public key is not key")


# --- time ---


def test_a_crl_that_is_not_of_now_or_lasts_too_long(vault, issuing):
    early = lone.now() - datetime.timedelta(minutes=10)
    refused(vault, vault.sign("crl", issuing["key_id"], "crl", crl_tbs(name(ISSUING), 2 ** 151, this_update=early)), "is not now")
    refused(vault, vault.sign("crl", issuing["key_id"], "crl", crl_tbs(name(ISSUING), 2 ** 151, hours=24 * 500)), "at most")
    refused(vault, vault.sign("crl", issuing["key_id"], "crl", crl_tbs(name("Another CA"), 2 ** 151)), "TBSCertList.issuer")


def test_an_ocsp_response_of_another_responder_or_time(vault, responder):
    def sign(tbs):
        return vault.sign("ocsp", responder["key_id"], "ocsp", tbs)

    other = ocsp.ResponderId(name="by_key", value=b"x" * 20)
    by_name = ocsp.ResponderId.load(b"\xa1" + bytes([len(name("CA").public_bytes())]) + name("CA").public_bytes())
    refused(vault, sign(response_data(responder, responder=other)), "responderID is not the hash")
    refused(vault, sign(response_data(responder, responder=by_name)), "responderID is byName")
    refused(vault, sign(response_data(responder, produced_at=lone.now() - datetime.timedelta(hours=1))), "producedAt")
    refused(vault, sign(response_data(responder, hours=24 * 30)), "at most")


def test_a_timestamp_of_another_time_policy_or_content(vault, authority):
    def sign(attributes, info):
        return vault.sign("tsa", authority["key_id"], "timestamp", attributes, content=info)

    late = sign(*timestamp(gen_time=lone.now() - datetime.timedelta(seconds=30)))  # another vault's clock may be right
    assert late["name"] == "expired" and "is not the vault's time" in late["message"], late
    refused(vault, sign(*timestamp(policy="1.2.3.4")), "policy 1.2.3.4 is not one of key")
    refused(vault, sign(*timestamp(digest_of=b"other")), "messageDigest is not the digest")


# --- counted ---


def test_refusals_and_signatures_are_counted_by_purpose_and_reason(vault, issuing):
    series = 'chancery_vault_signatures_total{purpose="end-entity-certificate",outcome="refused",reason="issuer"}'
    before = vault.metrics().get(series, 0)
    certificate(vault, issuing, end_entity_tbs(name("Another CA")))
    assert vault.metrics()[series] == before + 1
    assert vault.metrics()['chancery_vault_signatures_total{purpose="end-entity-certificate",outcome="signed",reason=""}'] > 0
    assert vault.metrics()['chancery_vault_hsm_up{hsm="a"}'] == 1


# --- HSMs that go away ---


@pytest.fixture
def load(vault, issuing):
    """Eight callers sign for some seconds; gives what they saw at the end."""
    running = []

    def start(seconds):
        tbs = vault.file(end_entity_tbs(name(ISSUING)))
        command = vault.probe_command("issuer", "load", issuing["key_id"], "end-entity-certificate", tbs, "--seconds", seconds,
                                      "--callers", 8)
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))

        def finish():
            out, _ = running[-1].communicate(timeout=120)
            return json.loads(out)
        return finish

    yield start
    for process in running:
        process.kill()
        process.wait()


def signatures(vault):
    return sum(value for series, value in vault.metrics().items() if series.startswith("chancery_vault_hsm_signatures_total"))


def wait_more_signatures(vault, more=50):
    wanted = signatures(vault) + more
    wait_for(lambda: signatures(vault) >= wanted, 30, f"{more} more signatures")


def test_killed_workers_cost_no_caller_an_error(vault, load):
    finish = load(8)
    for victim in ("a", "b", "a", "b"):
        wait_for(lambda: len(vault.worker_pids()) == 2, 20, "both workers run")
        wait_more_signatures(vault)
        os.kill(vault.worker_pids()[victim], signal.SIGKILL)
        wait_more_signatures(vault)
    seen = finish()
    assert seen["errors"] == 0, seen
    assert seen["signatures"] > 100
    wait_for(lambda: set(vault.states().values()) == {"up"}, 20, "both HSMs up again")
    assert b"hsm.down" in vault.events() and b"hsm.up" in vault.events()


def test_a_stopped_worker_costs_no_caller_an_error(vault, load):
    finish = load(8)
    wait_more_signatures(vault)
    stopped = vault.worker_pids()["a"]
    os.kill(stopped, signal.SIGSTOP)
    wait_for(lambda: vault.worker_pids().get("a", stopped) != stopped, 20, "the stopped worker is replaced")
    wait_more_signatures(vault)
    seen = finish()
    assert seen["errors"] == 0, seen


def test_a_token_directory_that_is_moved_away_and_back_costs_no_caller_an_error(vault, load):
    finish = load(12)
    tokens = vault.dir / "hsm" / "a" / "tokens"
    wait_more_signatures(vault)
    tokens.rename(tokens.parent / "away")
    os.kill(vault.worker_pids()["a"], signal.SIGKILL)  # so that it must open the token again
    wait_for(lambda: vault.states()["a"] == "down", 20, "HSM a down")
    assert vault.ready()
    wait_more_signatures(vault)
    (tokens.parent / "away").rename(tokens)
    wait_for(lambda: vault.states()["a"] == "up", 20, "HSM a up again")
    seen = finish()
    assert seen["errors"] == 0, seen


def test_a_restart_keeps_all_keys_and_numbers(vault, issuing):
    vault.stop()
    vault.start()
    tbs = end_entity_tbs(name(ISSUING))
    assert verifies(issuing, tbs, vault.sign("issuer", issuing["key_id"], "end-entity-certificate", tbs)["signature"])
    refused(vault, vault.sign("crl", issuing["key_id"], "crl", crl_tbs(name(ISSUING), 6)), "is not above")


def test_initialising_again_changes_nothing(vault, issuing):
    before = sorted(path.name for path in (vault.dir / "hsm").rglob("*.object"))
    said = vault._run(lone.BUILD / "bin" / "chancery-vault", "--config", vault.dir / "vault.yaml", "--init-hsms")
    assert "left as they are" in said
    assert sorted(path.name for path in (vault.dir / "hsm").rglob("*.object")) == before


def test_ed25519_where_a_single_copy_is_accepted():
    vault = LoneVault(hsms=("a",), single_copy_accepted=True)
    try:
        key = vault.generate("issuer", "ed25519", "ocsp")
        assert key["code"] == 0 and key["copies"] == 1
        tbs = ocsp_tbs_ed25519(key)
        signature = vault.sign("ocsp", key["key_id"], "ocsp", tbs)
        assert signature["code"] == 0, signature
        lone.public_key(key).verify(bytes.fromhex(signature["signature"]), tbs)
    finally:
        vault.remove()


def ocsp_tbs_ed25519(key):
    import hashlib
    raw = lone.public_key(key).public_bytes(lone.serialization.Encoding.Raw, lone.serialization.PublicFormat.Raw)
    return response_data(key, responder=ocsp.ResponderId(name="by_key", value=hashlib.sha1(raw).digest()))
