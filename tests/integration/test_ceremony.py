# SPDX-License-Identifier: Apache-2.0
"""A key ceremony: the whole of a two-tier hierarchy from a pair of empty tokens, by officers at one place, with no daemon up but the
vault. What it made is checked with openssl alone; then an HSM is wiped and brought back under load."""
import hashlib
import json
import os
import re
import subprocess

import pytest

import lone_vault as lone
from conftest import BUILD, TOP, wait_for
from lone_vault import LoneVault, hsm_command, operator_command, private_keys, run, share, smart_card, vault_command, wipe

USAGE, NOT_FOUND, DENIED, UNAVAILABLE, FAILED = 2, 3, 4, 5, 1
DOCUMENT = (TOP / "deploy" / "documents" / "example-ceremony.yaml").read_text()


@pytest.fixture(scope="module")
def vault():
    made = LoneVault(required=2, officers=("officer", "second", "third"), extra_officers=("third", "fourth"))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def place(vault):
    """Where the document and the ceremony's folder are."""
    path = vault.dir / "ceremony"
    path.mkdir()
    (path / "ceremony.yaml").write_text(DOCUMENT)
    return path


def officers(vault, *names):
    return [word for name in names for word in ("--officer-cert", vault.dir / f"{name}.pem", "--officer-key", vault.dir / f"{name}.key")]


def ceremony(vault, document, folder, *words, **options):
    return operator_command(vault, "ceremony", "run", "--yes", document, "--out", folder, *words, **options)


def chancery(*words):
    return run(BUILD / "bin" / "chancery", *words)


