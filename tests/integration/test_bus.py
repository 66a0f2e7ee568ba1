# SPDX-License-Identifier: Apache-2.0
"""What each bus daemon does with messages that nobody should send (tests/tools/busprobe.c makes them): the documented error, a count, a
log line, an audit event; and it goes on as before."""
import contextlib
import json
import socket
import ssl
import struct
import subprocess

import pytest
from conftest import BUILD, wait_for

TARGETS = ("vault", "issuer", "crl", "audit")

# Case of busprobe: the code of the reply, and what its message says. docs/bus.md has the table.
REFUSED = {
    "wrong-signature": ("unauthenticated", "does not verify"),
    "unknown-sender": ("unauthenticated", "does not chain to the system CA"),
    "expired": ("expired", "from this instance's clock"),
    "future": ("expired", "from this instance's clock"),
    "late": ("expired", "deadline passed"),
    "no-deadline": ("invalid", "no deadline"),
    "replayed": ("replayed", "received before"),
    "unknown-payload": ("unsupported", "takes no payload of type 4711"),
    "wrong-service": ("denied", "is addressed to service"),
    "truncated": ("invalid", "not an envelope"),
    "garbage": ("invalid", "not an envelope"),
    "reply-as-request": ("invalid", "request_digest"),
    "short-id": ("invalid", "message_id has 15 octets"),
    "not-utf8": ("invalid", "'tenant' is not UTF-8"),
}

# What each service takes: payload type, and an instance that may send it (proto/envelope.proto).
TAKEN = {
    "vault": {100: "issuer-1", 102: "issuer-1", 108: "issuer-1", 110: "gateway-1"},
    "issuer": {number: "gateway-1" for number in (200, 202, 203, 204, 206, 208, 210, 211, 213, 215)},
    "crl": {300: "gateway-1", 302: "gateway-1"},
    "audit": {400: "gateway-1", 402: "gateway-1"},
}
# One payload type of each that this instance may not send.
FORBIDDEN = {"vault": (102, "gateway-1"), "issuer": (200, "ocsp-1"), "crl": (300, "tsa-1"), "audit": (402, "ocsp-1")}

NO_PROTOBUF = "0fffffff"  # wire type 7 does not exist
NO_TEXT = "0a02ffff12" "02ffff1a02ffff2202ffff2a02ffff3202ffff"  # fields 1 to 6 hold octets that are no UTF-8
NUMBERS = "08ffffffffffffffffff0110ffffffffffffffffff01"  # fields 1 and 2 are numbers where texts or messages belong
OTHERS = "0a100123456789abcdef0123456789abcdef5204deadbeef"  # some other message's fields


