# SPDX-License-Identifier: Apache-2.0
"""A suite of its own for the benchmarks: built without sanitizers, brought up by deploy/quickstart, stopped at the end."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import urllib.request

import yaml
from measure import process_tree
from nginx import free_port

SERVICES = ("vault", "issuer", "gateway", "ocsp", "tsa", "crl", "audit")


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout.decode()}{done.stderr.decode()}")
    return done.stdout


class BenchSuite:
    def __init__(self, top, daemons=True):
        self.top = top
        self.daemons = daemons
        self.build = pathlib.Path(os.environ.get("CHANCERY_BENCH_BUILD", top / "build"))

    def __enter__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="chancery-bench-", dir="/tmp"))
        self.scratch.chmod(0o755)
        self.directory = self.scratch / "suite"
        run("cmake", "-G", "Ninja", "-B", self.build, "-DCHANCERY_TESTS=ON", self.top)
        run("ninja", "-C", self.build)
        if not self.daemons:
            return self
        self.quickstart("--http-port", free_port(), "--https-port", free_port())
        self.env = self.read_env()
        self.make_bench_token()
        return self

    def __exit__(self, *_):
        try:
            if self.daemons:
                self.quickstart("--stop")
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def quickstart(self, *arguments):
        run(self.top / "deploy" / "quickstart", "--dir", self.directory, "--no-install", *arguments,
            env={**os.environ, "CHANCERY_BUILD_DIR": str(self.build)})

    def read_env(self):
        out = run("bash", "-c", f"set -a; . {self.directory}/env; env -0")
        pairs = (entry.partition("=") for entry in out.decode().split("\0") if entry.startswith("CHANCERY_"))
        return {name: value for name, _, value in pairs}

    # what stands where

    def bench_program(self, name):
        return str(self.build / "bench" / name)

    def config(self, instance):
        return yaml.safe_load((self.directory / "etc" / f"{instance}.yaml").read_text())

    def daemon_http(self, instance):
        return "http://" + self.config(instance)["http"]["listen"]

    def pid(self, instance):
        return int((self.directory / "service" / instance / "supervise" / "pid").read_text())

    def daemon_pids(self):
        return [pid for service in SERVICES for pid in process_tree(self.pid(f"{service}-1"))]

    def pkcs11_module(self):
        return self.config("vault-1")["hsms"][0]["module"]

    # a token of the same kind, so that the reference disturbs no key of the suite

    def make_bench_token(self):
        directory = self.scratch / "token"
        (directory / "tokens").mkdir(parents=True)
        (directory / "pin").write_text("7319482\n")
        (directory / "softhsm2.conf").write_text(f"directories.tokendir = {directory}/tokens\n")
        run("softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", "7319482", "--so-pin", "7319482",
            env={**os.environ, "SOFTHSM2_CONF": self.bench_softhsm_conf()})

    def bench_token(self):
        return "bench"

    def bench_pin(self):
        return str(self.scratch / "token" / "pin")

    def bench_softhsm_conf(self):
        return str(self.scratch / "token" / "softhsm2.conf")

    # requests, made with openssl

    def csr_pem(self):
        out = run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                  self.scratch / "bench.key", "-subj", "/CN=bench.example", "-addext", "subjectAltName=DNS:bench.example")
        return out.decode()

    def issue(self):
        (self.scratch / "csr.pem").write_text(self.csr_pem())
        out = run("curl", "-sS", "--fail-with-body", "--cacert", self.env["CHANCERY_CA_FILE"], "--cert",
                  self.env["CHANCERY_CERT"], "--key", self.env["CHANCERY_KEY"], "-H", "Content-Type: application/pkcs10", "-H",
                  "Accept: application/pem-certificate-chain", "--data-binary", f"@{self.scratch}/csr.pem",
                  self.env["CHANCERY_URL"] + "/v1/certificates?profile=tls-server&ca=" + self.env["CHANCERY_ISSUING_CA"])
        (self.scratch / "leaf.pem").write_bytes(out)
        return self.scratch / "leaf.pem"

    def ocsp_request_der(self):
        run("openssl", "ocsp", "-no_nonce", "-issuer", self.env["CHANCERY_CHAIN"], "-cert", self.issue(), "-reqout",
            self.scratch / "ocsp.der")
        return (self.scratch / "ocsp.der").read_bytes()

    def timestamp_query(self):
        (self.scratch / "data").write_text("bench\n")
        run("openssl", "ts", "-query", "-data", self.scratch / "data", "-sha256", "-cert", "-no_nonce", "-out",
            self.scratch / "query.tsq")
        return (self.scratch / "query.tsq").read_bytes()

    def fetch(self, url):
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()