def openssl(*words):
    done = run("openssl", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def verify_transcript(vault, folder, transcript="transcript.txt"):
    return run("openssl", "cms", "-verify", "-binary", "-inform", "PEM", "-in", folder / "transcript.p7s", "-content", folder / transcript,
               "-CAfile", vault.dir / "pki" / "operators-ca.pem", "-purpose", "any", "-out", "/dev/null")


# --- the dry run ---


def test_check_shows_all_down_to_the_octets_and_makes_nothing(vault, place):
    shown = chancery("ceremony", "check", place / "ceremony.yaml")
    assert shown.returncode == 0, shown.stderr
    assert f"SHA-256 of the document: {hashlib.sha256(DOCUMENT.encode()).hexdigest()}" in shown.stdout
    assert re.findall(r"^Step \d: .*", shown.stdout, re.M) == [
        "Step 1: key of 'example-root', in the vault's HSMs", "Step 2: certificate of 'example-root', signed by its own key",
        "Step 3: key of 'example-issuing', in the vault's HSMs", "Step 4: certificate of 'example-issuing', signed by the key of example-root",
        "Step 5: CRL of 'example-root'"]
    octets = [bytes.fromhex(re.sub(r"\s", "", found)) for found in re.findall(r"TBSCert(?:ificate|List), \d+ octets:\n((?:    [0-9a-f]+\n)+)", shown.stdout)]
    digests = re.findall(r"tbs-sha256: ([0-9a-f]{64})", shown.stdout)
    assert [hashlib.sha256(tbs).hexdigest() for tbs in octets] == digests and len(digests) == 3
    for tbs in octets:
        path = vault.file(tbs)
        assert "Example Root CA" in openssl("asn1parse", "-inform", "DER", "-in", path)
    assert "published" in shown.stdout.lower() and "example-issuing-chain.pem: certificate of example-issuing, chain" in shown.stdout
    assert "example-root.crl: CRL of example-root" in shown.stdout and "No Revoked Certificates." in shown.stdout
    assert vault.psql("SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM actions)") == "0"


@pytest.mark.parametrize("change,words", [
    (("parent: example-root", "parent: another-root"), "parent 'another-root' is neither made before it nor one of `existing`"),
    (("name: example-issuing\n    parent: example-root", "name: example-root"), "CA 'example-root' stands twice"),
    (("validity: 20y", "validity: 20y\n    path_length: 0"), "parent 'example-root' has path_length 0"),
    (("validity: 10y", "validity: 30y"), "validity goes beyond the parent's end"),
    (("key: ecdsa-p384", "key: ecdsa-p999"), "unknown algorithm 'ecdsa-p999'"),
    (("file: example-root.cer", "file: ../root.cer"), "'../root.cer' is no file name"),
    (("file: example-root.cer", "file: example-issuing.pem"), "'example-issuing.pem' stands twice"),
    (("ca: example-root, form: der", "ca: nobody, form: der"), "'example-root.cer' is of CA 'nobody'"),
    (("form: der", "form: jks"), "jks"),
    (("publish:", "publishes:"), "unknown key 'publishes'"),
    (("validity: 190d", "validity: 201d"), "CRL of 'example-root': validity of 17366400 s is beyond crl.validity"),
    (("ca: example-root, number: 1", "ca: nobody, number: 1"), "crls: CA 'nobody' is not here"),
    (("ca: example-root, form: crl", "ca: example-issuing, form: crl"), "'example-root.crl' is a CRL of 'example-issuing', which crls does not make"),
    (("crl: http://", "crl: https://"), "urls.crl 'https://"),
])
def test_a_document_that_cannot_be_is_refused_by_check_and_by_run(vault, tmp_path, change, words):
    assert change[0] in DOCUMENT
    (tmp_path / "ceremony.yaml").write_text(DOCUMENT.replace(*change, 1))
    for done in (chancery("ceremony", "check", tmp_path / "ceremony.yaml"),
                 ceremony(vault, tmp_path / "ceremony.yaml", tmp_path / "out", *officers(vault, "officer", "second"))):
        assert done.returncode == FAILED and words in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
    assert vault.psql("SELECT count(*) FROM actions") == "0"


def test_another_document_than_the_reviewed_one_or_tenant_is_refused(vault, place, tmp_path):
    done = ceremony(vault, place / "ceremony.yaml", tmp_path / "out", "--sha256", "0" * 64)
    assert done.returncode == DENIED and "the document's SHA-256 is" in done.stderr, done.stderr
    done = ceremony(vault, place / "ceremony.yaml", tmp_path / "out", "--tenant", "another")
    assert done.returncode == FAILED and "the document is for tenant 'default', the command for 'another'" in done.stderr
    done = ceremony(vault, place / "ceremony.yaml", tmp_path / "out", "--officer-cert", vault.dir / "officer.pem")
    assert "--officer-cert and --officer-key come in pairs" in done.stderr
    done = ceremony(vault, place / "ceremony.yaml", tmp_path / "out", *officers(vault, "requester"))
    assert done.returncode == DENIED and "is no officer" in done.stderr


# --- the ceremony ---


def test_one_officer_alone_gets_no_key_and_the_ceremony_goes_on_with_the_next(vault, place):
    folder = place / "out"
    for _ in range(2):  # the same officer twice counts once
        done = ceremony(vault, place / "ceremony.yaml", folder, *officers(vault, "officer"))
        assert done.returncode == UNAVAILABLE, done.stderr
        assert "CA 'example-root': generate-key waits for officers: 1 of 2 approved it" in done.stderr
    assert vault.psql("SELECT count(*) FROM keys") == "0" and not list((folder / "published").iterdir())
    assert private_keys(vault, "a") == private_keys(vault, "b") == set()

    # With the digest that was reviewed; the second officer's key is in a smart card.
    card = place / "card"
    card.mkdir()
    uri, environment = smart_card(card, vault.dir / "second.key", "second officer")
    digest = hashlib.sha256(DOCUMENT.encode()).hexdigest()
    words = ["--sha256", digest, *officers(vault, "officer"), "--officer-cert", vault.dir / "second.pem", "--officer-key", uri]
    done = ceremony(vault, place / "ceremony.yaml", folder, *words, env=environment)
    assert done.returncode == 0, done.stderr
    assert "X509v3 Basic Constraints: critical\n                CA:TRUE\n" in done.stderr  # officers read what they sign
    assert private_keys(vault, "a") == private_keys(vault, "b") != set()
    assert vault.psql("SELECT count(*) FROM keys") == "2"


def test_openssl_verifies_the_hierarchy(place):
    published = place / "out" / "published"
    root = place / "root.pem"
    openssl("x509", "-inform", "DER", "-in", published / "example-root.cer", "-out", root)
    openssl("verify", "-x509_strict", "-CAfile", root, root)
    openssl("verify", "-x509_strict", "-CAfile", root, published / "example-issuing.pem")
    text = openssl("x509", "-in", published / "example-issuing.pem", "-noout", "-text")
    for words in ("Subject: C = CH, O = Example, CN = Example Issuing CA 1", "Issuer: C = CH, O = Example, CN = Example Root CA",
                  "CA:TRUE, pathlen:0", "http://pki.example/crl/example-root.crl", "http://pki.example/ca/example-root.cer"):
        assert words in text, text
    openssl("crl", "-inform", "DER", "-in", published / "example-root.crl", "-CAfile", root, "-noout")
    openssl("crl", "-inform", "DER", "-in", published / "example-root.crl", "-out", place / "root-crl.pem")
    openssl("verify", "-x509_strict", "-crl_check", "-CRLfile", place / "root-crl.pem", "-CAfile", root, published / "example-issuing.pem")
    chain = (published / "example-issuing-chain.pem").read_text()
    assert chain == (published / "example-issuing.pem").read_text() + root.read_text()


def test_openssl_verifies_the_transcript_and_every_approval(vault, place):
    folder = place / "out"
    done = verify_transcript(vault, folder)
    assert done.returncode == 0, done.stderr
    signers = openssl("cms", "-cmsout", "-print", "-inform", "PEM", "-in", folder / "transcript.p7s")
    assert signers.count("signerInfos") == 1 and signers.count("d.issuerAndSerialNumber") == 2

    transcript = (folder / "transcript.txt").read_text()
    assert f"Document, SHA-256 {hashlib.sha256(DOCUMENT.encode()).hexdigest()}" in transcript
    for line in DOCUMENT.splitlines():
        assert f"| {line}\n" in transcript
    for digest, file in re.findall(r"^([0-9a-f]{64})  (published/\S+)$", transcript, re.M):
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    assert "Quorum (version 1): 2 of these officers" in transcript
    for step in ("example-root.key", "example-root.certificate", "example-issuing.key", "example-issuing.certificate", "example-root.crl"):
        for line in (folder / f"{step}.action").read_text().splitlines():
            assert f"| {line}\n" in transcript
        for officer in ("officer", "second"):
            openssl("x509", "-inform", "DER", "-in", folder / f"{step}.{officer}.cer", "-noout", "-pubkey", "-out", place / "officer.pub")
            openssl("dgst", "-sha256", "-verify", place / "officer.pub", "-signature", folder / f"{step}.{officer}.sig", folder / f"{step}.action")
            assert vault.public_key_digest(officer) in transcript
    for step in ("example-root", "example-issuing"):
        tbs = hashlib.sha256((folder / f"{step}.tbs").read_bytes()).hexdigest()
        assert f"tbs-sha256: {tbs}\n" in (folder / f"{step}.certificate.action").read_text()

    (folder / "altered.txt").write_text(transcript.replace("20y", "21y", 1))
    assert verify_transcript(vault, folder, "altered.txt").returncode != 0
    (folder / "altered.txt").unlink()


def test_another_officer_signs_the_transcript_afterwards(vault, place):
    folder = place / "out"
    for _ in range(2):  # once is enough
        done = chancery("ceremony", "sign", folder, *officers(vault, "third"))
        assert done.returncode == 0, done.stderr
    assert verify_transcript(vault, folder).returncode == 0
    signers = openssl("cms", "-cmsout", "-print", "-inform", "PEM", "-in", folder / "transcript.p7s")
    assert signers.count("d.issuerAndSerialNumber") == 3

    # What the first officers signed is not signed with another text.
    kept = (folder / "transcript.txt").read_text()
    signed = (folder / "transcript.p7s").read_bytes()
    change(folder / "transcript.txt", (kept + "and more\n").encode())
    done = chancery("ceremony", "sign", folder, *officers(vault, "fourth"))
    assert done.returncode == FAILED and "'transcript.p7s' does not verify over 'transcript.txt'" in done.stderr, done.stderr
    assert (folder / "transcript.p7s").read_bytes() == signed
    change(folder / "transcript.txt", kept.encode())
    assert chancery("ceremony", "sign", folder, *officers(vault, "requester")).returncode == DENIED


def change(path, content):
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_complete_ceremony_run_again_changes_nothing(vault, place):
    folder = place / "out"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "journal.txt"}
    again = ceremony(vault, place / "ceremony.yaml", folder, *officers(vault, "officer", "second"))
    assert again.returncode == 0, again.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "journal.txt"} == before
    assert vault.psql("SELECT count(*) FROM keys") == "2"

    (place / "other.yaml").write_text(DOCUMENT.replace("20y", "19y"))
    other = ceremony(vault, place / "other.yaml", folder, *officers(vault, "officer", "second"))
    assert other.returncode == FAILED and "is the folder of a ceremony with another document" in other.stderr


