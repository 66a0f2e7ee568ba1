# SPDX-License-Identifier: Apache-2.0
"""What the scripts of tests/fault share: a suite of two replicas (ctest's shared one, else one of their own), clients that go on asking
it and remember what they saw, and the audit log as the collector has it."""
import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import requests

TOP = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("CHANCERY_BUILD_DIR", str(TOP / "build" / "asan"))
sys.path.insert(0, str(TOP / "tests" / "integration"))
sys.dont_write_bytecode = True

import conftest  # noqa: E402 pylint: disable=wrong-import-position

wait_for = conftest.wait_for
LATE = 5.0  # seconds: a request that takes longer is one that a client saw as a fault


def options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=30, help="how long each fault lasts under load (30)")
    return parser.parse_args()


@contextlib.contextmanager
def suite():
    shared = conftest.shared("two_replicas")
    if shared:
        yield shared
        return
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="chancery-fault-", dir="/tmp"))
    scratch.chmod(0o755)
    own = conftest.Suite(scratch / "suite", "--replicas", "2")
    try:
        own.start()
        yield own
    finally:
        own.stop()
        if not conftest.keep(own):
            conftest.remove(own)


class Report:
    """Figures, and the bars that were missed."""

    def __init__(self):
        self.missed = []

    def say(self, text):
        print(text, flush=True)

    def must(self, what, met):
        print(f"  {'ok    ' if met else 'MISSED'} {what}", flush=True)
        if not met:
            self.missed.append(what)

    def end(self):
        sys.exit(1 if self.missed else 0)


