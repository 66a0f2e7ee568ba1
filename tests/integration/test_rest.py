# SPDX-License-Identifier: Apache-2.0
"""The REST interface of the gateway: what it issues, who may what, and what it does with bad input: a documented problem, a count, and
memory that stays flat. What every operation answers is held against proto/openapi.yaml in test_openapi.py."""
import base64
import concurrent.futures
import datetime
import json
import re
import socket
import ssl
import subprocess
import time
import uuid

import pytest
import requests
import rest_contract as contract
from conftest import utc, wait_for
from cryptography import x509

JSON = {"Content-Type": "application/json"}
PKCS10 = {"Content-Type": "application/pkcs10"}
YAML = {"Content-Type": "application/yaml"}
ABSENT = "0ffe" + "00" * 14


def csr_of(suite, name=None):
    name = name or f"rest-{uuid.uuid4().hex[:10]}.example"
    return suite.new_key_and_csr(name, [f"DNS:{name}"])[1]


def der_of(pem):
    return base64.b64decode("".join(line for line in pem.splitlines() if "-----" not in line))


def refusals(suite):
    return {name: value for name, value in suite.metrics("gateway-1").items() if "refused_total" in name}


def problem(answer, status, code=None):
    assert answer.status_code == status, answer.text[:300]
    contract.validate(answer.json(), {"$ref": "#/components/schemas/Problem"})
    assert code is None or answer.json()["code"] == code
    return answer.json()["detail"]


# --- issuing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["der", "pem", "base64", "base64 in lines"])
def test_a_raw_request_is_taken_in_every_form_that_clients_send(suite, form):
    pem = csr_of(suite)
    der = der_of(pem)
    body = {"der": der, "pem": pem.encode(), "base64": base64.b64encode(der), "base64 in lines": base64.encodebytes(der)}[form]
    answer = suite.api("POST", f"/v1/certificates?profile=tls-server&ca={suite.issuing_ca}&validity=10d", data=body, headers=PKCS10)
    assert answer.status_code == 201, answer.text
    issued = contract.check("issueCertificate", answer).json()
    assert answer.headers["Location"] == f"/v1/certificates/{issued['serial']}"
    assert 9.9 < (utc(issued["not_after"]) - utc(issued["not_before"])).total_seconds() / 86400 < 10.1
    assert x509.load_pem_x509_csr(pem.encode()).public_key().public_numbers() == x509.load_pem_x509_certificate(
        issued["certificate"].encode()).public_key().public_numbers()


def test_names_of_the_request_stand_for_those_of_the_csr(suite):
    name = f"other-{uuid.uuid4().hex[:8]}.example"
    path = f"/v1/certificates?profile=tls-server&ca={suite.issuing_ca}&subject_alt_names=dns:{name},ip:192.0.2.9"
    raw = suite.api("POST", path, data=csr_of(suite, name), headers=PKCS10)
    assert raw.json()["subject_alt_names"] == [{"type": "dns", "value": name}, {"type": "ip", "value": "192.0.2.9"}]
    plain = suite.issue(csr_of(suite, name), subject_alt_names=[{"type": "dns", "value": name}])
    assert plain["subject_alt_names"] == [{"type": "dns", "value": name}]


