# SPDX-License-Identifier: Apache-2.0
"""docs/operations/incidents.md is run, command by command, on a suite with two of each daemon whose quorum is two of three officers; and
what it says that relying parties see is what OpenSSL sees. The section of a CA's key comes last: the others need that CA."""
import os
import re
import shutil
import subprocess

import pytest
import requests
from conftest import TOP, wait_for
from test_signers import signer_of

PAGE = (TOP / "docs/operations/incidents.md").read_text()
OFFICERS = {"alice": "officer", "bob": "officer-2"}
# Until what holds within 10 s on cores of one's own does so here.
HONOURED = float(os.environ.get("CHANCERY_REFUSAL_SECONDS", 40))


@pytest.fixture(scope="module")
def suite(new_suite):
    made = new_suite("--replicas", "2", "--officers", "3", "--required", "2")
    made.start()
    return made


@pytest.fixture
def place(suite, tmp_path):
    """Where the page's commands are typed: the suite's directory is `var`."""
    os.symlink(suite.dir, tmp_path / "var")
    return tmp_path


def commands(title):
    """(who, command, exit code) of each command of a section."""
    section = PAGE[PAGE.index(f"\n## {title}\n"):].split("\n## ", 2)[1]
    lines = [line for block in re.findall(r"^```console\n(.*?)^```", section, re.S | re.M) for line in block.splitlines()]
    found = [re.fullmatch(r"(alice|bob|root)\$ (.*?)(?: # exit (\d))?", line) for line in lines]
    assert found and all(found), f"a line of '{title}' is no command"
    return [(match[1], match[2], int(match[3] or 0)) for match in found]


def test_every_section_of_the_page_is_run_here():
    titles = set(re.findall(r"^## (.*)$", PAGE, re.M))
    assert titles == {"An OCSP responder's key", "A TSA's key", "A CA's key", "An officer's key", "A daemon's identity", "An HSM"}


class Typed:
    """Types a section's commands as their persons; words in capitals stand for what is given by name."""

    def __init__(self, suite, place, title, **words):
        self.suite, self.place, self.words = suite, place, words
        self.rest = commands(title)
        self.outputs = []

    def environment(self, who):
        certificate, key = self.suite.client(OFFICERS.get(who, "officer"))
        return {**os.environ, **self.suite.env, "PATH": f"{self.suite.dir}/bin:{os.environ['PATH']}", "CHANCERY_CERT": certificate, "CHANCERY_KEY": key}

    def action(self):
        """The newest that waits: what the command before named."""
        return self.suite.api("GET", "/v1/actions?state=open").json()["actions"][0]["id"]

    def one(self):
        who, command, code = self.rest.pop(0)
        if re.search(r"\bACTION\b", command):
            command = command.replace("ACTION", f"--yes {self.action()}")  # there is no terminal to ask on
        for word, value in self.words.items():
            command = re.sub(rf"\b{word}\b", value, command)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=self.place, env=self.environment(who), capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode == code, f"{who}$ {command}: {done.returncode}\n{done.stdout}{done.stderr}"
        self.outputs.append(done.stdout)
        return done.stdout

    def through(self, words):
        """Up to the command that holds these words, and what that printed."""
        while True:
            found = words in self.rest[0][1]
            out = self.one()
            if found:
                return out

    def all(self):
        while self.rest:
            self.one()


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def active_key(suite, label):
    ((key,),) = suite.psql("SELECT key_id FROM keys WHERE label = %s AND state = 'active'", (label,))
    return key


def replaced(suite, label, old):
    return wait_for(lambda: [key for key, in suite.psql("SELECT key_id FROM keys WHERE label = %s AND state = 'active'", (label,)) if key != old],
                    HONOURED, f"another key for {label}")


def wait_revoked(suite, serial):
    wait_for(lambda: suite.psql("SELECT 1 FROM certificates WHERE serial = decode(%s, 'hex') AND status = 'revoked'", (serial,)), HONOURED,
             f"certificate {serial} to be revoked")


def relying_party(suite, place, leaf):
    """What openssl says of a certificate, by OCSP at each responder."""
    (place / "leaf.pem").write_text(leaf["certificate"])
    answers = {}
    for instance in ("ocsp-1", "ocsp-2"):
        url = "http://" + suite.config(instance)["http"]["listen"] + "/ocsp"
        answers[instance] = openssl("ocsp", "-issuer", suite.chain, "-cert", place / "leaf.pem", "-url", url, "-CAfile", suite.chain, "-no_nonce",
                                    "-resp_text")
    return answers


def in_crl(suite, ca, serial, reason):
    text = openssl("crl", "-inform", "DER", "-in", crl_file(suite, ca), "-noout", "-text")
    return re.search(rf"Serial Number: {serial}\n(?:(?!Serial Number).)*{reason}", text, re.S | re.I)