class Client(threading.Thread):
    """Asks again and again on connections that it keeps, as an application does."""

    def __init__(self, name, ask, pause=0.02):
        super().__init__(daemon=True)
        self.name, self.ask, self.pause = name, ask, pause
        self.good, self.bad, self.slowest, self.ending = [], [], 0.0, threading.Event()

    def run(self):
        session = requests.Session()
        while not self.ending.is_set():
            began = time.monotonic()
            try:
                what = self.ask(session)
                self.good.append(what)
            except (requests.RequestException, AssertionError) as seen:
                self.bad.append(f"{time.strftime('%H:%M:%S')} {str(seen)[:200]}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.ending.wait(self.pause)

    def finish(self):
        self.ending.set()
        self.join(60)


class Load:
    """Clients of REST, OCSP (with a nonce: each answer is signed) and timestamps."""

    def __init__(self, suite, kinds=("issue", "ocsp", "tsa"), each=2):
        self.suite = suite
        _, self.csr = suite.new_key_and_csr("fault.example", ["DNS:fault.example"])
        self.ocsp_request, self.tsa_request = self._ocsp_request(), self._tsa_request()
        asks = {"issue": self._issue, "ocsp": self._ocsp, "tsa": self._tsa}
        self.clients = {kind: [Client(kind, asks[kind]) for _ in range(each)] for kind in kinds}

    def __enter__(self):
        for client in self.all():
            client.start()
        return self

    def __exit__(self, *_):
        for client in self.all():
            client.ending.set()
        for client in self.all():
            client.finish()

    def all(self):
        return [client for clients in self.clients.values() for client in clients]

    def _ocsp_request(self):
        with tempfile.TemporaryDirectory() as scratch:
            issuer = pathlib.Path(scratch, "issuer.pem")
            issuer.write_text(pathlib.Path(self.suite.chain).read_text().split("-----END CERTIFICATE-----")[0] +
                              "-----END CERTIFICATE-----\n")
            serial = self.suite.issue(csr=self.csr)["serial"]
            subprocess.run(["openssl", "ocsp", "-issuer", issuer, "-serial", f"0x{serial}", "-nonce", "-reqout", f"{scratch}/r"],
                           check=True, capture_output=True)
            return pathlib.Path(scratch, "r").read_bytes()

    @staticmethod
    def _tsa_request():
        return subprocess.run(["openssl", "ts", "-query", "-digest", "00" * 32, "-sha256", "-cert"], check=True,
                              capture_output=True).stdout

    def _issue(self, session):
        answer = session.post(self.suite.url + "/v1/certificates", cert=self.suite.client("officer"), verify=self.suite.ca_file,
                              timeout=30, json={"profile": "tls-server", "ca": self.suite.issuing_ca, "csr": self.csr},
                              headers={"Accept": "application/json"})
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
        return answer.json()["serial"]

    def _ocsp(self, session):
        answer = session.post(self.suite.http + "/ocsp", data=self.ocsp_request, timeout=30,
                              headers={"Content-Type": "application/ocsp-request"})
        assert answer.status_code == 200 and b"\x0a\x01\x00" in answer.content[:12], f"{answer.status_code} {answer.content[:40]!r}"
        return ""

    def _tsa(self, session):
        answer = session.post(self.suite.http + "/tsa", data=self.tsa_request, timeout=30,
                              headers={"Content-Type": "application/timestamp-query"})
        assert answer.status_code == 200 and b"\x02\x01\x00" in answer.content[:12], f"{answer.status_code} {answer.content[:60]!r}"
        return ""

    def serials(self):
        return [serial for client in self.clients.get("issue", []) for serial in client.good]

    def judge(self, report, what):
        """Prints what the clients saw; none failed, none was late."""
        report.say(f"{what}: what clients saw")
        for kind, clients in self.clients.items():
            good, bad = sum(len(client.good) for client in clients), [line for client in clients for line in client.bad]
            slowest = max(client.slowest for client in clients)
            report.say(f"  {kind:6} {good} answered, {len(bad)} failed, slowest {slowest:.2f} s")
            for line in bad[:3]:
                report.say(f"         {line}")
            report.must(f"{kind}: no request failed, none took {LATE:.0f} s", good > 0 and not bad and slowest < LATE)


# --- the audit log ------------------------------------------------------------------------------------------------------------------


def _fields(octets):
    """[(number, value)] of a protobuf message."""
    at, found = 0, []

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            octet = octets[at]
            at += 1
            value |= (octet & 0x7F) << shift
            shift += 7
            if not octet & 0x80:
                return value
    while at < len(octets):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            size = varint()
            found.append((key >> 3, octets[at:at + size]))
            at += size
    return found


def events(suite, instance, kind=None):
    """[(number, type, subject, {detail: value})] of a sender in the log, in the order in which they came."""
    numbers = _event_numbers()
    rows = suite.psql("SELECT signed_event FROM audit_log WHERE instance = %s ORDER BY log_sequence", (instance,))
    found = []
    for (signed,) in rows:
        event = _fields(bytes(dict(_fields(bytes(signed)))[1]))
        one = dict(event)
        details = [dict(_fields(bytes(value))) for number, value in event if number == numbers["details"]]
        row = (one.get(numbers["sequence"], 0), bytes(one[numbers["type"]]).decode(), bytes(one.get(numbers["subject"], b"")).decode(),
               {bytes(detail[1]).decode(): bytes(detail.get(2, b"")).decode() for detail in details})
        if kind is None or row[1] == kind:
            found.append(row)
    return found


def _event_numbers():
    """Field numbers of `message Event`, from the contract itself."""
    text = (TOP / "proto" / "audit.proto").read_text().split("message Event {")[1].split("}")[0]
    words = [line.split("//")[0].replace(";", "").split() for line in text.splitlines() if "=" in line]
    return {line[line.index("=") - 1]: int(line[line.index("=") + 1]) for line in words}


def wait_delivered(suite, instances, seconds=60):
    """Until the collector has all that these have recorded."""
    def empty():
        return all(suite.metrics(instance).get("chancery_audit_spool_bytes", 1) == 0 for instance in instances)
    wait_for(empty, seconds, f"the spools of {', '.join(instances)} to be delivered")
