# SPDX-License-Identifier: Apache-2.0
"""Timestamps of a running suite, judged by openssl and by python3-cryptography with asn1crypto (RFC 3161, RFC 5816): tokens, each
rejection, bad input with its counters and flat memory, renewed certificates, a clock that nobody vouches for, a vault that is away."""
import datetime
import hashlib
import os
import pathlib
import re
import subprocess
import time

import pytest
import requests
import yaml
from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from conftest import wait_for

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
POLICY = "1.3.6.1.4.1.99999.1.1"  # of deploy/documents
DATA = b"what is stamped\n"
FAILURES = {"badAlg", "badRequest", "badDataFormat", "timeNotAvailable", "unacceptedPolicy", "unacceptedExtension", "systemFailure"}


class TimeStampResp(core.Sequence):
    """asn1crypto's own demands the token, which a rejection has not (RFC 3161 §2.4.2)."""
    _fields = [("status", tsp.PKIStatusInfo), ("time_stamp_token", cms.ContentInfo, {"optional": True})]


# --- making requests ---------------------------------------------------------------------------------------------------------------

def der(tag, *parts):
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x80 | (size.bit_length() + 7) // 8]) + size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + length + content


def oid(dotted):
    return core.ObjectIdentifier(dotted).dump()


def query(digest="2.16.840.1.101.3.4.2.1", octets=32, version=1, policy=None, nonce=None, certificate=False, extensions=b"", more=b""):
    """A TimeStampReq; each part may be wrong."""
    imprint = der(0x30, der(0x30, oid(digest)), der(0x04, hashlib.sha512(DATA).digest()[:octets].ljust(octets, b"x")))
    return der(0x30, der(0x02, bytes([version])), imprint, oid(policy) if policy else b"", core.Integer(nonce).dump() if nonce is not None else b"",
               b"\x01\x01\xff" if certificate else b"", der(0xA0, extensions) if extensions else b"", more)


def post(suite, body, content_type=QUERY, path="/tsa", **options):
    return requests.post(suite.http + path, data=body, headers={"Content-Type": content_type} if content_type else {}, timeout=30, **options)


def parsed(answer):
    assert answer.headers["Content-Type"] == REPLY
    return TimeStampResp.load(answer.content, strict=True)


def failure_of(answer):
    """The one failure that a rejection names, as RFC 3161 spells it."""
    response = parsed(answer)
    status = response["status"].native
    assert status["status"] == "rejection", status
    assert response["time_stamp_token"].native is None
    # asn1crypto names the bits with underscores; bits by number are surer
    bits = response["status"]["fail_info"]
    content = bits.contents
    numbers = [i for i in range(8 * (len(content) - 1)) if content[1 + i // 8] & (0x80 >> i % 8)]
    names = {0: "badAlg", 2: "badRequest", 5: "badDataFormat", 14: "timeNotAvailable", 15: "unacceptedPolicy", 16: "unacceptedExtension",
             25: "systemFailure"}
    assert len(numbers) == 1, numbers
    return names[numbers[0]]


def granted(answer):
    assert answer.status_code == 200
    response = parsed(answer)
    assert response["status"]["status"].native == "granted", response["status"].native
    return response["time_stamp_token"]


def tst_info(token):
    return token["content"]["encap_content_info"]["content"].parsed.native


def openssl(*words, check=True):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def stamping(suite):
    """The suite, once its tsa has a certificate."""
    wait_for(lambda: parsed(post(suite, query()))["status"]["status"].native == "granted", 30, "a first timestamp")
    return suite


# --- tokens, judged by others ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("certificate", [True, False], ids=["certReq", "no-certReq"])
def test_openssl_verifies(stamping, tmp_path, digest, certificate):
    data, request, reply = tmp_path / "data", tmp_path / "request.tsq", tmp_path / "reply.tsr"
    data.write_bytes(os.urandom(100))
    openssl("ts", "-query", "-data", data, f"-{digest}", *(["-cert"] if certificate else []), "-out", request)
    answer = post(stamping, request.read_bytes())
    reply.write_bytes(answer.content)
    token = granted(answer)
    certificates = token["content"]["certificates"]
    assert bool(certificates.native) == certificate
    untrusted = []
    if not certificate:  # then the verifier has it from elsewhere
        signer = tmp_path / "signer.pem"
        with_certificate = granted(post(stamping, query(certificate=True)))
        signer.write_bytes(b"".join(pem(choice.chosen.dump()) for choice in with_certificate["content"]["certificates"]))
        untrusted = ["-untrusted", signer]
    openssl("ts", "-verify", "-in", reply, "-queryfile", request, "-CAfile", stamping.chain, *untrusted)
    openssl("ts", "-verify", "-in", reply, "-data", data, "-CAfile", stamping.chain, *untrusted)
    data.write_bytes(b"something else")
    assert openssl("ts", "-verify", "-in", reply, "-data", data, "-CAfile", stamping.chain, *untrusted, check=False).returncode != 0


def pem(certificate_der):
    return x509.load_der_x509_certificate(certificate_der).public_bytes(serialization.Encoding.PEM)


def verify_with_cryptography(certificate, signature, data, digest):
    key = certificate.public_key()
    algorithm = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}[digest]()
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(algorithm))
    else:
        key.verify(signature, data, padding.PKCS1v15(), algorithm)