def lose(folder, *names):
    for name in names:
        (folder / name).unlink()


def test_one_that_was_interrupted_at_any_step_goes_on(vault, place, tmp_path):
    """What is lost after each step is what a crash between the vault's answer and the file would lose."""
    document, folder = tmp_path / "ceremony.yaml", tmp_path / "out"
    document.write_text(DOCUMENT.replace("example-", "other-").replace("Example ", "Other "))
    words = officers(vault, "officer", "third")
    assert ceremony(vault, document, folder, *words).returncode == 0
    tbs, keys = (folder / "other-root.tbs").read_bytes(), vault.psql("SELECT count(*) FROM keys")
    lose(folder, "transcript.txt", "transcript.p7s", "published/other-root.cer", "other-issuing.cer", "other-root.cer", "other-root.public-key")
    again = ceremony(vault, document, folder, *words)
    assert again.returncode == 0, again.stderr
    assert (folder / "other-root.tbs").read_bytes() == tbs and vault.psql("SELECT count(*) FROM keys") == keys
    openssl("verify", "-CAfile", folder / "published" / "other-issuing-chain.pem", folder / "published" / "other-issuing.pem")
    assert verify_transcript(vault, folder).returncode == 0

    # What was tampered with is not gone on from.
    lose(folder, "transcript.txt", "transcript.p7s", "other-issuing.cer")
    other = (place / "out" / "example-issuing.tbs").read_bytes()
    change(folder / "other-issuing.tbs", other)
    done = ceremony(vault, document, folder, *words)
    assert done.returncode == FAILED and "the kept TBSCertificate is not what the document asks for" in done.stderr, done.stderr


