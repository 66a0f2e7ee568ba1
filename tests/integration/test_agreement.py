# SPDX-License-Identifier: Apache-2.0
"""What relying parties see, with tools that are not ours: openssl, GnuTLS and Java's PKIX checker must agree before and after a
revocation, and a revocation shows within a second on every responder."""
import base64
import pathlib
import subprocess
import time

import pytest
from conftest import wait_for

HERE = pathlib.Path(__file__).parent


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, **options)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def leaf(suite, tmp_path):
    """A fresh tls-server certificate: object with .pem (path), .serial, .chain (path), .issuer and .root (paths)"""
    _, csr = suite.new_key_and_csr("agree.example", ["DNS:agree.example"])
    answer = suite.api("POST", "/v1/certificates", json={"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr},
                       headers={"Accept": "application/json"})
    assert answer.status_code == 201, answer.text

    class Leaf:
        serial = answer.json()["serial"]
        pem = tmp_path / "leaf.pem"
        chain = pathlib.Path(suite.chain)
        issuer = tmp_path / "issuer.pem"
        root = tmp_path / "root.pem"
    blocks = [block + "-----END CERTIFICATE-----\n" for block in Leaf.chain.read_text().split("-----END CERTIFICATE-----\n")
              if "BEGIN" in block]
    Leaf.issuer.write_text(blocks[0])
    Leaf.root.write_text(blocks[-1])
    pem = suite.api("GET", f"/v1/certificates/{Leaf.serial}", headers={"Accept": "application/pem-certificate-chain"})
    Leaf.pem.write_text(pem.text.split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    return Leaf


def revoke(suite, leaf, reason="keyCompromise"):
    answer = suite.api("POST", f"/v1/certificates/{leaf.serial}/revoke", json={"reason": reason})
    assert answer.status_code == 200, answer.text


def openssl_ocsp_post(suite, leaf, url=None):
    _, out = run("openssl", "ocsp", "-issuer", leaf.issuer, "-cert", leaf.pem, "-CAfile", leaf.root, "-verify_other", leaf.chain,
                 "-url", url or suite.http + "/ocsp")
    assert "Response verify OK" in out, out
    return next(word for word in ("good", "revoked", "unknown") if f"leaf.pem: {word}" in out)


def openssl_ocsp_get(suite, leaf, tmp_path):
    request, response = tmp_path / "request.der", tmp_path / "response.der"
    run("openssl", "ocsp", "-no_nonce", "-issuer", leaf.issuer, "-cert", leaf.pem, "-reqout", request)
    text = base64.b64encode(request.read_bytes()).decode().replace("/", "%2F").replace("+", "%2B").replace("=", "%3D")
    code, out = run("curl", "-sS", "--fail", "-o", response, f"{suite.http}/ocsp/{text}")
    assert code == 0, out
    _, out = run("openssl", "ocsp", "-issuer", leaf.issuer, "-cert", leaf.pem, "-CAfile", leaf.root, "-verify_other", leaf.chain,
                 "-respin", response, "-no_nonce")
    assert "Response verify OK" in out, out
    return next(word for word in ("good", "revoked", "unknown") if f"leaf.pem: {word}" in out)


def gnutls_ocsp(suite, leaf):
    _, out = run("ocsptool", "--ask=" + suite.http + "/ocsp", "--load-cert", leaf.pem, "--load-issuer", leaf.issuer,
                 "--load-trust", leaf.issuer, "--nonce")
    return next((word for word in ("good", "revoked", "unknown") if f"Certificate Status: {word}" in out), out)


def java(leaf, method):
    return run("java", HERE / "java" / "CheckRevocation.java", method, leaf.pem, leaf.chain)[1].split()[0]


def openssl_crl(suite, leaf, tmp_path):
    """openssl verify -crl_check_all with the CRLs that the suite serves now."""
    bundle = tmp_path / "crls.pem"
    bundle.write_text("")
    for ca in (suite.issuing_ca, suite.root_ca):
        der = tmp_path / f"{ca}.crl"
        code, out = run("curl", "-sS", "--fail", "-o", der, f"{suite.http}/crl/{ca}.crl")
        assert code == 0, out
        bundle.write_text(bundle.read_text() + run("openssl", "crl", "-inform", "DER", "-in", der)[1])
    return run("openssl", "verify", "-crl_check_all", "-CRLfile", bundle, "-CAfile", leaf.root, "-untrusted", leaf.chain, leaf.pem)


def new_crls(suite):
    for ca in (suite.issuing_ca, suite.root_ca):
        answer = suite.api("POST", f"/v1/crls/{ca}")
        assert answer.status_code in (200, 201), answer.text
        number = answer.json()["crl_number"]
        wait_for(lambda: served_crl_number(suite, ca) >= number, 5, f"CRL {number} of {ca} to be served")


def served_crl_number(suite, ca):
    _, out = run("bash", "-c", f"curl -sS {suite.http}/crl/{ca}.crl | openssl crl -inform DER -noout -crlnumber")
    return int(out.strip().partition("=")[2], 16)


def test_chain_verifies(leaf):
    code, out = run("openssl", "verify", "-x509_strict", "-CAfile", leaf.root, "-untrusted", leaf.chain, leaf.pem)
    assert code == 0, out
    code, out = run("certtool", "--verify", "--load-ca-certificate", leaf.root, "--infile", _bundle(leaf))
    assert code == 0, out


def _bundle(leaf):
    path = leaf.pem.with_name("bundle.pem")
    path.write_text(leaf.pem.read_text() + leaf.chain.read_text())
    return path


def test_all_tools_agree_before_and_after_a_revocation(suite, leaf, tmp_path):
    new_crls(suite)
    assert openssl_ocsp_post(suite, leaf) == "good"
    assert openssl_ocsp_get(suite, leaf, tmp_path) == "good"
    assert gnutls_ocsp(suite, leaf) == "good"
    assert java(leaf, "ocsp") == "VALID"
    assert java(leaf, "crl") == "VALID"
    code, out = openssl_crl(suite, leaf, tmp_path)
    assert code == 0, out

    revoke(suite, leaf)
    wait_for(lambda: openssl_ocsp_post(suite, leaf) == "revoked", 1, "OCSP to say revoked")
    wait_for(lambda: openssl_ocsp_get(suite, leaf, tmp_path) == "revoked", 1, "a cached answer to say revoked")
    assert gnutls_ocsp(suite, leaf) == "revoked"
    assert java(leaf, "ocsp") == "REVOKED"
    new_crls(suite)
    code, out = openssl_crl(suite, leaf, tmp_path)
    assert code != 0 and "certificate revoked" in out
    assert java(leaf, "crl") == "REVOKED"


def test_a_revocation_shows_within_a_second_on_every_responder(two_replicas, tmp_path):
    suite = two_replicas
    _, csr = suite.new_key_and_csr("second.example", ["DNS:second.example"])
    answer = suite.api("POST", "/v1/certificates", json={"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr})
    serial = answer.json()["serial"]
    pem = suite.api("GET", f"/v1/certificates/{serial}", headers={"Accept": "application/pem-certificate-chain"}).text

    class Leaf:
        pass
    leaf = Leaf()
    leaf.pem, leaf.chain, leaf.issuer, leaf.root = (tmp_path / f"{n}.pem" for n in ("leaf", "chain", "issuer", "root"))
    blocks = [block + "-----END CERTIFICATE-----\n" for block in pem.split("-----END CERTIFICATE-----\n") if "BEGIN" in block]
    chain = pathlib.Path(suite.chain).read_text()
    leaf.pem.write_text(blocks[0])
    leaf.chain.write_text(chain)
    blocks = [block + "-----END CERTIFICATE-----\n" for block in chain.split("-----END CERTIFICATE-----\n") if "BEGIN" in block]
    leaf.issuer.write_text(blocks[0])
    leaf.root.write_text(blocks[-1])

    responders = ["http://" + suite.config(name)["http"]["listen"] + "/ocsp" for name in ("ocsp-1", "ocsp-2")]
    for url in responders:
        assert openssl_ocsp_post(suite, leaf, url) == "good"  # now in each responder's cache
    answer = suite.api("POST", f"/v1/certificates/{serial}/revoke", json={"reason": "superseded"})
    assert answer.status_code == 200, answer.text
    acknowledged = time.monotonic()
    for url in responders:
        wait_for(lambda: openssl_ocsp_post(suite, leaf, url) == "revoked", 1, f"{url} to say revoked")
    print(f"seen by both responders {time.monotonic() - acknowledged:.3f} s after the acknowledgement (openssl's start included)")