def test_every_member_of_a_token_is_as_the_rfcs_want(stamping):
    nonce = 0x8000000000000001
    before = datetime.datetime.now(datetime.timezone.utc)
    token = granted(post(stamping, query(nonce=nonce, certificate=True)))
    after = datetime.datetime.now(datetime.timezone.utc)

    # RFC 5652 §5.1: version 3, because the content is not id-data
    assert token["content_type"].native == "signed_data"
    signed = token["content"]
    assert signed["version"].native == "v3"
    assert signed["encap_content_info"]["content_type"].native == "tst_info"
    assert len(signed["signer_infos"]) == 1

    info = tst_info(token)
    assert info["version"] == "v1" and info["policy"] == POLICY and info["nonce"] == nonce
    assert info["message_imprint"]["hash_algorithm"]["algorithm"] == "sha256"
    assert info["message_imprint"]["hashed_message"] == hashlib.sha512(DATA).digest()[:32]
    slack = datetime.timedelta(milliseconds=2)
    assert before - slack <= info["gen_time"] <= after + slack
    assert info["accuracy"]["seconds"] == 1
    assert info["ordering"] is False
    assert 0 < info["serial_number"].bit_length() <= 160

    # RFC 3161 §2.4.2 and RFC 5816: contentType, messageDigest and signingCertificateV2, in DER order
    signer = signed["signer_infos"][0]
    attributes = {attribute["type"].native: attribute["values"] for attribute in signer["signed_attrs"]}
    assert set(attributes) == {"content_type", "message_digest", "signing_certificate_v2"}
    encoded = [attribute.dump() for attribute in signer["signed_attrs"]]
    assert encoded == sorted(encoded)
    digest = signer["digest_algorithm"]["algorithm"].native
    content = bytes(signed["encap_content_info"]["content"])
    assert attributes["message_digest"][0].native == hashlib.new(digest, content).digest()

    # the signer's certificate is the one that ESSCertIDv2 and the SignerInfo name
    certificates = [x509.load_der_x509_certificate(choice.chosen.dump()) for choice in signed["certificates"]]
    ess = attributes["signing_certificate_v2"][0]["certs"][0]
    assert ess["hash_algorithm"]["algorithm"].native == "sha256"
    signing = next(c for c in certificates if c.fingerprint(hashes.SHA256()) == ess["cert_hash"].native)
    assert signer["sid"].chosen["serial_number"].native == signing.serial_number == ess["issuer_serial"]["serial_number"].native
    usage = signing.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical and [u.dotted_string for u in usage.value] == ["1.3.6.1.5.5.7.3.8"]
    assert info["tsa"] is not None

    # the signature is over the attributes as SET OF (RFC 5652 §5.4)
    as_set = b"\x31" + signer["signed_attrs"].dump()[1:]
    verify_with_cryptography(signing, signer["signature"].native, as_set, digest)

    # the chain: its issuer is there too, the root is not
    issuer = next(c for c in certificates if c.subject == signing.issuer)
    verify_with_cryptography(issuer, signing.signature, signing.tbs_certificate_bytes, signing.signature_hash_algorithm.name)
    assert all(c.subject != c.issuer for c in certificates)


