# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests: real suites, brought up by deploy/quickstart in scratch directories with free ports, shared
by all tests of a session and stopped at its end. `suite` has one instance of each daemon, `two_replicas` has two; each is started
when the first test asks for it. Programs come from CHANCERY_BUILD_DIR (default build/).
"""
import collections
import datetime
import ipaddress
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import psycopg2
import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CHANCERY_BUILD_DIR") or TOP / "build").absolute()
QUICKSTART = TOP / "deploy" / "quickstart"

Output = collections.namedtuple("Output", "code out err")
SAN_MAKERS = {
    "DNS": x509.DNSName,
    "IP": lambda value: x509.IPAddress(ipaddress.ip_address(value)),
    "URI": x509.UniformResourceIdentifier,
    "EMAIL": x509.RFC822Name,
}
KEY_MAKERS = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-1024": lambda: rsa.generate_private_key(65537, 1024),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def wait_for(condition, seconds, what):
    """Gives what condition() gives as soon as that is true; fails naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def new_key_and_csr(cn, sans=(), key="ec"):
    """(private key, CSR as PEM text). sans: "DNS:www.example", "IP:192.0.2.1", "URI:…", "EMAIL:…". key: a name of KEY_MAKERS or a
    private key."""
    private = KEY_MAKERS[key]() if isinstance(key, str) else key
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)] if cn else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if sans:
        names = [SAN_MAKERS[kind.upper()](value) for kind, _, value in (san.partition(":") for san in sans)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    csr = builder.sign(private, None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return private, csr.public_bytes(serialization.Encoding.PEM).decode()


class Suite:
    """A suite in a state directory. What tests may ask of it."""

    def __init__(self, directory, *options):
        self.dir = pathlib.Path(directory)
        self.options = options
        self.http_port, self.https_port = free_port(), free_port()

    # --- life -------------------------------------------------------------------------------------------------------------

    def quickstart(self, *options, check=True, timeout=600):
        done = subprocess.run([QUICKSTART, "--dir", self.dir, "--no-install", *options], capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, "CHANCERY_BUILD_DIR": str(BUILD)}, check=False)
        output = Output(done.returncode, done.stdout, done.stderr)
        assert not check or output.code == 0, f"quickstart {' '.join(map(str, options))}:\n{output.out}{output.err}"
        return output

    def start(self):
        output = self.quickstart("--http-port", str(self.http_port), "--https-port", str(self.https_port), *self.options)
        self.attach()
        return output

    def attach(self):
        """Learns where a running suite listens."""
        ports = self.read_ports()
        self.http_port, self.https_port = ports["http"], ports["https"]
        self.env = self.read_env()
        self.url, self.http = self.env["CHANCERY_URL"], self.env["CHANCERY_HTTP"]
        self.ca_file, self.chain = self.env["CHANCERY_CA_FILE"], self.env["CHANCERY_CHAIN"]
        self.issuing_ca = self.env["CHANCERY_ISSUING_CA"]
        self.root_ca = self.issuing_ca.replace("issuing", "root")

    def stop(self):
        return self.quickstart("--stop")

    def read_env(self):
        out = subprocess.run(["bash", "-c", '. "$0"; env -0', str(self.dir / "env")], capture_output=True, check=True).stdout
        pairs = (entry.partition("=") for entry in out.decode().split("\0"))
        return {name: value for name, _, value in pairs if name.startswith("CHANCERY_") and name != "CHANCERY_BUILD_DIR"}

    def read_ports(self):
        """{"http": 8080, "ocsp-1.bus": …}"""
        return {name: int(port) for name, port in (line.split() for line in (self.dir / "ports").read_text().splitlines())}

    # --- asking it --------------------------------------------------------------------------------------------------------

    def client(self, name):
        return (str(self.dir / "client" / f"{name}.pem"), str(self.dir / "client" / f"{name}.key"))

    def api(self, method, path, role="officer", **options):
        """A request to the REST interface, with the client certificate of `role` (None: without one)."""
        options.setdefault("timeout", 30)
        return requests.request(method, self.url + path, cert=self.client(role) if role else None, verify=self.ca_file, **options)

    new_key_and_csr = staticmethod(new_key_and_csr)

    def issue(self, csr=None, profile="tls-server", role="officer", **fields):
        """The JSON answer of POST /v1/certificates; without a CSR for a fresh key and name."""
        if csr is None:
            name = f"t{time.monotonic_ns()}.example"
            _, csr = new_key_and_csr(name, [f"DNS:{name}"])
        body = {"profile": profile, "ca": self.issuing_ca, "csr": csr} | fields
        answer = self.api("POST", "/v1/certificates", role=role, json=body, headers={"Accept": "application/json"})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def revoke(self, serial, reason="keyCompromise"):
        answer = self.api("POST", f"/v1/certificates/{serial}/revoke", json={"reason": reason})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cli(self, *words, input=None, env=None):
        """The `chancery` command as the officer: (code, out, err)."""
        done = subprocess.run([self.dir / "bin" / "chancery", *map(str, words)], capture_output=True, text=True, timeout=60,
                              input=input, env={**os.environ, **self.env, **(env or {})}, check=False)
        return Output(done.returncode, done.stdout, done.stderr)

    def psql(self, sql, parameters=None):
        """The rows of a statement, as the database's superuser; changes are committed."""
        with psycopg2.connect(host=str(self.dir / "run"), dbname="chancery", user="postgres") as connection:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else []

    # --- its processes ----------------------------------------------------------------------------------------------------

    def config(self, instance):
        return yaml.safe_load((self.dir / "etc" / f"{instance}.yaml").read_text())

    def pid(self, instance):
        """Of the running process ("ocsp-1", "postgres", "haproxy"), else None."""
        try:
            return int((self.dir / "service" / instance / "supervise" / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def kill(self, instance, number):
        os.kill(wait_for(lambda: self.pid(instance), 10, f"{instance} to run"), number)

    def sv(self, command, instance):
        """runit's sv: "down", "up", "restart", "hup", …"""
        subprocess.run(["sv", "-w", "30", command, str(self.dir / "service" / instance)], check=True, capture_output=True)

    def operations(self, instance, path):
        return requests.get(f"http://{self.config(instance)['operations']['listen']}{path}", timeout=5)

    def is_ready(self, instance):
        try:
            return self.operations(instance, "/readyz").status_code == 200
        except requests.RequestException:
            return False

    def wait_ready(self, instance, seconds=60):
        wait_for(lambda: self.is_ready(instance), seconds, f"{instance} to be ready; it logged {self.log(instance)[-3:]}")

    def why_not_ready(self, instance):
        """What the failed conditions of /readyz say; "" where it is ready, or does not answer."""
        try:
            answer = self.operations(instance, "/readyz")
        except requests.RequestException:
            return ""
        return "" if answer.status_code == 200 else " ".join(condition["why"] for condition in answer.json()["conditions"]
                                                             if condition["state"] == "failed")

    def metrics(self, instance):
        """{'name{label="value"}': number}"""
        found = {}
        for line in self.operations(instance, "/metrics").text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def raw_log(self, instance):
        file = self.dir / "log" / instance / "current"
        return file.read_text(errors="replace") if file.exists() else ""

    def log(self, instance):
        """The lines of its log that are JSON."""
        lines = []
        for line in self.raw_log(instance).splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    def instances(self):
        return sorted(file.stem for file in (self.dir / "etc").glob("*.yaml"))

    def sanitizer_reports(self):
        """What AddressSanitizer or UndefinedBehaviorSanitizer said in any log of a daemon."""
        pattern = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer")
        found = []
        for file in sorted(self.dir.glob("log/*/*")):
            lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
            for number, line in enumerate(lines):
                if pattern.search(line):
                    found.append(f"{file.parent.name}: " + "\n".join(lines[number:number + 25]))
        return found


def remove(suite):
    real = pathlib.Path(os.path.realpath(suite.dir))
    shutil.rmtree(real, ignore_errors=True)
    shutil.rmtree(suite.dir.parent, ignore_errors=True)


def keep(suite):
    """CHANCERY_KEEP=1 leaves a suite's files for looking into."""
    return bool(os.environ.get("CHANCERY_KEEP")) and print(f"kept: {suite.dir}", file=sys.stderr) is None


@pytest.fixture(scope="session")
def new_suite():
    """new_suite(*options): a Suite that is not started yet; stopped and removed at the end of the session."""
    made = []

    def make(*options):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="chancery-test-", dir="/tmp"))
        scratch.chmod(0o755)
        made.append(Suite(scratch / "suite", *options))
        return made[-1]

    yield make
    reports = []
    for suite in made:
        if (suite.dir / "settings").exists():
            suite.stop()
            reports += suite.sanitizer_reports()
        if not keep(suite):
            remove(suite)
    assert not reports, "\n".join(reports)


def shared(name):
    """The suite of that name that ctest's set-up started (shared_suites.py), or None outside ctest."""
    file = pathlib.Path(os.environ.get("CHANCERY_SHARED_SUITES") or "/nonexistent")
    if not file.exists():
        return None
    suite = Suite(json.loads(file.read_text())[name])
    suite.attach()
    return suite


@pytest.fixture(scope="session")
def suite(request):
    return shared("suite") or start_new(request)


@pytest.fixture(scope="session")
def two_replicas(request):
    return shared("two_replicas") or start_new(request, "--replicas", "2")


def start_new(request, *options):
    made = request.getfixturevalue("new_suite")(*options)
    made.start()
    return made


def utc(text):
    """A datetime of an RFC 3339 text."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