def probe(suite, service, *cases, identity="gateway-1", **options):
    """The replies, one for each case."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [BUILD / "tests" / "busprobe", "--identity", suite.dir / "identity" / identity, "--system-ca",
         suite.dir / "pki" / "system-ca.pem", "--service", service, "--address", suite.config(f"{service}-1")["bus"]["listen"],
         *words, *cases], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(replies) == len(cases)
    return replies


def refusals(suite, instance, reason):
    return suite.metrics(instance).get(f'chancery_bus_refused_total{{reason="{reason}"}}', 0)


def newest_event(suite, instance, type_):
    answer = suite.api("GET", f"/v1/audit/events?type={type_}&newest_first=true&limit=20")
    assert answer.status_code == 200, answer.text
    return next((event for event in answer.json()["events"] if event["instance"] == instance), None)


def resident(suite, instance):
    for line in open(f"/proc/{suite.pid(instance)}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    raise AssertionError(f"{instance} has no VmRSS")


def is_sanitized(suite, instance):
    return "libasan" in open(f"/proc/{suite.pid(instance)}/maps", encoding="ascii").read()


@pytest.mark.parametrize("service", TARGETS)
def test_everyone_may_ping(suite, service):
    for identity in ("gateway-1", "tsa-1", f"{service}-1"):
        [reply] = probe(suite, service, "good", identity=identity)
        assert (reply["outcome"], reply["reply_type"], reply["from"], reply["belongs"]) == ("answered", 3, f"{service}-1", True)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("service", TARGETS)
def test_a_bad_message_is_refused_counted_logged_and_audited(suite, service, case):
    code, text = REFUSED[case]
    instance = f"{service}-1"
    counted, logged = refusals(suite, instance, code), suite.raw_log(instance).count("bus: refused a message of")
    before = newest_event(suite, instance, "bus.refused")
    pid = suite.pid(instance)

    [reply] = probe(suite, service, case)

    assert (reply["outcome"], reply.get("code")) == ("error", code), reply
    assert text in reply["message"]
    assert reply["belongs"] or case in ("truncated", "garbage")  # what is no envelope has no digest
    assert refusals(suite, instance, code) == counted + 1
    assert suite.raw_log(instance).count("bus: refused a message of") > logged
    event = wait_for(lambda: (found := newest_event(suite, instance, "bus.refused")) != before and found, 10, "the audit event")
    assert event["outcome"] == "refused"
    assert event["details"]["reason"] == code
    assert text in event["details"]["message"]
    unknown = code == "unauthenticated" or case in ("truncated", "garbage")
    assert event["actor"] == ("unknown" if unknown else "gateway/gateway-1")
    assert suite.pid(instance) == pid and suite.is_ready(instance)


@pytest.mark.parametrize("service", TARGETS)
def test_a_service_that_may_not_send_it_is_refused(suite, service):
    type_, identity = FORBIDDEN[service]
    [reply] = probe(suite, service, "good", identity=identity, type=type_)
    assert (reply["outcome"], reply["code"]) == ("error", "denied")
    assert f"service '{identity[:-2]}' may not send" in reply["message"]
    event = wait_for(lambda: (found := newest_event(suite, f"{service}-1", "bus.refused")) and found["actor"].endswith(identity) and found,
                     10, "the audit event")
    assert event["details"]["payload_type"] == str(type_)


@pytest.mark.parametrize("service", TARGETS)
def test_octets_of_the_wrong_type_in_every_payload_are_an_error_never_a_crash(suite, service):
    pid = suite.pid(f"{service}-1")
    for type_, identity in TAKEN[service].items():
        for payload in (NO_PROTOBUF, NO_TEXT, NUMBERS, OTHERS):
            [reply] = probe(suite, service, "good", identity=identity, type=type_, payload=payload)
            assert reply["outcome"] in ("error", "answered"), (type_, payload, reply)
            if payload == NO_PROTOBUF:
                assert reply["code"] == "invalid" and "does not decode" in reply["message"], (type_, reply)
            if reply["outcome"] == "error":  # what asks for nothing in particular may be answered
                assert reply["code"] not in ("internal", "unavailable"), (type_, payload, reply)
    assert suite.pid(f"{service}-1") == pid


@pytest.mark.parametrize("service", TARGETS)
def test_an_empty_payload_of_every_type_is_an_error_or_an_answer(suite, service):
    for type_, identity in TAKEN[service].items():
        [reply] = probe(suite, service, "good", identity=identity, type=type_)
        assert reply["outcome"] in ("error", "answered"), (type_, reply)
        assert reply.get("code") not in ("internal", "unavailable"), (type_, reply)


@pytest.mark.parametrize("service,type_,size", [("issuer", 203, 300000), ("crl", 302, 2**20), ("audit", 402, 8192),
                                                ("vault", 110, 2**20)])
def test_a_payload_over_its_cap_is_too_large(suite, service, type_, size):
    [reply] = probe(suite, service, "oversize", type=type_, size=size)
    assert (reply["outcome"], reply["code"]) == ("error", "too-large"), reply


def test_what_is_larger_than_any_message_loses_its_connection_and_nothing_else(suite):
    pid = suite.pid("audit-1")
    [reply] = probe(suite, "audit", "oversize", type=402, size=20 * 2**20)
    assert reply["outcome"] == "none"
    assert suite.pid("audit-1") == pid
    [reply] = probe(suite, "audit", "good")
    assert reply["outcome"] == "answered"


def deaf_connection(suite, instance):
    """TLS, and nng's greeting of a REQ socket (SP over TCP); what comes back is not read."""
    host, _, port = suite.config(instance)["bus"]["listen"].rpartition(":")
    context = ssl.create_default_context(cafile=str(suite.dir / "pki/system-ca.pem"))
    context.check_hostname = False
    context.load_cert_chain(suite.dir / "identity/gateway-1/certificate.pem", suite.dir / "identity/gateway-1/key.pem")
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    plain.settimeout(2)
    plain.connect((host, int(port)))
    connection = context.wrap_socket(plain)
    connection.sendall(b"\0SP\0\0\x30\0\0")
    assert connection.recv(8) == b"\0SP\0\0\x31\0\0"
    return connection


