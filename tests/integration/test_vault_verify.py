# SPDX-License-Identifier: Apache-2.0
"""An HSM that signs wrong, behind tests/tools/faulty_pkcs11.c: no caller sees such a signature, people hear of it, the other HSM signs.
And lanes: while relying parties flood the HSMs, certificates are signed in their turn."""
import contextlib
import hashlib
import json
import subprocess

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

import lone_vault as lone
from conftest import BUILD, wait_for
from lone_vault import LoneVault, end_entity_tbs, operator_command, response_data, verifies

EXPIRED = 8
BREAKER = 'chancery_vault_hsm_breaker{hsm="a"}'
WRONG = 'chancery_vault_hsm_wrong_signatures_total{hsm="a"}'


def hsm(vault, which, module):
    directory = vault / "hsm" / which
    return {"name": which, "module": str(module), "token_label": f"chancery-{which}", "pin_file": f"{directory}/pin", "paths": [str(directory)],
            "environment": [f"SOFTHSM2_CONF={directory}/softhsm2.conf", f"FAULTY_PKCS11_DIRECTORY={directory}"]}


class FaultyVault(LoneVault):
    """HSM a is behind the faulty module."""

    def _configure(self, keys):
        super()._configure({**keys, "hsms": [hsm(self.dir, "a", BUILD / "tests" / "faulty_pkcs11.so"), hsm(self.dir, "b", lone.MODULE)]})

    @contextlib.contextmanager
    def signing_wrong(self):
        path = self.dir / "hsm" / "a" / "wrong-signature"
        path.with_suffix(".draft").write_text("last-of-signatures")
        path.with_suffix(".draft").rename(path)
        try:
            yield
        finally:
            path.unlink()


@pytest.fixture(scope="module")
def vault():
    made = FaultyVault()
    try:
        yield made
    finally:
        made.remove()


def enable_again(vault):
    """A person saw to the HSM."""
    for word in ("disable", "enable"):
        done = lone.hsm_command(vault, word, "a")
        assert done.returncode == 0, done.stderr
    wait_for(lambda: set(vault.states().values()) == {"up"}, 30, "both HSMs up")


def questions(vault):
    """(service, key, question) for each purpose; question(n) is what vault.sign takes, for the n-th time: CRL numbers and checkpoints rise,
    and an action is used once."""
    ca, system_ca = vault.make_ca("Verified CA"), vault.make_system_ca("Verified System CA")
    responder = vault.generate("issuer", "ecdsa-p256", "ocsp")
    authority = vault.generate("issuer", "ecdsa-p256", "timestamp", "--policy", lone.POLICY)
    log = vault.generate("audit", "ecdsa-p256", "audit-checkpoint", "--origin", "verified.example/log")
    held = x509.load_pem_x509_certificate((vault.dir / "identity/ocsp-1/certificate.pem").read_bytes())
    names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    def certificate(_):
        tbs = lone.ca_tbs(ca, ca)
        return "ca-certificate", tbs, {"action": vault.approve_certificate(ca["key_id"], tbs)}

    def request(_):
        info = lone.request_info(ca)
        fields = {"key": ca["key_id"], "tbs-sha256": hashlib.sha256(info).hexdigest(), "subject": "CN=Verified CA"}
        return "ca-csr", info, {"action": vault.approved("ca-csr", fields)}

    def stamp(_):
        attributes, info = lone.timestamp()
        return "timestamp", attributes, {"content": info}
    yield "ocsp", responder, lambda _: ("ocsp", response_data(responder), {})
    yield "issuer", ca, lambda _: ("end-entity-certificate", end_entity_tbs(ca["name"]), {})
    yield "issuer", ca, certificate
    yield "issuer", ca, request
    yield "crl", ca, lambda number: ("crl", lone.crl_tbs(ca["name"], number), {})
    yield "tsa", authority, stamp
    yield "audit", log, lambda number: ("audit-checkpoint", lone.checkpoint("verified.example/log", number), {})
    yield "ocsp", system_ca, lambda _: ("service-identity", lone.identity_tbs(system_ca["name"], names), {})