def test_a_policy_may_be_named(stamping):
    assert tst_info(granted(post(stamping, query(policy=POLICY))))["policy"] == POLICY


def test_without_a_nonce_there_is_none(stamping):
    assert tst_info(granted(post(stamping, query())))["nonce"] is None


def test_negative_and_long_nonces_come_back_as_they_were(stamping):
    for nonce in (-1, 0, 1 << 500):
        assert tst_info(granted(post(stamping, query(nonce=nonce))))["nonce"] == nonce


def test_serial_numbers_are_unique_and_a_restart_keeps_them_so(stamping):
    def serials(count):
        return [tst_info(granted(post(stamping, query())))["serial_number"] for _ in range(count)]
    first = serials(50)
    stamping.sv("restart", "tsa-1")
    wait_for(lambda: post(stamping, query()).status_code == 200, 60, "tsa-1 to answer again")
    all_of_them = first + serials(50)
    assert len(set(all_of_them)) == 100


# --- rejections --------------------------------------------------------------------------------------------------------------------------

GOOD = query()
EXTENSION = der(0x30, oid("1.2.3"), der(0x04, b"\x05\x00"))
BAD_INPUT = [  # what, body, media type, HTTP status, failure
    ("nothing", b"", QUERY, 200, "badDataFormat"),
    ("text", b"stamp this please", QUERY, 200, "badDataFormat"),
    ("zeroes", bytes(1000), QUERY, 200, "badDataFormat"),
    ("truncated", GOOD[:-5], QUERY, 200, "badDataFormat"),
    ("octets after its end", GOOD + b"\0", QUERY, 200, "badDataFormat"),
    ("something after certReq", query(more=b"\x05\x00"), QUERY, 200, "badDataFormat"),
    ("indefinite length", b"\x30\x80" + GOOD[2:] + b"\0\0", QUERY, 200, "badDataFormat"),
    ("length not minimal", b"\x30\x81" + GOOD[1:], QUERY, 200, "badDataFormat"),
    ("a length beyond memory", b"\x30\x84\xff\xff\xff\xff" + GOOD[2:], QUERY, 200, "badDataFormat"),
    ("nested deeply", der(0x30, b"\x30\x80" * 5000), QUERY, 200, "badDataFormat"),
    ("a certificate request", der(0x30, der(0x30, b"\x02\x01\x00")), QUERY, 200, "badDataFormat"),
    ("imprint too short", query(octets=20), QUERY, 200, "badDataFormat"),
    ("imprint too long", query(octets=64), QUERY, 200, "badDataFormat"),
    ("nonce too long", query(nonce=1 << 600), QUERY, 200, "badDataFormat"),
    ("version 2", query(version=2), QUERY, 200, "badRequest"),
    ("SHA-1", query("1.3.14.3.2.26", 20), QUERY, 200, "badAlg"),
    ("MD5", query("1.2.840.113549.2.5", 16), QUERY, 200, "badAlg"),
    ("unknown digest", query("1.2.3.4", 32), QUERY, 200, "badAlg"),
    ("unknown policy", query(policy="1.2.3.4.5"), QUERY, 200, "unacceptedPolicy"),
    ("an extension", query(extensions=EXTENSION), QUERY, 200, "unacceptedExtension"),
    ("oversized", GOOD + bytes(20000), QUERY, 413, "badDataFormat"),
    ("oversized by far", bytes(3_000_000), QUERY, 413, "badDataFormat"),
    ("another media type", GOOD, "application/json", 415, "badDataFormat"),
    ("no media type", GOOD, None, 415, "badDataFormat"),
    ("a media type that begins alike", GOOD, QUERY + "x", 415, "badDataFormat"),
]


def counters(suite):
    found = suite.metrics("tsa-1")
    return {name: found.get(f'chancery_tsa_rejections_total{{reason="{name}"}}', 0) for name in FAILURES}


