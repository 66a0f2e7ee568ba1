# SPDX-License-Identifier: Apache-2.0
"""The vault, asked over the bus by hand-made identities: what it signs, what it refuses and records, and that a lost HSM costs no
caller an error. (issue: "It must show" 3 and 6)"""
import datetime
import hashlib
import json
import os
import signal
import subprocess
import uuid

import pytest
from asn1crypto import ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

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
    assert sign(crl_tbs(name(ISSUING), 2 ** 150))["code"] == 0


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
    fields = {"label": "System CA", "algorithm": "ecdsa-p256", "purposes": "ca-certificate,crl,service-identity", "subject": "CN=System CA"}
    action = vault.approved("generate-key", fields, service="operator")
    ca = vault.probe("operator", "generate", "ecdsa-p256", "ca-certificate,crl,service-identity", "--subject",
                     vault.file(name("System CA").public_bytes()), "--label", "System CA", "--action", action)[0]
    assert ca["code"] == 0, ca
    ca["name"] = name("System CA")
    root = lone.ca_tbs(ca, ca, days=3650)
    assert vault.sign("operator", ca["key_id"], "ca-certificate", root, action=vault.approve_certificate(ca["key_id"], root))["code"] == 0
    tbs = identity_tbs("ocsp/ocsp-1")
    signed = vault.sign("ocsp", ca["key_id"], "service-identity", tbs)
    assert verifies(ca, tbs, signed["signature"])
    refused(vault, vault.sign("tsa", ca["key_id"], "service-identity", tbs), "tsa/tsa-1 asks for the identity of ocsp/ocsp-1")
    refused(vault, vault.sign("operator", ca["key_id"], "service-identity", tbs), "needs officers' approvals")
    operators = {"key": ca["key_id"], "tbs-sha256": hashlib.sha256(tbs).hexdigest(), "identity": "ocsp/ocsp-1",
                 "not-after": lone.certificate_end(tbs)}
    action = vault.approved("service-identity", operators, service="operator")
    assert vault.sign("operator", ca["key_id"], "service-identity", tbs, action=action)["code"] == 0


def identity_tbs(identity):
    uses = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    start = lone.now()
    return (x509.CertificateBuilder().issuer_name(name("System CA")).subject_name(name("ocsp-1")).serial_number(78)
            .public_key(lone.THROWAWAY.public_key()).not_valid_before(start.replace(tzinfo=None))
            .not_valid_after((start + datetime.timedelta(days=30)).replace(tzinfo=None))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"chancery:service/{identity}")]), False)
            .add_extension(x509.KeyUsage(True, *[False] * 8), True).add_extension(x509.ExtendedKeyUsage(uses), False)
            .sign(lone.THROWAWAY, hashes.SHA256()).tbs_certificate_bytes)


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
    early = lone.now() - datetime.timedelta(days=2)
    refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), start=early)), "is before the CA's")


def test_ca_true_without_approval(vault, issuing):
    tbs = end_entity_tbs(name(ISSUING), constraints=x509.BasicConstraints(True, None))
    refused(vault, certificate(vault, issuing, tbs), "basicConstraints has cA TRUE")


def test_key_cert_sign_in_an_end_entity_certificate(vault, issuing):
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    refused(vault, certificate(vault, issuing, end_entity_tbs(name(ISSUING), key_usage=usage)), "keyUsage has keyCertSign")


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

    refused(vault, sign(*timestamp(gen_time=lone.now() - datetime.timedelta(seconds=30))), "is not the vault's time")
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