def test_an_idempotency_key_gives_the_same_certificate_and_says_so(suite):
    body = {"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr_of(suite)}
    key = {"Idempotency-Key": f"test {uuid.uuid4()} ~"}
    first = suite.api("POST", "/v1/certificates", json=body, headers=key)
    again = suite.api("POST", "/v1/certificates", json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["serial"] == again.json()["serial"]
    assert "Idempotent-Replayed" not in first.headers and again.headers["Idempotent-Replayed"] == "true"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        body["csr"] = csr_of(suite)
        answers = list(pool.map(lambda _: suite.api("POST", "/v1/certificates", json=body, headers=key), range(8)))
    serials = {answer.json()["serial"] for answer in answers if answer.status_code == 201}
    assert len(serials) == 1, [answer.text[:200] for answer in answers]


def test_pem_or_json_by_accept(suite):
    serial = suite.issue()["serial"]
    for accept, kind in [("application/pem-certificate-chain", "application/pem-certificate-chain"), ("*/*", "application/json"),
                         ("application/json;q=0.1, application/pem-certificate-chain", "application/pem-certificate-chain"),
                         ("text/html, application/json;q=0.5", "application/json")]:
        answer = suite.api("GET", f"/v1/certificates/{serial.upper()}", headers={"Accept": accept})
        assert answer.headers["Content-Type"] == kind
    pem = suite.api("GET", f"/v1/certificates/{serial}", headers={"Accept": "application/pem-certificate-chain"}).text
    assert len(re.findall("-----BEGIN CERTIFICATE-----", pem)) == 3  # leaf, issuing CA, root


def test_a_list_is_paged_and_searched(suite):
    mark = uuid.uuid4().hex[:10]
    serials = {suite.issue(csr_of(suite, f"{number}.{mark}.example"))["serial"] for number in range(5)}
    found, cursor = [], ""
    while True:
        page = suite.api("GET", f"/v1/certificates?san={mark}&limit=2&cursor={cursor}").json()
        assert len(page["certificates"]) <= 2
        found += [certificate["serial"] for certificate in page["certificates"]]
        cursor = page.get("next_cursor")
        if not cursor:
            break
    assert len(found) == 5 and set(found) == serials
    suite.revoke(found[0])
    revoked = suite.api("GET", f"/v1/certificates?san={mark}&status=revoked").json()["certificates"]
    assert [certificate["serial"] for certificate in revoked] == found[:1]
    assert not suite.api("GET", f"/v1/certificates?san={mark}&expires_before=2026-01-01T00:00:00Z").json()["certificates"]


# --- who may what ----------------------------------------------------------------------------------------------------------


def test_whoami_and_a_requester_may_issue_but_not_revoke(suite):
    me = suite.api("GET", "/v1/whoami", role="requester").json()
    assert me["roles"] == ["requester"] and me["address"] == "127.0.0.1"
    serial = suite.issue(role="requester")["serial"]
    detail = problem(suite.api("POST", f"/v1/certificates/{serial}/revoke", role="requester", json={}), 403, "denied")
    assert "officer" in detail
    assert suite.api("GET", f"/v1/certificates/{serial}").json()["status"] == "issued"


def whoami_directly(suite, header, source="127.0.0.1"):
    """What the gateway answers to a connection of our own that begins with that PROXY header: b"" where it is closed."""
    context = ssl.create_default_context(cafile=suite.ca_file)
    context.load_cert_chain(*suite.client("requester"))
    host, port = suite.config("gateway-1")["http"]["listen"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=15, source_address=(source, 0)) as raw:
        try:
            raw.sendall(header)
            with context.wrap_socket(raw, server_hostname="localhost") as connection:
                connection.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.66\r\nConnection: close\r\n\r\n")
                answer = b""
                while part := connection.recv(65536):
                    answer += part
                return answer
        except (ssl.SSLError, ConnectionError):
            return b""


@pytest.mark.parametrize("header,address", [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", b"192.0.2.7"),
    (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
    (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"127.0.0.1"),  # version 2, LOCAL
], ids=["tcp4", "unknown", "local"])
def test_a_proxy_header_names_the_client_or_the_proxy_itself(suite, header, address):
    assert b'"address":"' + address + b'"' in whoami_directly(suite, header).replace(b" ", b"")


def test_a_proxy_header_is_taken_from_configured_peers_alone(suite):
    name = 'chancery_http_refused_total{listener="outside",reason="proxy-peer"}'
    before = refusals(suite).get(name, 0)
    assert whoami_directly(suite, b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", source="127.0.0.2") == b""
    assert refusals(suite)[name] == before + 1
    assert any("127.0.0.2 is not among trusted_proxies" in line["msg"] for line in suite.log("gateway-1"))


def transactions_of(suite, instance, path):
    """How many database transactions a daemon makes for a listing: the fewest seen, since it has others in the background."""
    def made():
        return sum(value for name, value in suite.metrics(instance).items() if name.startswith("chancery_db_transactions_total"))
    seen = []
    for _ in range(5):
        before = made()
        assert suite.api("GET", path).status_code == 200
        seen.append(made() - before)
    return min(seen)


def test_actions_are_listed_in_one_statement_however_many(suite):
    """As many as are listed at all, each made of one that quickstart had approved."""
    suite.psql("INSERT INTO actions (action_id, tenant_id, kind, document, fields_sha256, proposed_by, created_at, expires_at) "
               "SELECT md5(n::text), tenant_id, kind, document, fields_sha256, 'edges', now(), now() + interval '1 hour' "
               "FROM (SELECT * FROM actions WHERE tenant_id = 'default' LIMIT 1) a, generate_series(1, 200) n")
    suite.psql("INSERT INTO action_approvals (action_id, officer, certificate, signature, approved_at) "
               "SELECT n.action_id, p.officer, p.certificate, p.signature, now() FROM actions n, "
               "(SELECT * FROM action_approvals WHERE action_id = (SELECT action_id FROM actions WHERE tenant_id = 'default' AND "
               "proposed_by <> 'edges' LIMIT 1)) p WHERE n.proposed_by = 'edges' AND n.action_id < '8'")
    try:
        listed = suite.api("GET", "/v1/actions").json()["actions"]
        assert len(listed) == 200
        assert len({action["id"] for action in listed}) == 200
        one = suite.api("GET", f"/v1/actions/{listed[0]['id']}").json()
        assert {name: one[name] for name in ("state", "approved_by", "approvals_required")} == {
            name: listed[0][name] for name in ("state", "approved_by", "approvals_required")}
        assert transactions_of(suite, "vault-1", "/v1/actions") <= 6
    finally:
        suite.psql("DELETE FROM action_approvals WHERE action_id IN (SELECT action_id FROM actions WHERE proposed_by = 'edges')")
        suite.psql("DELETE FROM actions WHERE proposed_by = 'edges'")


def test_what_a_ca_issued_is_kept_not_counted_anew(suite):
    def told():
        listed = {ca["name"]: ca["certificates_issued"] for ca in suite.api("GET", "/v1/cas").json()["cas"]}
        assert suite.api("GET", f"/v1/cas/{suite.issuing_ca}").json()["certificates_issued"] == listed[suite.issuing_ca]
        return listed

    def counted():
        rows = suite.psql("SELECT cas.name, count(c.serial) FROM cas LEFT JOIN certificates c ON c.ca_id = cas.ca_id AND c.status IN "
                          "('issued', 'suspended', 'revoked') WHERE cas.tenant_id = 'default' GROUP BY cas.name")
        return {name: int(count) for name, count in rows}
    before = told()
    assert before == {name: count for name, count in counted().items() if name in before}
    serials = [suite.issue()["serial"] for _ in range(3)]
    assert told()[suite.issuing_ca] == before[suite.issuing_ca] + 3
    suite.revoke(serials[0])
    assert told()[suite.issuing_ca] == before[suite.issuing_ca] + 3
    assert told() == {name: count for name, count in counted().items() if name in before}
    assert transactions_of(suite, "issuer-1", "/v1/cas") <= 4


def test_refusals_are_counted_logged_and_audited(suite):
    before = refusals(suite)
    trace = uuid.uuid4().hex
    answer = suite.api("POST", f"/v1/crls/{suite.issuing_ca}", role="requester",
                       headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    problem(answer, 403)
    assert answer.json()["trace_id"] == trace
    after = refusals(suite)
    name = 'chancery_gateway_refused_total{reason="denied"}'
    assert after[name] == before.get(name, 0) + 1
    assert len([line for line in suite.log("gateway-1") if line.get("trace_id") == trace]) == 1
    events = wait_for(lambda: [event for event in suite.api("GET", "/v1/audit/events?type=client.refused&newest_first=true")
                               .json()["events"] if event.get("trace_id") == trace], 20, "the refusal in the audit log")
    assert events[0]["outcome"] == "refused" and events[0]["details"]["address"] == "127.0.0.1"


def test_a_flood_of_refusals_is_counted_whole_and_audited_in_part(suite):
    """At most ten a second are events of their own; the others are a number in the next."""
    session = requests.Session()
    session.trust_env, session.cert, session.verify = False, suite.client("requester"), suite.ca_file
    path = f"/v1/audit/events?type=flood-{uuid.uuid4().hex}"
    name, counted = 'chancery_gateway_refused_total{reason="denied"}', refusals(suite)

    def refused(count):
        began = time.monotonic()
        for _ in range(count):
            assert session.get(suite.url + path, timeout=30).status_code == 403
        return time.monotonic() - began

    def told():
        found = [event for event in suite.api("GET", "/v1/audit/events?type=client.refused&newest_first=true&limit=1000").json()["events"]
                 if event["time"] >= since and event["subject"] == "/v1/audit/events"]
        return len(found), sum(int(event["details"]["unreported_before"]) for event in found)
    since = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    seconds, later = refused(200), 0
    while sum(told()) < 200 + later:  # the next that is told says how many were not
        assert later < 100, told()
        later += 1
        seconds += refused(1)
    events, unreported = told()
    assert refusals(suite)[name] == counted.get(name, 0) + 200 + later
    assert events <= 10 * (seconds + 2) + later and unreported >= 200 - 10 * (seconds + 2), (events, unreported, seconds)


def test_no_answer_is_for_a_cache(suite):
    for path, status in (("/v1/whoami", 200), ("/v1/cas", 200), (f"/v1/certificates/{ABSENT}", 404), ("/v1/actions", 200)):
        answer = suite.api("GET", path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store"), path
    assert suite.api("GET", "/v1/audit/quarantine", role="requester").headers["Cache-Control"] == "no-store"  # 403


def test_a_certificate_that_does_not_verify_is_refused_not_ignored(suite, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=eve",
                    "-addext", "subjectAltName=URI:chancery:operator/default/officer/eve", "-keyout", tmp_path / "key", "-out",
                    tmp_path / "pem"], check=True, capture_output=True)
    answer = requests.get(suite.url + "/v1/whoami", cert=(str(tmp_path / "pem"), str(tmp_path / "key")), verify=suite.ca_file, timeout=10)
    assert "refused" in problem(answer, 401, "unauthenticated")


# --- bad input ---------------------------------------------------------------------------------------------------------------


BODIES = [  # what no endpoint that takes a JSON body may take
    b"{", b"}", b"[]", b"null", b'"text"', b"{} {}", b"\xff\xfe", b'{"a":"\xc0\xaf"}', b'{"nonsense":1}', b'{"a":1,"a":1}', b"{'a':1}",
    b'{"a":\x00}', b'{"a":"\\u0000"}', b"[" * 4000, b'{"a":' * 800, b'{"a":01}', b"\xef\xbb\xbf{}", b"<xml/>", bytes(range(256)),
]
ISSUE = {"profile": "tls-server", "csr": "MAA="}
WRONG_TYPES = [
    ISSUE | {"profile": 1}, ISSUE | {"profile": ["tls-server"]}, ISSUE | {"csr": {}}, ISSUE | {"csr": True}, ISSUE | {"ca": 1.5},
    ISSUE | {"validity": 90}, ISSUE | {"validity": "soon"}, ISSUE | {"validity": "-1d"}, ISSUE | {"subject_alt_names": "a.example"},
    ISSUE | {"subject_alt_names": ["a.example"]}, ISSUE | {"subject_alt_names": [{"type": "dns"}]},
    ISSUE | {"subject_alt_names": [{"type": "dns", "value": 1}]}, ISSUE | {"subject_alt_names": [{"type": "dns", "value": "a", "x": 1}]},
    ISSUE | {"subject_alt_names": [{"type": "dns", "value": "a.example"}] * 101}, ISSUE | {"profile": "p" * 64}, ISSUE | {"Profile": "a"},
    {"csr": "MAA="}, {"profile": "tls-server"}, ISSUE | {"profile": None}, ISSUE | {"csr": "not base64!"}, ISSUE | {"csr": ""},
    ISSUE | {"csr": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"}, ISSUE | {"csr": "MAA="},
]


def json_posts(suite):
    return ["/v1/certificates", f"/v1/certificates/{ABSENT}/revoke", f"/v1/certificates/{ABSENT}/suspend",
            f"/v1/certificates/{ABSENT}/reinstate", f"/v1/cas/{suite.root_ca}/activation", f"/v1/actions/{'0' * 32}/approvals", f"/v1/crls/{suite.issuing_ca}"]


def test_malformed_json_is_400_on_every_endpoint_and_counted(suite):
    before = sum(refusals(suite).values())
    sent = 0
    for path in json_posts(suite):
        for body in BODIES:
            problem(suite.api("POST", path, data=body, headers=JSON), 400, "invalid")
            sent += 1
    assert sum(refusals(suite).values()) == before + sent


@pytest.mark.parametrize("body", WRONG_TYPES, ids=range(len(WRONG_TYPES)))
def test_wrong_members_are_named(suite, body):
    problem(suite.api("POST", "/v1/certificates", json=body), 400, "invalid")


@pytest.mark.parametrize("body", [{"reason": 1}, {"reason": "tired"}, {"reason": "removeFromCRL"}, {"invalidity_date": "yesterday"},
                                  {"invalidity_date": 5}, {"reason": "x" * 40}, {"reason": "keyCompromise", "serial": "1"}])
def test_wrong_revocations_are_refused(suite, body):
    serial = suite.issue()["serial"]
    problem(suite.api("POST", f"/v1/certificates/{serial}/revoke", json=body), 400, "invalid")
    assert suite.api("GET", f"/v1/certificates/{serial}").json()["status"] == "issued"


@pytest.mark.parametrize("approval", [[], 1, {"certificate": "MAA="}, {"certificate": "MAA=", "signature": ""},
                                      {"certificate": "*", "signature": "MAA="}, {"certificate": 1, "signature": "MAA="},
                                      {"certificate": "MAA=", "signature": "MAA=", "officer": "officer"}])
def test_wrong_approvals_are_refused(suite, approval):
    problem(suite.api("POST", f"/v1/actions/{'0' * 32}/approvals", json=approval), 400, "invalid")


@pytest.mark.parametrize("action", [None, 1, "0" * 33, {"id": "0" * 32}])
def test_wrong_activations_are_refused(suite, action):
    problem(suite.api("POST", f"/v1/cas/{suite.root_ca}/activation", json={"action": action}), 400, "invalid")


DOCUMENTS = [b"", b"\xff\xfe", b"name: a\0b\n", b"- a list\n", b"name: [", b"a: &x 1\nb: *x\n", b"name: a\nname: a\n", b"nonsense: 1\n",
             b"---\nname: a\n---\nname: b\n", b"{" * 3000, b'{"name":1}', b"name: " + b"a" * 60000, b"!!python/object:os.system x\n"]


@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_wrong_documents_are_400(suite, number):
    problem(suite.api("POST", "/v1/cas", data=DOCUMENTS[number], headers=YAML), 400, "invalid")
    problem(suite.api("PUT", "/v1/profiles/wrong", data=DOCUMENTS[number], headers=YAML), 400, "invalid")


@pytest.mark.parametrize("query", ["status=lost", "status=issued&status=issued", "limit=-1", "limit=1001", "limit=x", "limit=",
                                   "expires_before=tomorrow", "expires_before=2026-02-30T00:00:00Z", "nonsense=1", "san=%ff", "san=%00",
                                   "san=" + "a" * 257, "cursor=%F0%9F%98%80", "cursor=zzz", "=1", "&"])
def test_wrong_queries_are_400(suite, query):
    problem(suite.api("GET", "/v1/certificates?" + query), 400, "invalid")


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=1001", "since=now", "newest_first=1", "newest_first=", "type=" + "a" * 65])
def test_wrong_audit_queries_are_400(suite, query):
    problem(suite.api("GET", "/v1/audit/events?" + query), 400, "invalid")


@pytest.mark.parametrize("serial", ["x", "02:ab", "0x02", "1" * 41, "%20", "02ab%2F", "%C3%A9"])
def test_wrong_serials_are_400(suite, serial):
    problem(suite.api("GET", f"/v1/certificates/{serial}"), 400, "invalid")
    problem(suite.api("POST", f"/v1/certificates/{serial}/revoke", json={}), 400, "invalid")


@pytest.mark.parametrize("key", ["", "k" * 129, "caf\u00e9".encode("latin-1"), "a\tb"])
def test_wrong_idempotency_keys_are_400(suite, key):
    body = {"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr_of(suite)}
    problem(suite.api("POST", "/v1/certificates", json=body, headers={"Idempotency-Key": key}), 400, "invalid")


@pytest.mark.parametrize("change", ["truncated", "trailing", "bit", "empty", "pem of another kind"])
def test_broken_requests_are_400(suite, change):
    der = der_of(csr_of(suite))
    body = {"truncated": der[:-10], "trailing": der + b"\0", "bit": der[:60] + bytes([der[60] ^ 1]) + der[61:], "empty": b"",
            "pem of another kind": b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"}[change]
    problem(suite.api("POST", "/v1/certificates?profile=tls-server", data=body, headers=PKCS10), 400, "invalid")


def https_port(suite):
    return int(suite.url.rpartition(":")[2])


def open_tls(suite, role="officer"):
    context = ssl.create_default_context(cafile=suite.ca_file)
    context.load_cert_chain(*suite.client(role))
    raw = socket.create_connection(("127.0.0.1", https_port(suite)), timeout=15)
    return context.wrap_socket(raw, server_hostname="localhost")


@pytest.mark.parametrize("request_text,status", [
    (b"POST /v1/certificates HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    (b"POST /v1/certificates HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", b"400"),
    (b"POST /v1/certificates HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
    (b"GET /v1/whoami HTTP/1.1\r\n\r\n", b"400"),
    (b"GET /v1/whoami HTTP/2.7\r\nHost: a\r\n\r\n", b"505"),
    (b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", b"400"),
    (b"POST /v1/certificates HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
])
def test_framing_that_could_be_read_in_two_ways_is_refused(suite, request_text, status):
    with open_tls(suite) as connection:
        connection.sendall(request_text)
        assert connection.recv(4096).split(b" ")[1] == status


def resident(suite):
    status = open(f"/proc/{suite.pid('gateway-1')}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def test_memory_is_flat_under_bad_input_and_the_daemon_stays_up(suite):
    session = requests.Session()
    session.cert = suite.client("officer")
    pid = suite.pid("gateway-1")

    def round_of_bad_input():
        for path in json_posts(suite):
            for body in BODIES[:12] + [b" " * 120000, b"x" * 400000]:
                assert 400 <= session.post(suite.url + path, data=body, headers=JSON, verify=suite.ca_file, timeout=30).status_code < 500
        with socket.create_connection(("127.0.0.1", https_port(suite)), timeout=15) as raw:
            raw.sendall(b"\x16\x03\x01\xff\xff" + b"x" * 1000)  # no TLS

    def growth_of_rounds(count):
        before = resident(suite)
        for _ in range(count):
            round_of_bad_input()
        return resident(suite) - before

    # The allocator and the sanitizer (which keeps freed memory back) fill their stores in the first dozens of rounds and then
    # stand still; what leaks grows in every round. So there must come six rounds that cost less than 4 MiB: 5 KiB a request.
    grown = []
    while not grown or grown[-1] >= 4 * 1024:
        assert len(grown) < 10, f"the gateway grows without end: KiB for each six rounds {grown}"
        grown.append(growth_of_rounds(6))
    assert suite.pid("gateway-1") == pid
    assert json.loads(session.get(suite.url + "/v1/whoami", verify=suite.ca_file, timeout=10).text)["name"] == "officer"


# --- quotas ---------------------------------------------------------------------------------------------------------------


def set_quota(suite, key_id, burst, per_hour):
    """By way of the officer whom quickstart appointed."""
    words = ["vault", "key", "set-policy", key_id, "--quota-burst", str(burst), "--quota-per-hour", str(per_hour)]
    waits = suite.cli(*words)
    if waits.code == 5:
        approved = suite.cli("approve", "--yes", re.search(r"chancery approve ([0-9a-f]{32})", waits.err).group(1))
        assert approved.code == 0, approved.err
        waits = suite.cli(*words)
    assert waits.code == 0, waits.err


def test_a_quota_that_is_used_up_is_429_with_retry_after_and_then_the_same_request_is_answered(suite):
    key_id = json.loads(suite.cli("ca", "show", suite.issuing_ca, "--json").out)["key_id"]
    path = f"/v1/certificates?profile=tls-server&ca={suite.issuing_ca}"
    csr, key = csr_of(suite), {"Idempotency-Key": uuid.uuid4().hex}

    set_quota(suite, key_id, 1, 720)
    try:
        def over_quota():
            answer = suite.api("POST", path, data=csr, headers={**PKCS10, **key})
            assert answer.status_code in (201, 429), answer.text
            return [answer] if answer.status_code == 429 else key.update({"Idempotency-Key": uuid.uuid4().hex})  # a list: such an answer counts as false
        [answer] = wait_for(over_quota, 20, "the new quota holds")
        assert f"key '{key_id}': its quota of 1 signatures at once and 720 an hour is used up" in problem(answer, 429, "exhausted")
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        time.sleep(int(answer.headers["Retry-After"]))
        again = suite.api("POST", path, data=csr, headers={**PKCS10, **key})
        assert again.status_code == 201, again.text
    finally:
        set_quota(suite, key_id, 0, 0)