def test_a_later_ceremony_signs_with_a_root_that_exists(vault, place, tmp_path):
    document, folder = tmp_path / "second.yaml", tmp_path / "out"
    document.write_text(f"""\
name: second-issuing
existing:
  - name: example-root
    certificate: {place}/root.pem
    urls: {{ crl: "http://pki.example/crl/example-root.crl" }}
cas:
  - {{ name: example-issuing-2, parent: example-root, subject: "CN=Example Issuing CA 2,O=Example,C=CH", key: rsa-2048, validity: 5y, path_length: 0 }}
publish:
  - {{ file: example-issuing-2.pem, ca: example-issuing-2 }}
  - {{ file: chain.pem, ca: example-issuing-2, form: chain }}
""")
    done = ceremony(vault, document, folder, *officers(vault, "second", "third"))
    assert done.returncode == 0, done.stderr
    openssl("verify", "-x509_strict", "-CAfile", place / "root.pem", folder / "published" / "example-issuing-2.pem")
    assert (folder / "published" / "chain.pem").read_text().endswith((place / "root.pem").read_text())

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Nobody's", "-keyout", tmp_path / "key.pem", "-out",
            tmp_path / "nobodys.pem", "-days", "3650")
    document.write_text(document.read_text().replace(f"{place}/root.pem", f"{tmp_path}/nobodys.pem"))
    done = ceremony(vault, document, tmp_path / "other", *officers(vault, "second", "third"))
    assert done.returncode == NOT_FOUND and "existing CA 'example-root': the vault has no such key" in done.stderr