def post_hostile(suite, body, content_type):
    """The answer; an upload that the server cuts short still has one (curl reads it, where requests would fail)."""
    done = subprocess.run(["curl", "-sS", "-i", "-X", "POST", "-H", f"Content-Type:{' ' + content_type if content_type else ''}", "-H", "Expect:",
                           "--data-binary", "@-", suite.http + "/tsa"], input=body, capture_output=True, check=False)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    answer = requests.Response()
    answer.status_code = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else 0
    answer._content = content
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        answer.headers[name] = value.strip()
    return answer


@pytest.mark.parametrize("what,body,media,status,failure", BAD_INPUT, ids=[row[0].replace(" ", "-") for row in BAD_INPUT])
def test_bad_input_is_rejected_and_counted(stamping, what, body, media, status, failure):
    before, pid = counters(stamping), stamping.pid("tsa-1")
    answer = post_hostile(stamping, body, media)
    assert (answer.status_code, failure_of(answer)) == (status, failure)
    after = counters(stamping)
    assert {name: after[name] - before[name] for name in FAILURES if after[name] != before[name]} == {failure: 1}
    assert stamping.pid("tsa-1") == pid


def test_rejections_are_logged_once(stamping):
    post(stamping, query(policy="1.2.3.44444"))
    wait_for(lambda: "1.2.3.44444" in stamping.raw_log("tsa-1"), 5, "the rejection in the log")
    lines = [line for line in stamping.log("tsa-1") if "1.2.3.44444" in line["msg"]]
    assert len(lines) == 1 and "unacceptedPolicy" in lines[0]["msg"]


def test_openssl_shows_the_rejection(stamping, tmp_path):
    reply = tmp_path / "reply.tsr"
    reply.write_bytes(post(stamping, query("1.3.14.3.2.26", 20)).content)
    text = openssl("ts", "-reply", "-in", reply, "-text").stdout
    assert "Status: Rejected." in text and "unrecognized or unsupported algorithm identifier" in text.lower()


def test_other_methods_and_paths(stamping):
    assert requests.get(stamping.http + "/tsa", timeout=10).status_code == 405
    assert post(stamping, GOOD, path="/tsa/more").status_code == 404


def test_the_media_type_may_have_parameters_and_capitals(stamping):
    for media in ("Application/Timestamp-Query", QUERY + "; charset=binary", QUERY + ";x=y"):
        granted(post(stamping, GOOD, media))