@pytest.mark.parametrize("service", TARGETS)
def test_who_takes_no_reply_loses_the_connection_and_keeps_no_worker(suite, service):
    garbage = b"x" * 60
    with contextlib.closing(deaf_connection(suite, f"{service}-1")) as connection:
        with contextlib.suppress(OSError):  # in the end nothing is taken any more, since the replies wait, or it is closed
            for number in range(200_000):
                connection.sendall(struct.pack(">QI", 4 + len(garbage), 0x80000000 | number) + garbage)
        [reply] = probe(suite, service, "good", timeout=15000)
        assert reply["outcome"] == "answered"
        wait_for(lambda: "127.0.0.1 took no reply for 5 s" in suite.raw_log(f"{service}-1"), 15, "the connection to be closed")
    assert suite.metrics(f"{service}-1")["chancery_bus_replies_not_taken_total"] >= 1


@pytest.mark.parametrize("service", TARGETS)
def test_memory_stays_flat_under_bad_messages(suite, service):
    instance = f"{service}-1"
    if is_sanitized(suite, instance):
        pytest.skip("a sanitizer keeps freed memory")
    taken = next(iter(TAKEN[service]))
    def burst(count):
        probe(suite, service, *("garbage", "wrong-signature", "unknown-sender", "truncated", "expired", "unknown-payload"), count=count)
        probe(suite, service, "good", identity=TAKEN[service][taken], type=taken, payload=NO_PROTOBUF, count=count)
        probe(suite, service, "oversize", type=104, size=65536, count=count // 3)
    burst(150)
    before = resident(suite, instance)
    burst(600)
    assert resident(suite, instance) - before <= 6, "MiB"


def peak(suite, instance, act):
    """MiB that the process's resident memory rose by while act() ran."""
    pid = suite.pid(instance)
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak begins anew
    before = resident(suite, instance)
    act()
    for line in open(f"/proc/{pid}/status", encoding="ascii"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024 - before
    raise AssertionError(f"{instance} has no VmHWM")


@pytest.mark.parametrize("service,type_,identity,size", [("vault", 100, "issuer-1", 16 * 2**20), ("vault", 125, "issuer-1", 16 * 2**20),
                                                         ("audit", 400, "gateway-1", 2**20)])
def test_a_message_of_empty_items_takes_no_more_memory_than_a_few_times_its_size(suite, service, type_, identity, size):
    """Unpacked without a bound, 16 MiB of them are over a gigabyte."""
    instance = f"{service}-1"
    pid = suite.pid(instance)
    rose = peak(suite, instance, lambda: probe(suite, service, "many-items", identity=identity, type=type_, size=size, count=3))
    [reply] = probe(suite, service, "many-items", identity=identity, type=type_, size=600)
    print(f"{service} {type_}: {size // 2**20} MiB of empty items, {rose} MiB more")
    assert (reply["outcome"], reply["code"]) == ("error", "too-large"), reply
    assert rose <= 10 * size // 2**20 + 40, "MiB"
    assert suite.pid(instance) == pid and suite.is_ready(instance)


def test_a_flood_of_refusals_is_summed_up_in_the_log(suite):
    newest = int(suite.psql("SELECT max(log_sequence) FROM audit_log")[0][0])
    probe(suite, "crl", "unknown-payload", count=500)
    summary = wait_for(lambda: suite.psql("SELECT count(*) FROM audit_log WHERE log_sequence > %s AND type = 'bus.refused'"
                                          " AND instance = 'crl-1' AND subject = 'summary'", (newest,))[0][0], 10, "the summary")
    assert summary >= 1
    told = suite.psql("SELECT count(*) FROM audit_log WHERE log_sequence > %s AND type = 'bus.refused' AND instance = 'crl-1'",
                      (newest,))[0][0]
    assert told < 200


def test_the_suite_still_issues(suite):
    assert suite.issue()["status"] == "issued"
