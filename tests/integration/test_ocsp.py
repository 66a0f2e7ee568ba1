# SPDX-License-Identifier: Apache-2.0
"""The OCSP responder as relying parties and attackers see it: openssl, GnuTLS and python-cryptography read its answers; malformed
requests cost it nothing; it outlives its database. RFC 6960, RFC 5019, RFC 9654."""
import base64
import datetime
import pathlib
import secrets
import subprocess
import time
import urllib.parse
import uuid

import pytest
import requests
from conftest import wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

HTTP = requests.Session()
REQUEST_TYPE = "application/ocsp-request"
RESPONSE_TYPE = "application/ocsp-response"
DER = serialization.Encoding.DER
OK = ocsp.OCSPResponseStatus.SUCCESSFUL
MALFORMED = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
UNAUTHORIZED = ocsp.OCSPResponseStatus.UNAUTHORIZED
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER
GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def issuer(suite):
    """The issuing CA's certificate."""
    return x509.load_pem_x509_certificate(pathlib.Path(suite.chain).read_bytes())  # the first block


@pytest.fixture(scope="module")
def instances(suite):
    return [name for name in suite.instances() if name.startswith("ocsp-")]


class Leaf:
    def __init__(self, suite):
        answer = suite.issue()
        self.serial = answer["serial"]
        self.certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())


@pytest.fixture
def leaf(suite):
    return Leaf(suite)


@pytest.fixture(scope="module")
def steady(suite):
    """A certificate that no test revokes."""
    return Leaf(suite)


def ask_for(certificate, issuer, digest=None, nonce=None):
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, digest or hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(DER)


def post(url, body, content_type=REQUEST_TYPE):
    return HTTP.post(url + "/ocsp", data=body, headers={"Content-Type": content_type} if content_type else {}, timeout=15)