def test_a_later_ceremony_makes_the_next_crl_and_none_before_it(vault, place, tmp_path):
    serial = openssl("x509", "-in", place / "out" / "published" / "example-issuing.pem", "-noout", "-serial").strip().partition("=")[2]
    text = f"""\
name: crl-2
existing:
  - {{ name: example-root, certificate: {place}/root.pem }}
crls:
  - ca: example-root
    number: 2
    validity: 180d
    revoked: [{{ serial: "{serial}", date: "2026-11-20T12:00:00Z", reason: cACompromise }}]
publish:
  - {{ file: example-root.crl, ca: example-root, form: crl }}
"""
    document, folder = tmp_path / "crl-2.yaml", tmp_path / "out"
    document.write_text(text)
    done = ceremony(vault, document, folder, *officers(vault, "officer"))
    assert done.returncode == UNAVAILABLE and "CRL of 'example-root': crl waits for officers: 1 of 2" in done.stderr, done.stderr
    done = ceremony(vault, document, folder, *officers(vault, "third"))
    assert done.returncode == 0 and f"Serial Number: {serial}" in done.stderr, done.stderr
    openssl("crl", "-inform", "DER", "-in", folder / "published" / "example-root.crl", "-out", tmp_path / "crl.pem")
    shown = openssl("crl", "-in", tmp_path / "crl.pem", "-CAfile", place / "root.pem", "-noout", "-text", "-crlnumber")
    assert "crlNumber=0x02" in shown and "CA Compromise" in shown and "Nov 20 12:00:00 2026 GMT" in shown, shown
    revoked = run("openssl", "verify", "-crl_check", "-CRLfile", tmp_path / "crl.pem", "-CAfile", place / "root.pem",
                  place / "out" / "published" / "example-issuing.pem")
    assert revoked.returncode != 0 and "certificate revoked" in revoked.stderr

    # The vault holds the number, whatever a document says.
    document.write_text(text.replace("number: 2", "number: 1").replace("crl-2", "crl-1-again"))
    done = ceremony(vault, document, tmp_path / "other", *officers(vault, "officer", "second"))
    assert done.returncode == FAILED or done.returncode == DENIED, done.stderr
    assert "number" in done.stderr and not (tmp_path / "other" / "example-root.crl.der").exists(), done.stderr
    document.write_text(text.replace("2026-11-20T12:00:00Z", "2026-11-20"))
    done = chancery("ceremony", "check", document)
    assert done.returncode == FAILED and "CRL of 'example-root': date '2026-11-20' is no time such as" in done.stderr


# --- and an HSM that is lost afterwards ---


def test_a_wiped_hsm_holds_the_ceremonys_keys_again_and_no_request_fails(vault):
    ocsp = vault.generate("issuer", "ecdsa-p256", "ocsp")
    tbs = vault.file(lone.response_data(ocsp))
    load = subprocess.Popen(vault.probe_command("ocsp", "load", ocsp["key_id"], "ocsp", tbs, "--seconds", "20", "--callers", "8"),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wipe(vault, "b")
    os.kill(vault.worker_pids()["b"], 9)
    wait_for(lambda: vault.states()["b"] != "up", 20, "HSM b lost")
    done = vault_command(vault, "--init-hsm", "b", "--share", share(vault, 1), "--share", share(vault, 2))
    assert done.returncode == 0, done.stderr
    wait_for(lambda: vault.states()["b"] == "up", 30, "HSM b up with its new token")
    waits = hsm_command(vault, "replace", "b")
    action = re.search(r"chancery approve ([0-9a-f]{32})", waits.stderr)[1]
    assert action in operator_command(vault, "vault", "approve").stdout
    for officer in ("officer", "second"):
        done = operator_command(vault, "vault", "approve", "--yes", action, *officers(vault, officer))
        assert done.returncode == 0 and "replace-hsm" in done.stderr and officer in done.stdout, done.stderr
    assert action not in operator_command(vault, "vault", "approve").stdout
    done = hsm_command(vault, "replace", "b")
    assert done.returncode == 0, done.stderr
    assert private_keys(vault, "b") == private_keys(vault, "a") and len(private_keys(vault, "b")) >= 6
    seen = json.loads(load.communicate(timeout=60)[0])
    assert seen["errors"] == 0 and seen["signatures"] > 100, seen
