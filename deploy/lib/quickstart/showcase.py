# SPDX-License-Identifier: Apache-2.0
"""The main job, done with the `chancery` command and with public tools, each step checked and shown."""

import json
import pathlib
import re
import secrets
import time
import urllib.error
import urllib.request

from quickstart import configs, postgres, supervise
from quickstart.console import StepFailed, run, write_file
from quickstart.suite import CHECKOUT

ROOT, ISSUING = "example-root", "example-issuing"
WAITS_FOR_OFFICERS = 5  # exit code: unavailable
PLACEHOLDER = "http://pki.example"  # of the documents' URLs: here it becomes this suite's HTTP address


class Showcase:
    def __init__(self, suite, log, console):
        self.suite = suite
        self.log = log
        self.console = console
        self.work = suite.path("example")
        self.work.mkdir(exist_ok=True)
        values = configs.client_environment(suite, ISSUING, self.chain)
        self.environment = {"PATH": "/usr/bin:/bin"} | {name: str(value) for name, value in values.items()}
        self.serial = None

    @property
    def chain(self):
        return self.work / "chain.pem"

    def chancery(self, *words, as_json=True):
        done = run([self.suite.path("bin/chancery"), *words, *(["--json"] if as_json else [])], self.log,
                   env=self.environment)
        return json.loads(done.stdout) if as_json else done.stdout

    def openssl(self, *words, check=True):
        done = run(["openssl", *words], self.log, check=check)
        return done.stdout + done.stderr

    def http(self, path, body=None, content_type=None):
        request = urllib.request.Request(self.suite.http_url + path, data=body,
                                         headers={"Content-Type": content_type} if content_type else {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read()
        except urllib.error.HTTPError as refused:
            raise StepFailed(f"{path} answered {refused.code}",
                             [refused.read(300).decode("utf-8", "replace")]) from None
        except OSError as unreachable:
            raise StepFailed(f"{path}: {getattr(unreachable, 'reason', unreachable)}") from None

    # --- the steps -----------------------------------------------------------------------------------------------------

    def profiles(self, told):
        files = sorted(self.suite.path("share/profiles").glob("*.yaml"))
        self.chancery("profile", "apply", *files)
        told.append(", ".join(file.stem for file in files))

    def ca(self, name, told):
        document = (CHECKOUT / f"deploy/documents/{name}.yaml").read_text(encoding="utf-8")
        path = self.suite.path("documents", f"{name}.yaml")
        if not path.exists():  # a CA keeps the URLs that it was made with
            path.parent.mkdir(exist_ok=True)
            write_file(path, document.replace(PLACEHOLDER, self.suite.http_url))
        ca = self._create(path)
        write_file(self.work / f"{name}.pem", ca["certificate"])
        hsms = postgres.psql(self.suite, f"SELECT array_to_string(residency, ' and ') FROM keys WHERE key_id = '{ca['key_id']}'",
                             "chancery")
        told.append(ca["subject"])
        told.append(f"{ca['key_algorithm']} key on HSMs {hsms[0][0] if hsms else '?'}")

    def _create(self, path):
        """As many officers as are required approve, first the key and then the certificate."""
        for name in self.suite.officer_names[:self.suite.required] * 2:
            keys = {"CHANCERY_CERT": str(self.suite.path("client", f"{name}.pem")),
                    "CHANCERY_KEY": str(self.suite.path("client", f"{name}.key"))}
            done = run([self.suite.path("bin/chancery"), "ca", "create", "--yes", path, "--json"], self.log, env=self.environment | keys,
                       check=False)
            if done.returncode == 0:
                return json.loads(done.stdout)
            if done.returncode != WAITS_FOR_OFFICERS:
                break
        raise StepFailed(f"chancery ca create {path}", done.stderr.splitlines()[-5:])

    def write_chain(self):
        write_file(self.chain, "".join((self.work / f"{name}.pem").read_text(encoding="utf-8") for name in (ISSUING, ROOT)))

    def certificate(self, told):
        number = secrets.token_hex(4)
        key, csr = self.work / "server.key", self.work / "server.csr"
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", key, "-out", csr, "-subj", f"/CN=www-{number}.example",
                     "-addext", f"subjectAltName=DNS:www-{number}.example")
        issued = self.chancery("certificate", "issue", "--profile", "tls-server", "--ca", ISSUING, "--csr", csr)
        self.serial = issued["serial"]
        write_file(self.work / "server.pem", issued["certificate"])
        self.openssl("verify", "-CAfile", self.work / f"{ROOT}.pem", "-untrusted", self.work / f"{ISSUING}.pem",
                     self.work / "server.pem")
        told.append(f"serial {self.serial}")
        told.append("openssl verify accepts the chain")

    def _ocsp(self):
        return self.openssl("ocsp", "-issuer", self.work / f"{ISSUING}.pem", "-cert", self.work / "server.pem",
                            "-url", f"{self.suite.http_url}/ocsp", "-CAfile", self.chain, check=False)

    def ocsp_good(self, told):
        start = time.monotonic()
        # The issuer makes the responder's certificate right after the CA's, and responders read new CAs once a second.
        while re.search("trylater|unauthorized", answer := self._ocsp()) and time.monotonic() - start < 20:
            time.sleep(0.1)
        if "Response verify OK" not in answer or ": good" not in answer:
            raise StepFailed("openssl ocsp does not say good", answer.splitlines())
        told.append("openssl ocsp says good")

    def timestamp(self, told):
        data, query, reply = self.work / "data.txt", self.work / "request.tsq", self.work / "reply.tsr"
        write_file(data, f"stamped by deploy/quickstart at {time.time()}\n")
        self.openssl("ts", "-query", "-data", data, "-sha256", "-cert", "-out", query)
        self._fetch_timestamp(query, reply)
        self.openssl("ts", "-verify", "-in", reply, "-queryfile", query, "-CAfile", self.chain)
        text = self.openssl("ts", "-reply", "-in", reply, "-text")
        stamp = re.search(r"Time stamp: (.*)", text)
        told.append(f"{stamp.group(1) if stamp else '?'}, openssl ts accepts it")

    def _fetch_timestamp(self, query, reply, seconds=20):
        """The issuer makes the authority's certificate right after the CA's."""
        end = time.monotonic() + seconds
        while True:
            write_file(reply, self.http("/tsa", query.read_bytes(), "application/timestamp-query"))
            text = self.openssl("ts", "-reply", "-in", reply, "-text")
            if "Status: Granted" in text or time.monotonic() > end:
                return
            time.sleep(0.1)

    def _fetch_crl(self, name):
        path = self.work / f"{name}.crl"
        write_file(path, self.http(f"/crl/{name}.crl"))
        self.openssl("crl", "-inform", "DER", "-in", path, "-noout", "-CAfile", self.chain)
        text = self.openssl("crl", "-inform", "DER", "-in", path, "-noout", "-text")
        number = re.search(r"CRL Number:\s*(?:critical\s*)?\n\s*(\S+)", text)
        return int(number.group(1), 0) if number else -1, text

    def _wait_crl(self, name, seconds=20):
        """A new CA's first CRL comes by schedule."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self._fetch_crl(name)
            except StepFailed:
                if time.monotonic() > end:
                    raise
                self.console.progress("waiting for the first one")
                time.sleep(0.1)

    def crl(self, told):
        for name in (ROOT, ISSUING):
            number, text = self._wait_crl(name)
            told.append(f"{name} number {number}")
        told.append(f"{text.count('Serial Number:')} revoked")

    def revoke(self, told):
        self.chancery("certificate", "revoke", self.serial, "--reason", "superseded")  # the key is certified again below
        start = time.monotonic()
        while "revoked" not in (answer := self._ocsp()):
            if time.monotonic() - start > 10:
                raise StepFailed("openssl ocsp does not say revoked 10 s after the revocation", answer.splitlines())
            time.sleep(0.02)
        told.append(f"OCSP said so after {(time.monotonic() - start) * 1000:.0f} ms")

    def crl_with_revoked(self, told):
        self.chancery("crl", "generate", ISSUING)
        number, text = self._fetch_crl(ISSUING)
        if self.serial.upper() not in text.upper():
            raise StepFailed(f"CRL number {number} has no entry for {self.serial}")
        crls = self.work / "crls.pem"
        write_file(crls, "".join(self.openssl("crl", "-inform", "DER", "-in", self.work / f"{name}.crl")
                                 for name in (ROOT, ISSUING)))
        answer = self.openssl("verify", "-crl_check_all", "-CAfile", self.chain, "-CRLfile", crls,
                              self.work / "server.pem", check=False)
        if "certificate revoked" not in answer:
            raise StepFailed("openssl verify -crl_check_all does not reject the certificate", answer.splitlines())
        told.append(f"number {number} holds it")
        told.append("openssl verify -crl_check_all rejects it")

    def audit(self, told):
        states = [pathlib.Path(directory) for directory in self.environment["CHANCERY_AUDIT_STATE"].split()]
        supervise.wait_until(lambda: any((state / "checkpoint").exists() for state in states), 20,
                             "the first checkpoint of the audit log", self.console)
        found = self.chancery("audit", "verify")
        told.append(f"{found['events']} events, {found['checkpoints']} checkpoints, unbroken")

    def run_all(self):
        for title, step in (
                ("certificate profiles", self.profiles),
                ("root CA, approved by the officer", lambda told: self.ca(ROOT, told)),
                ("issuing CA, approved by the officer", lambda told: self.ca(ISSUING, told)),
                ("certificate from a CSR of openssl req", self.certificate),
                ("OCSP status", self.ocsp_good),
                ("timestamp", self.timestamp),
                ("CRLs", self.crl),
                ("revocation, seen in OCSP", self.revoke),
                ("revocation, seen in the CRL", self.crl_with_revoked),
                ("audit log verified", self.audit)):
            with self.console.step(title) as told:
                step(told)
                if title.startswith("issuing CA"):
                    self.write_chain()