def read(answer):
    """The decoded response; every answer is HTTP 200 with the OCSP media type."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == RESPONSE_TYPE
    return ocsp.load_der_ocsp_response(answer.content)


def direct(suite, instance):
    """The base URL of one responder, past HAProxy."""
    return f"http://{suite.config(instance)['http']['listen']}"


def total(suite, instances, name):
    return sum(suite.metrics(instance).get(name, 0) for instance in instances)


# --- what it answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()], ids=["sha1", "sha256"])
def test_a_good_answer_is_what_rfc_6960_wants(suite, issuer, steady, digest):
    before = datetime.datetime.utcnow().replace(microsecond=0)
    response = read(post(suite.http, ask_for(steady.certificate, issuer, digest)))
    assert response.response_status == OK
    assert response.certificate_status == GOOD
    assert response.serial_number == steady.certificate.serial_number
    assert isinstance(response.hash_algorithm, type(digest))
    assert response.responder_name is None
    assert response.this_update <= datetime.datetime.utcnow()
    assert response.this_update <= response.produced_at <= datetime.datetime.utcnow()
    assert before + datetime.timedelta(minutes=29) < response.next_update < before + datetime.timedelta(days=1)
    (responder,) = response.certificates
    key_bits = responder.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    sha1 = hashes.Hash(hashes.SHA1())
    sha1.update(key_bits)
    assert response.responder_key_hash == sha1.finalize()


def test_the_responder_certificate_is_a_delegated_one_of_the_ca(suite, issuer, steady):
    response = read(post(suite.http, ask_for(steady.certificate, issuer)))
    (responder,) = response.certificates
    assert responder.issuer == issuer.subject
    issuer.public_key().verify(responder.signature, responder.tbs_certificate_bytes, ec.ECDSA(responder.signature_hash_algorithm))
    usage = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
    responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
    responder.public_key().verify(response.signature, response.tbs_response_bytes, ec.ECDSA(response.signature_hash_algorithm))


def write_pems(tmp_path, leaf, issuer):
    leaf_pem, issuer_pem = tmp_path / "leaf.pem", tmp_path / "issuer.pem"
    leaf_pem.write_bytes(leaf.certificate.public_bytes(serialization.Encoding.PEM))
    issuer_pem.write_bytes(issuer.public_bytes(serialization.Encoding.PEM))
    return leaf_pem, issuer_pem


def test_openssl_and_gnutls_accept_it(suite, issuer, steady, tmp_path):
    leaf_pem, issuer_pem = write_pems(tmp_path, steady, issuer)
    for more in ([], ["-no_nonce"], ["-sha256"]):
        out = run("openssl", "ocsp", *more, "-issuer", issuer_pem, "-cert", leaf_pem, "-CAfile", suite.chain, "-url",
                  suite.http + "/ocsp")
        assert "Response verify OK" in out and "leaf.pem: good" in out, out
        assert "WARNING" not in out, out
    out = run("ocsptool", f"--ask={suite.http}/ocsp", "--load-cert", leaf_pem, "--load-issuer", issuer_pem, "--load-trust",
              issuer_pem, "--nonce")
    assert "Certificate Status: good" in out and "Verifying OCSP Response: Success" in out, out


def test_get_takes_every_spelling_of_base64(suite, issuer, steady):
    der = ask_for(steady.certificate, issuer)
    plain = base64.b64encode(der).decode()
    url_alphabet = base64.urlsafe_b64encode(der).decode()
    spellings = {
        "escaped": urllib.parse.quote(plain, safe=""),
        "plain": plain,
        "base64url": url_alphabet,
        "unpadded": url_alphabet.rstrip("="),
        "after two slashes": "/" + urllib.parse.quote(plain, safe=""),
    }
    for name, text in spellings.items():
        response = read(HTTP.get(f"{suite.http}/ocsp/{text}", timeout=15))
        assert response.response_status == OK and response.certificate_status == GOOD, name


@pytest.mark.parametrize("size", [1, 16, 32, 33, 128])
def test_the_nonce_comes_back(suite, issuer, steady, size):
    nonce = bytes(range(size))
    response = read(post(suite.http, ask_for(steady.certificate, issuer, nonce=nonce)))
    assert response.response_status == OK
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


def test_without_a_nonce_there_is_none_in_the_answer(suite, issuer, steady):
    assert list(read(post(suite.http, ask_for(steady.certificate, issuer))).extensions) == []


@pytest.mark.parametrize("size", [0, 129, 4000])
def test_a_nonce_of_another_size_is_malformed(suite, issuer, steady, size):
    assert read(post(suite.http, ask_for(steady.certificate, issuer, nonce=b"x" * size))).response_status == MALFORMED


def fake(issuer_name, key, serial):
    """A certificate that was never issued: only its issuer and its serial matter to an OCSP request."""
    now = datetime.datetime.utcnow()
    return (x509.CertificateBuilder().subject_name(issuer_name).issuer_name(issuer_name).public_key(key.public_key())
            .serial_number(serial).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256()))


def test_an_invented_serial_is_unknown_without_asking_the_database(suite, instances, issuer, steady):
    real = steady.certificate.serial_number
    key = ec.generate_private_key(ec.SECP256R1())
    before = total(suite, instances, "chancery_ocsp_invented_serials_total")
    serials = [1, real ^ 1, real ^ (1 << 64), (1 << 159) - 1]
    for serial in serials:
        response = read(post(suite.http, ask_for(fake(issuer.subject, key, serial), issuer)))
        assert response.response_status == OK and response.certificate_status == UNKNOWN, hex(serial)
        assert response.serial_number == serial
    assert total(suite, instances, "chancery_ocsp_invented_serials_total") - before == len(serials)


def test_a_serial_that_the_suite_never_issued_can_be_revoked(suite, issuer, tmp_path):
    """Signed outside of it, or lost with a database: OCSP and the CRL say so, whatever the serial. Asked before too, by openssl."""
    issuer_pem = tmp_path / "issuer.pem"
    issuer_pem.write_bytes(issuer.public_bytes(serialization.Encoding.PEM))

    def status(serial):
        return run("openssl", "ocsp", "-no_nonce", "-issuer", issuer_pem, "-serial", serial, "-CAfile", suite.chain, "-url", suite.http + "/ocsp")

    def revoke(serial, **more):
        return suite.api("POST", f"/v1/certificates/{serial}/revoke", role="officer", json={"reason": "keyCompromise", "ca": suite.issuing_ca} | more)

    serials = ["5" + secrets.token_hex(20)[1:], "05" + secrets.token_hex(2), "f" + secrets.token_hex(3) + "1"]
    for serial in serials:
        assert f"0x{serial}: unknown" in status(f"0x{serial}")
        answer = revoke(serial)
        assert answer.status_code == 200 and answer.json()["status"] == "revoked", answer.text
        assert revoke("000" + serial if len(serial) < 30 else serial).status_code == 200  # the same number, and nothing changes
        assert revoke(serial, reason="superseded").status_code == 409
        wait_for(lambda s=serial: f"0x{s}: revoked" in status(f"0x{s}"), 5, f"OCSP to say that {serial} is revoked")
        assert "keyCompromise" in status(f"0x{serial}")
    assert suite.api("POST", f"/v1/crls/{suite.issuing_ca}", timeout=60).status_code == 201
    crl = x509.load_der_x509_crl(HTTP.get(f"{suite.http}/crl/{suite.issuing_ca}.crl", timeout=10).content)
    assert all(crl.get_revoked_certificate_by_serial_number(int(serial, 16)) for serial in serials)
    assert [row[0] for row in suite.psql("SELECT action FROM revocation_log WHERE encode(serial, 'hex') = ANY (%s)", (
        [serials[0], serials[1], "00" + serials[2]],))] == ["revoked"] * 3
    assert revoke("00").status_code == 400 and revoke("f" * 40).status_code == 400  # neither positive nor 20 octets
    assert revoke("05", ca="nobody").status_code == 404
    assert suite.api("POST", "/v1/certificates/0505/revoke", role="officer", json={}).status_code == 404  # of which CA?


def test_another_ca_is_not_answered_for(suite):
    key = ec.generate_private_key(ec.SECP256R1())
    other = fake(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somebody else")]), key, 5)
    response = read(post(suite.http, ask_for(other, other)))
    assert response.response_status == UNAUTHORIZED


def many(suite, issuer, leaves, tmp_path):
    """A request for several certificates, by openssl."""
    _, issuer_pem = write_pems(tmp_path, leaves[0], issuer)
    out = tmp_path / "many.der"
    serials = [word for leaf in leaves for word in ("-serial", hex(leaf.certificate.serial_number))]
    run("openssl", "ocsp", "-no_nonce", "-issuer", issuer_pem, *serials, "-reqout", out)
    return out.read_bytes()


def test_several_certificates_in_a_request(suite, issuer, steady, leaf, tmp_path):
    suite.revoke(leaf.serial, "superseded")
    answer = post(suite.http, many(suite, issuer, [steady, leaf], tmp_path))
    assert read(answer).response_status == OK
    (tmp_path / "answer.der").write_bytes(answer.content)
    out = run("openssl", "ocsp", "-respin", tmp_path / "answer.der", "-no_nonce", "-CAfile", suite.chain, "-issuer",
              tmp_path / "issuer.pem", "-serial", hex(steady.certificate.serial_number), "-serial",
              hex(leaf.certificate.serial_number))
    assert "Response verify OK" in out, out
    assert f"{hex(steady.certificate.serial_number)}: good" in out, out
    assert f"{hex(leaf.certificate.serial_number)}: revoked" in out, out
    assert read(post(suite.http, many(suite, issuer, [steady] * 17, tmp_path))).response_status == MALFORMED


# --- when the status changes ---------------------------------------------------------------------------------------------------


def status_at(url, body):
    response = read(post(url, body))
    assert response.response_status == OK
    return response


def test_every_responder_sees_a_revocation_within_a_second(two_replicas):
    suite = two_replicas
    issuer = x509.load_pem_x509_certificate(pathlib.Path(suite.chain).read_bytes())  # the first block
    leaf = Leaf(suite)
    urls = [direct(suite, name) for name in suite.instances() if name.startswith("ocsp-")]
    bodies = [ask_for(leaf.certificate, issuer, digest) for digest in (hashes.SHA1(), hashes.SHA256())]
    assert len(urls) == 2
    for url in urls:
        for body in bodies * 2:  # twice: the second is from the cache
            assert status_at(url, body).certificate_status == GOOD
    suite.revoke(leaf.serial)
    end = time.monotonic() + 1
    for url in urls:
        for body in bodies:
            wait_for(lambda u=url, b=body: status_at(u, b).certificate_status == REVOKED, end - time.monotonic(),
                     "the revocation is seen")
            response = status_at(url, body)
            assert response.revocation_reason == x509.ReasonFlags.key_compromise
            age = datetime.datetime.utcnow() - response.revocation_time
            assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)


def test_replicas_say_the_same_and_a_revocation_at_once(two_replicas):
    """Asked by turns: the same times and entity tag, so that a copy of one is current for the other; thisUpdate never goes backwards."""
    suite = two_replicas
    issuer = x509.load_pem_x509_certificate(pathlib.Path(suite.chain).read_bytes())  # the first block
    leaf = Leaf(suite)
    body, seen = ask_for(leaf.certificate, issuer), []
    path = get_url(suite, body).removeprefix(suite.http)
    urls = [direct(suite, name) for name in suite.instances() if name.startswith("ocsp-")]

    def asked_by_turns(etag=None):
        answers = [HTTP.get(url + path, headers={"If-None-Match": f'"x", {etag}'} if etag else {}, timeout=15) for url in urls * 2]
        said = [read(answer) for answer in answers if answer.status_code == 200]
        nonced = [read(post(url, ask_for(leaf.certificate, issuer, nonce=b"n" * 16))) for url in urls]
        seen.extend(response.this_update for response in said + nonced)
        assert seen == sorted(seen), seen
        headers = {tuple(answer.headers[name] for name in ("ETag", "Last-Modified", "Expires")) for answer in answers}
        times = {(response.this_update, response.next_update) for response in said + nonced}
        assert len(headers) == 1 and len(times) == 1, (headers, times)
        return answers[0].headers["ETag"], {answer.status_code for answer in answers}, {response.certificate_status for response in nonced}

    good, codes, status = asked_by_turns()
    assert good.startswith('W/"') and codes == {200} and status == {GOOD}
    assert asked_by_turns(good)[:2] == (good, {304})
    suite.revoke(leaf.serial)
    for url in urls:
        wait_for(lambda u=url: status_at(u, body).certificate_status == REVOKED, 1, "the revocation is seen")
    revoked, codes, status = asked_by_turns(good)
    assert revoked != good and codes == {200} and status == {REVOKED}
    assert asked_by_turns(revoked)[1] == {304}


def test_unspecified_is_said_by_giving_no_reason(suite, issuer, leaf):
    suite.revoke(leaf.serial, "unspecified")
    response = status_at(suite.http, ask_for(leaf.certificate, issuer))
    assert response.certificate_status == REVOKED and response.revocation_reason is None


def test_suspended_is_revoked_with_hold_and_reinstated_is_good(suite, issuer, leaf):
    body, times = ask_for(leaf.certificate, issuer), []

    def change(verb):
        answer = suite.api("POST", f"/v1/certificates/{leaf.serial}/{verb}", json={})
        assert answer.status_code == 200, answer.text

    times.append(status_at(suite.http, body).this_update)
    assert status_at(suite.http, body).certificate_status == GOOD
    change("suspend")
    wait_for(lambda: status_at(suite.http, body).certificate_status == REVOKED, 1, "the suspension is seen")
    assert status_at(suite.http, body).revocation_reason == x509.ReasonFlags.certificate_hold
    times.append(status_at(suite.http, body).this_update)
    change("reinstate")
    wait_for(lambda: status_at(suite.http, body).certificate_status == GOOD, 1, "the reinstatement is seen")
    times.append(status_at(suite.http, body).this_update)
    assert times == sorted(times)


# --- HTTP ------------------------------------------------------------------------------------------------------------------------


def get_url(suite, body):
    return f"{suite.http}/ocsp/{urllib.parse.quote(base64.b64encode(body).decode(), safe='')}"


def test_get_answers_may_be_cached_by_http(suite, issuer, steady):
    url = get_url(suite, ask_for(steady.certificate, issuer))
    answer = HTTP.get(url, timeout=15)
    response = read(answer)
    http_date = "%a, %d %b %Y %H:%M:%S GMT"
    assert answer.headers["Last-Modified"] == response.this_update.strftime(http_date)
    assert answer.headers["Expires"] == response.next_update.strftime(http_date)
    parts = answer.headers["Cache-Control"].split(", ")
    age = int(next(part for part in parts if part.startswith("max-age=")).partition("=")[2])
    assert 0 < age <= 300 and {"public", "no-transform", "must-revalidate"} <= set(parts)
    again = HTTP.get(url, headers={"If-None-Match": answer.headers["ETag"]}, timeout=15)
    assert again.status_code == 304 and again.content == b""
    head = HTTP.head(url, timeout=15)
    assert head.status_code == 200 and int(head.headers["Content-Length"]) == len(answer.content)


def test_haproxy_says_who_asks_whatever_the_client_claims(suite, instances):
    """It sets X-Forwarded-For: a field that the client sends reaches no log."""
    trace = uuid.uuid4().hex
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Forwarded-For": "203.0.113.66", "Content-Type": REQUEST_TYPE}

    def told():
        assert HTTP.post(suite.http + "/ocsp", data=b"no request", headers=headers, timeout=15).status_code == 200
        return [line["msg"] for instance in instances for line in suite.log(instance) if line.get("trace_id") == trace]
    lines = wait_for(told, 20, "the refusal in a responder's log (at most ten a second are told)")
    assert all("malformed OCSP request from 127.0.0.1:" in line for line in lines), lines


def test_what_is_for_one_client_may_not_be_cached(suite, issuer, steady):
    answer = HTTP.get(get_url(suite, ask_for(steady.certificate, issuer, nonce=b"n" * 16)), timeout=15)
    assert read(answer).response_status == OK
    assert answer.headers["Cache-Control"] == "no-store" and "ETag" not in answer.headers
    assert HTTP.get(suite.http + "/ocsp/AAAA", timeout=15).headers["Cache-Control"] == "no-store"


def test_answers_come_from_the_cache(suite, instances, issuer, steady):
    body = ask_for(steady.certificate, issuer)
    hits, signed = "chancery_ocsp_cache_total{result=\"hit\"}", "chancery_ocsp_sign_seconds_count"
    url = direct(suite, instances[0])
    status_at(url, body)
    before = suite.metrics(instances[0])
    contents = {post(url, body).content for _ in range(20)}
    after = suite.metrics(instances[0])
    assert len(contents) == 1
    assert after[hits] - before[hits] == 20
    assert after[signed] == before[signed]


# --- bad input -------------------------------------------------------------------------------------------------------------------


def bad_requests(good):
    """(name, body, content type, the metric's reason)"""
    rows = [
        ("empty", b"", REQUEST_TYPE, "der"),
        ("text", b"hello", REQUEST_TYPE, "der"),
        ("one octet after the end", good + b"\0", REQUEST_TYPE, "der"),
        ("indefinite length", b"\x30\x80" + good[2:] + b"\0\0", REQUEST_TYPE, "der"),
        ("length of four gigabytes", b"\x30\x84\xff\xff\xff\xff" + good[2:], REQUEST_TYPE, "der"),
        ("length in more octets than it needs", b"\x30\x81" + good[1:], REQUEST_TYPE, "der"),
        ("no certificates", bytes.fromhex("300430023000"), REQUEST_TYPE, "der"),
        ("SET for SEQUENCE", b"\x31" + good[1:], REQUEST_TYPE, "der"),
        ("deep nesting", b"\x30\x82\x03\xe8" + b"\x30\x80" * 500, REQUEST_TYPE, "der"),
        ("PEM", b"-----BEGIN OCSP REQUEST-----\n", REQUEST_TYPE, "der"),
        ("a certificate request's type", good, "application/pkcs10", "content-type"),
        ("JSON", b'{"a": 1}', "application/json", "content-type"),
        ("no type", good, None, "content-type"),
        ("hash parameters that are no NULL", good.replace(b"\x05\x00", b"\x04\x00", 1), REQUEST_TYPE, "der"),
        ("over the cap", good + b"\0" * 17000, REQUEST_TYPE, "too-large"),
        ("far over the cap", b"\x30" * 3000000, REQUEST_TYPE, "too-large"),
    ]
    rows += [(f"cut after {size}", good[:size], REQUEST_TYPE, "der") for size in range(1, len(good), 7)]
    return rows


def test_bad_input_is_malformed_counted_and_harmless(suite, instances, issuer, steady):
    instance = instances[0]
    url, pid = direct(suite, instance), suite.pid(instance)
    rows = bad_requests(ask_for(steady.certificate, issuer))
    before = suite.metrics(instance)
    for name, body, content_type, _ in rows:
        assert read(post(url, body, content_type)).response_status == MALFORMED, name
    after = suite.metrics(instance)
    for reason in {row[3] for row in rows}:
        metric = f'chancery_ocsp_malformed_total{{reason="{reason}"}}'
        assert after[metric] - before.get(metric, 0) == sum(row[3] == reason for row in rows), reason
    assert suite.pid(instance) == pid
    assert status_at(url, ask_for(steady.certificate, issuer)).certificate_status == GOOD
    wait_for(lambda: any("malformed OCSP request" in line.get("msg", "") for line in suite.log(instance)), 5, "it is logged")


@pytest.mark.parametrize("path", ["/ocsp/", "/ocsp/%", "/ocsp/!!!!", "/ocsp/MAA", "/ocsp/" + "A" * 3001, "/ocsp/a/b/c", "/ocsp/%00",
                                  "/ocsp/%ff%fe", "/ocsp/MFEwTzBNMEswSTAJBgUrDgMCGgUABBQ="])
def test_a_bad_get_is_malformed(suite, path):
    answer = HTTP.get(suite.http + path, timeout=15)
    if answer.status_code == 200:
        assert read(answer).response_status == MALFORMED
    else:  # refused as HTTP before it was OCSP
        assert answer.status_code == 400, answer.status_code


def test_other_methods_are_refused(suite):
    for method in ("PUT", "DELETE", "PATCH"):
        answer = HTTP.request(method, suite.http + "/ocsp", timeout=15)
        assert answer.status_code == 405 and "POST" in answer.headers["Allow"]


def test_memory_stays_flat_under_bad_input(suite, instances, issuer, steady):
    instance = instances[0]
    url = direct(suite, instance)
    rows = [row for row in bad_requests(ask_for(steady.certificate, issuer)) if len(row[1]) < 20000]

    def resident():
        return suite.metrics(instance)["process_resident_memory_bytes"]

    def round_of(count):
        for _ in range(count):
            for _, body, content_type, _ in rows:
                post(url, body, content_type)

    round_of(30)
    before, descriptors = resident(), suite.metrics(instance)["process_open_fds"]
    round_of(60)
    assert resident() - before < 16 * 1024 * 1024
    assert suite.metrics(instance)["process_open_fds"] <= descriptors + 5


# --- its dependencies -------------------------------------------------------------------------------------------------------------


def summary(suite, instance):
    return suite.operations(instance, "/readyz").json()["summary"]


def shut_out(suite):
    """The database no longer takes ocsp's role, and its connections are gone."""
    suite.psql("ALTER ROLE chancery_ocsp NOLOGIN")
    suite.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'chancery_ocsp'")


def let_in(suite, instances):
    """Takes it again; returns when every responder has it again."""
    suite.psql("ALTER ROLE chancery_ocsp LOGIN")
    for instance in instances:
        wait_for(lambda: summary(suite, instance) == "", 30, f"{instance} to be well")


def test_without_its_database_it_serves_what_it_has_and_says_so(suite, instances, issuer, steady, leaf):
    instance = instances[0]
    url = direct(suite, instance)
    cached, fresh = ask_for(steady.certificate, issuer), ask_for(leaf.certificate, issuer)
    status_at(url, cached)
    shut_out(suite)
    try:
        wait_for(lambda: "database: away" in summary(suite, instance), 20, "readiness tells")
        assert suite.is_ready(instance)  # HAProxy goes on asking it
        conditions = suite.operations(instance, "/readyz").json()["conditions"]
        assert [row["name"] for row in conditions if row["state"] != "ok"] == ["database"]
        assert status_at(url, cached).certificate_status == GOOD
        assert read(post(url, fresh)).response_status == TRY_LATER
        # A serial that nobody issued needs no database.
        key = ec.generate_private_key(ec.SECP256R1())
        assert status_at(url, ask_for(fake(issuer.subject, key, 7), issuer)).certificate_status == UNKNOWN
    finally:
        let_in(suite, instances)
    assert status_at(url, fresh).certificate_status == GOOD


def test_a_revocation_while_the_database_was_away_is_seen_when_it_is_back(suite, instances, issuer, leaf):
    url = direct(suite, instances[0])
    body = ask_for(leaf.certificate, issuer)
    assert status_at(url, body).certificate_status == GOOD
    shut_out(suite)
    try:
        wait_for(lambda: "database: away" in summary(suite, instances[0]), 20, "readiness tells")
        suite.revoke(leaf.serial)
        assert status_at(url, body).certificate_status == GOOD
    finally:
        let_in(suite, instances)
    wait_for(lambda: status_at(url, body).certificate_status == REVOKED, 1, "the revocation is seen")


def test_a_renewed_responder_certificate_is_taken_up(suite, issuer, leaf):
    """The issuer renews when two thirds of the life are over: make the row say so."""
    body = ask_for(leaf.certificate, issuer, nonce=b"r" * 16)  # never from the cache
    old = status_at(suite.http, body).certificates[0]
    suite.psql("UPDATE service_certificates s SET not_before = now() - interval '29 days', not_after = now() + interval '1 day' "
               "FROM cas c WHERE c.ca_id = s.ca_id AND c.name = %s AND s.kind = 'ocsp'", (suite.issuing_ca,))
    wait_for(lambda: status_at(suite.http, body).certificates[0] != old, 120, "a new responder certificate answers")
    new = status_at(suite.http, body)
    assert new.certificates[0].not_valid_before >= old.not_valid_before
    assert new.certificate_status == GOOD
    new.certificates[0].public_key().verify(new.signature, new.tbs_response_bytes, ec.ECDSA(new.signature_hash_algorithm))