def crl_file(suite, ca):
    path = suite.dir.parent / f"{ca}.crl"
    path.write_bytes(requests.get(f"{suite.http}/crl/{ca}.crl", timeout=10).content)
    return path


def serial_of_signer(text):
    """Of the responder's certificate, which follows the response's own data."""
    return re.search(r"Serial Number:\s+([0-9a-f:]+)", text.partition("\nCertificate:\n")[2])[1].replace(":", "")


def test_an_ocsp_responders_key(suite, place):
    leaf, label = suite.issue(), "example-issuing OCSP Responder"
    wait_for(lambda: all("Response verify OK" in text for text in relying_party(suite, place, leaf).values()), 30, "both responders to answer")
    old, old_serial = active_key(suite, label), serial_of_signer(relying_party(suite, place, leaf)["ocsp-1"])
    typed = Typed(suite, place, "An OCSP responder's key", KEY=old)
    assert label in typed.one()
    typed.through("compromise")
    replaced(suite, label, old)

    def another_signs():
        return all("leaf.pem: good" in text and "Response verify OK" in text and serial_of_signer(text) != old_serial
                   for text in relying_party(suite, place, leaf).values())
    wait_for(another_signs, HONOURED, "another responder's certificate at both instances")
    wait_revoked(suite, old_serial)
    typed.through("certificate list")
    assert old_serial in typed.outputs[-1].lower()
    typed.all()
    assert in_crl(suite, suite.issuing_ca, old_serial, "Key Compromise")
    assert old in typed.outputs[-1]


def stamp(suite, place, instance):
    (place / "data").write_text("data")
    openssl("ts", "-query", "-data", place / "data", "-sha256", "-cert", "-out", place / "query.tsq")
    url = "http://" + suite.config(instance)["http"]["listen"] + "/tsa"
    answer = requests.post(url, data=(place / "query.tsq").read_bytes(), headers={"Content-Type": "application/timestamp-query"}, timeout=30)
    (place / "reply.tsr").write_bytes(answer.content)
    return "Verification: OK" in openssl("ts", "-verify", "-in", place / "reply.tsr", "-queryfile", place / "query.tsq", "-CAfile", suite.chain)


def signer_of_stamp(place):
    return format(signer_of((place / "reply.tsr").read_bytes()).serial_number, "032x")


def test_a_tsas_key(suite, place):
    label = "example-issuing Time Stamping Authority"
    wait_for(lambda: stamp(suite, place, "tsa-1"), 30, "a timestamp")
    old, old_serial = active_key(suite, label), signer_of_stamp(place)
    typed = Typed(suite, place, "A TSA's key", KEY=old)
    typed.through("compromise")
    replaced(suite, label, old)
    for instance in ("tsa-1", "tsa-2"):
        wait_for(lambda instance=instance: stamp(suite, place, instance) and signer_of_stamp(place) != old_serial, HONOURED, f"another TSA at {instance}")
    wait_revoked(suite, old_serial)
    typed.through("certificate list")
    assert old_serial in typed.outputs[-1].lower()
    typed.all()
    assert in_crl(suite, suite.issuing_ca, old_serial, "Key Compromise")


def test_an_officers_key(suite, place):
    stolen = suite.client("officer-3")

    def asks():
        return requests.get(suite.url + "/v1/whoami", cert=stolen, verify=suite.ca_file, timeout=10)

    # An action that it approved before waits for one more.
    assert suite.cli("ca", "retire", suite.issuing_ca, "--yes", env=dict(zip(("CHANCERY_CERT", "CHANCERY_KEY"), stolen))).code == 5
    assert asks().status_code == 200
    vaults = [instance for instance in suite.instances() if instance.startswith("vault-")]

    def refused_by_the_vaults():
        return {vault: suite.metrics(vault)["chancery_refused_identities"] for vault in vaults}
    before = refused_by_the_vaults()
    typed = Typed(suite, place, "An officer's key")
    typed.through("operator revoke")
    wait_for(lambda: asks().status_code == 401, HONOURED, "the gateways to refuse it")
    wait_for(lambda: all(refused > before[vault] for vault, refused in refused_by_the_vaults().items()), HONOURED, "the vaults to refuse it")
    assert "Key Compromise" in typed.one()
    # What it approved counts no more: one more approval is not enough.
    other = dict(zip(("CHANCERY_CERT", "CHANCERY_KEY"), suite.client("officer-2")))
    late = suite.cli("ca", "retire", suite.issuing_ca, "--yes", env=other)
    assert late.code == 5 and "1 of 2" in late.err, late
    typed.through("quorum show")
    assert "2 of 2 officers approve" in typed.outputs[-1] and "officer-3" not in typed.outputs[-1]
    typed.all()
    assert "officer-3" in typed.outputs[-2]