def resident_octets(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


def test_memory_stays_flat_under_bad_input(stamping):
    """A sanitizer keeps freed memory for a while (its quarantine); its leak check at the end is the sharper test then."""
    pid = stamping.pid("tsa-1")
    sanitized = "libasan" in pathlib.Path(f"/proc/{pid}/maps").read_text()
    session = requests.Session()

    def rounds(count):
        for _ in range(count):
            for _, body, media, _, _ in BAD_INPUT:
                if len(body) < 16384 and media:
                    session.post(stamping.http + "/tsa", data=body, headers={"Content-Type": media}, timeout=30)
    rounds(20)
    before = resident_octets(pid)
    rounds(40)
    assert stamping.pid("tsa-1") == pid
    assert resident_octets(pid) - before < (64 if sanitized else 2) * 1024 * 1024


# --- certificates, clock, vault ---------------------------------------------------------------------------------------------------------------

def test_certificates_are_followed(stamping):
    """An expired one is no longer used within seconds, which /readyz says; one that is there again is. The issuer, which would make
    another, is away."""
    rows = stamping.psql("SELECT ca_id, key_id, not_before, not_after FROM service_certificates WHERE kind = 'tsa'")
    assert rows
    url = "http://" + stamping.config("tsa-1")["http"]["listen"] + "/tsa"

    def ask():
        return requests.post(url, data=GOOD, headers={"Content-Type": QUERY}, timeout=30)
    stamping.sv("down", "issuer-1")
    try:
        stamping.psql("UPDATE service_certificates SET not_after = now() - interval '1 second' WHERE kind = 'tsa'")
        wait_for(lambda: parsed(ask())["status"]["status"].native == "rejection", 10, "no certificate to be used")
        assert failure_of(ask()) == "systemFailure"
        wait_for(lambda: not stamping.is_ready("tsa-1"), 5, "readiness tells")
        assert "its certificate has ended" in stamping.operations("tsa-1", "/readyz").text
        assert stamping.metrics("tsa-1")["chancery_tsa_certificate_not_after_timestamp_seconds"] == 0
    finally:
        for ca_id, key_id, not_before, not_after in rows:
            stamping.psql("UPDATE service_certificates SET not_after = %s WHERE kind = 'tsa' AND ca_id = %s AND key_id = %s AND not_before = %s",
                          (not_after, ca_id, key_id, not_before))
        stamping.sv("up", "issuer-1")
    stamping.wait_ready("issuer-1")
    wait_for(lambda: post(stamping, GOOD).headers.get("Content-Type") == REPLY, 30, "HAProxy uses the tsa again")
    wait_for(lambda: parsed(post(stamping, GOOD))["status"]["status"].native == "granted", 10, "the certificate to be used again")


def reconfigured(suite, instance, **changes):
    """Restarts an instance with keys of its configuration changed; gives the old text at once."""
    file = suite.dir / "etc" / f"{instance}.yaml"
    old = file.read_text()
    file.write_text(yaml.safe_dump(yaml.safe_load(old) | changes))
    suite.sv("restart", instance)
    return old


def test_a_clock_that_nobody_vouches_for_is_refused_where_configured(stamping):
    """No kernel vouches for its clock within a millisecond. /readyz says so, so that HAProxy asks another."""
    old = reconfigured(stamping, "tsa-1", require_synchronised_clock=True, maximum_clock_error="1ms")
    try:
        wait_for(lambda: "the clock is not synchronised" in stamping.why_not_ready("tsa-1"), 30, "/readyz to say it")
        url = "http://" + stamping.config("tsa-1")["http"]["listen"] + "/tsa"
        answer = requests.post(url, data=GOOD, headers={"Content-Type": QUERY}, timeout=30)
        assert failure_of(answer) == "timeNotAvailable"
        assert "chancery_tsa_clock_synchronised" in stamping.metrics("tsa-1")
        assert "chancery_tsa_clock_maximum_error_microseconds" in stamping.metrics("tsa-1")
    finally:
        (stamping.dir / "etc" / "tsa-1.yaml").write_text(old)
        stamping.sv("restart", "tsa-1")
        stamping.wait_ready("tsa-1")
    wait_for(lambda: post(stamping, GOOD).headers.get("Content-Type") == REPLY, 60, "tsa-1 to answer through HAProxy")
    granted(post(stamping, GOOD))


def test_without_the_vault_there_are_no_tokens_and_with_it_there_are_again(stamping):
    url = "http://" + stamping.config("tsa-1")["http"]["listen"] + "/tsa"

    def ask(body):
        return requests.post(url, data=body, headers={"Content-Type": QUERY}, timeout=30)

    stamping.sv("down", "vault-1")
    try:
        begun = time.monotonic()
        assert failure_of(ask(GOOD)) == "systemFailure"
        assert time.monotonic() - begun < 15
        assert failure_of(ask(b"rubbish")) == "badDataFormat"
        wait_for(lambda: not stamping.is_ready("tsa-1"), 10, "readiness tells, for HAProxy to ask another")
    finally:
        stamping.sv("up", "vault-1")
    stamping.wait_ready("vault-1")
    wait_for(lambda: post(stamping, GOOD).headers["Content-Type"] == REPLY, 30, "tsa-1 to answer through HAProxy")
    granted(post(stamping, GOOD))


def test_two_instances_share_the_work_and_no_serial_number(two_replicas):
    wait_for(lambda: parsed(post(two_replicas, query()))["status"]["status"].native == "granted", 30, "a first timestamp")
    before = [two_replicas.metrics(f"tsa-{n}")["chancery_tsa_tokens_total"] for n in (1, 2)]
    serials = [tst_info(granted(post(two_replicas, query())))["serial_number"] for _ in range(40)]
    after = [two_replicas.metrics(f"tsa-{n}")["chancery_tsa_tokens_total"] for n in (1, 2)]
    assert len(set(serials)) == len(serials)
    assert all(b > a for a, b in zip(before, after)), (before, after)