def test_a_wrong_signature_of_any_purpose_reaches_nobody(vault):
    for service, key, question in questions(vault):
        before = vault.metrics().get(WRONG, 0)
        with vault.signing_wrong():
            for number in range(1, 60):
                purpose, tbs, more = question(number)
                result = vault.sign(service, key["key_id"], purpose, tbs, **more)
                if purpose == "timestamp" and result["code"] == EXPIRED:
                    continue  # its genTime was too long on its way, on a busy machine
                assert result["code"] == 0 and verifies(key, tbs, result["signature"]), (purpose, result)
                if vault.metrics().get(WRONG, 0) > before:
                    break
            else:
                raise AssertionError(f"{purpose}: no wrong signature was seen, though HSM a makes no other")
        assert vault.metrics()[BREAKER] == 2, purpose  # open: shut out
        enable_again(vault)
    metrics = vault.metrics()
    assert metrics['chancery_vault_alerts_total{reason="wrong-signature"}'] <= metrics[WRONG]  # one each time that it is shut out
    events = vault.events()
    assert b"vault.alert" in events and b"wrong-signature" in events and b"signed wrong: key '" in events
    assert "HSM 'a' signed wrong" in (vault.dir / "vault.log").read_text()


def test_officers_may_do_without_for_a_key_and_then_see_what_the_hsm_gave(vault):
    key = vault.generate("issuer", "ecdsa-p256", "ocsp")
    words = ["vault", "key", "set-policy", key["key_id"], "--verify-signatures", "no", "--json"]
    fields = {"key": key["key_id"], "policy-version": "1", "callers": "-", "signature-algorithms": "-", "max-validity-seconds": "0",
              "quota-burst": "0", "quota-per-hour": "0", "approvals-required": "0", "audit-mode": "-", "extra-extensions": "-",
              "verify-signatures": "no"}
    vault.approved("change-key-policy", fields, service="operator")
    done = operator_command(vault, *words)
    assert done.returncode == 0 and json.loads(done.stdout)["signatures_unverified"], done.stderr
    tbs = response_data(key)

    def a_wrong_one_is_let_out():
        for result in vault.sign("ocsp", key["key_id"], "ocsp", *[tbs] * 8):
            try:
                verifies(key, tbs, result["signature"])
            except InvalidSignature:
                return True
        return False
    def the_vault_knows():
        """A row in memory is at most a second old: until then what is wrong is held back, and HSM a shut out."""
        with vault.signing_wrong():
            if a_wrong_one_is_let_out():
                return True
        if vault.metrics()[BREAKER]:
            enable_again(vault)
        return False
    wait_for(the_vault_knows, 20, "a signature that is not verified, at HSM a's turn")
    before = vault.metrics()[WRONG]
    with vault.signing_wrong():
        wait_for(a_wrong_one_is_let_out, 10, "HSM a's turn")
    assert vault.metrics()[WRONG] == before


def test_a_flood_of_ocsp_leaves_certificates_their_turn(vault):
    """Three clients ask for OCSP as fast as they get it; certificates that are asked for one by one wait for their turn, not for the flood
    (tests/long/lanes measures by how much)."""
    ca = vault.make_ca("Unhurried CA")
    responder = vault.generate("issuer", "ecdsa-p256", "ocsp")
    data = vault.file(response_data(responder))
    flood = [subprocess.Popen(vault.probe_command("ocsp", "load", responder["key_id"], "ocsp", data, "--seconds", "4", "--callers", "64"),
                              stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        wait_for(lambda: sum(value for name, value in vault.metrics().items()
                             if name.startswith("chancery_vault_lane_items_total") and 'lane="relying-parties"' in name) > 500, 20, "the flood")
        results = vault.probe("issuer", "load", ca["key_id"], "end-entity-certificate", vault.file(end_entity_tbs(ca["name"])), "--seconds", "2",
                              "--callers", "2")[0]
    finally:
        seen = [json.loads(process.communicate(timeout=60)[0]) for process in flood]
    assert results["code"] == 0 and results["errors"] == 0 and results["signatures"] > 0, results
    assert all(one["errors"] == 0 for one in seen), seen
    waited, items = (sum(value for name, value in vault.metrics().items() if name.startswith(f"chancery_vault_lane_{what}") and 'lane="ca"' in name)
                     for what in ("wait_microseconds_total", "items_total"))
    assert waited / items < 100_000  # µs, on any machine