def test_a_daemons_identity(suite, place):
    leaf = suite.issue()
    typed = Typed(suite, place, "A daemon's identity", SERIAL=leaf["serial"])
    typed.through("system-ca revoke")
    wait_for(lambda: not suite.is_ready("ocsp-2"), HONOURED, "ocsp-2 to be out")
    # HAProxy asks every now and then, and sends it nothing more once it was told so twice.
    wait_for(lambda: ": good" in openssl("ocsp", "-issuer", suite.chain, "-cert", written(place, leaf), "-url", f"{suite.http}/ocsp",
                                         "-CAfile", suite.chain), 5, "HAProxy to pass it over")
    typed.through("system-ca renew")
    suite.wait_ready("ocsp-2", HONOURED)
    assert "identity.refused-list" in typed.through("audit list")
    wait_for(lambda: suite.api("GET", f"/v1/audit/events?type=vault.signed&subject={leaf['serial']}").json()["events"], 15, "the vault's event")
    typed.words["NUMBER"] = typed.through("audit list").splitlines()[1].split()[0]
    typed.all()
    assert "commonName" in typed.outputs[-2]
    wait_for(lambda: ": revoked" in openssl("ocsp", "-issuer", suite.chain, "-cert", written(place, leaf), "-url", f"{suite.http}/ocsp",
                                              "-CAfile", suite.chain), 15, "the certificate to be revoked")


def written(place, leaf):
    (place / "leaf.pem").write_text(leaf["certificate"])
    return place / "leaf.pem"


def test_an_hsm(suite, place):
    typed, tokens = Typed(suite, place, "An HSM"), suite.dir / "hsm/b/tokens"
    typed.one()
    owner = tokens.stat()
    tokens.rename(place / "stolen")  # the thief
    tokens.mkdir(mode=owner.st_mode & 0o7777)
    shutil.chown(tokens, owner.st_uid, owner.st_gid)
    assert suite.issue()["status"] == "issued"
    typed.through("--init-hsm")
    typed.through("hsm enable")
    wait_for(lambda: all(suite.metrics(vault)['chancery_vault_hsm_up{hsm="b"}'] == 1 for vault in ("vault-1", "vault-2")), 60, "HSM b up again")
    typed.all()
    assert re.search(r"\bb\b.*\bup\b", typed.outputs[-1]), typed.outputs[-1]
    for vault in suite.env["CHANCERY_VAULT"].split():
        assert suite.cli("vault", "hsm", "disable", "a", "--vault", vault).code == 0
    assert suite.issue()["status"] == "issued"  # the new one alone
    for vault in suite.env["CHANCERY_VAULT"].split():
        assert suite.cli("vault", "hsm", "enable", "a", "--vault", vault).code == 0


def test_a_cas_key(suite, place):
    leaf = suite.issue()
    _, csr = suite.new_key_and_csr(None, ["DNS:www.example"])
    typed = Typed(suite, place, "A CA's key")
    typed.one()
    refused = suite.api("POST", "/v1/certificates", json={"profile": "tls-server", "ca": suite.issuing_ca, "csr": csr})
    assert refused.status_code == 409 and "is stopped" in refused.json()["detail"]
    wait_for(lambda: all(": good" in text for text in relying_party(suite, place, leaf).values()), 30, "status to go on")
    typed.through("ca list")
    assert re.search(r"example-issuing +revoked", typed.outputs[-1])
    wait_for(lambda: all("Cert Status: revoked" in text for text in relying_party(suite, place, leaf).values()), HONOURED, "its certificates revoked")
    ca = suite.api("GET", f"/v1/cas/{suite.issuing_ca}").json()
    (place / "ca.pem").write_text(ca["certificate"])
    serial = openssl("x509", "-in", place / "ca.pem", "-noout", "-serial").strip().partition("=")[2]
    assert in_crl(suite, suite.root_ca, serial, "CA Compromise")
    typed.all()
    answer = suite.api("POST", "/v1/certificates", json={"profile": "tls-server", "ca": "example-issuing-2", "csr": csr})
    assert answer.status_code == 201, answer.text
    wait_for(lambda: stamp_of_new_ca(suite, place), HONOURED, "a timestamp of the new CA's TSA")


def stamp_of_new_ca(suite, place):
    root = suite.api("GET", f"/v1/cas/{suite.root_ca}").json()["certificate"]
    new = suite.api("GET", "/v1/cas/example-issuing-2").json()["certificate"]
    (place / "chain.pem").write_text(root + new)
    (place / "data").write_text("data")
    openssl("ts", "-query", "-data", place / "data", "-sha256", "-cert", "-out", place / "query.tsq")
    answer = requests.post(f"{suite.http}/tsa", data=(place / "query.tsq").read_bytes(), headers={"Content-Type": "application/timestamp-query"}, timeout=30)
    (place / "reply.tsr").write_bytes(answer.content)
    return "Verification: OK" in openssl("ts", "-verify", "-in", place / "reply.tsr", "-queryfile", place / "query.tsq", "-CAfile", place / "chain.pem")
