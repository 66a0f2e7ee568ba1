# SPDX-License-Identifier: Apache-2.0
"""A vault with two SoftHSM2 tokens and a PostgreSQL of its own, and nothing else of the suite: what the tests of the vault ask
through vaultprobe. Its audit events stay in its spool, where they are looked up as text."""
import base64
import contextlib
import copy
import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import uuid

from asn1crypto import cms, core, ocsp, tsp
from asn1crypto import x509 as asn1x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import BUILD, TOP, free_port, wait_for

PRIVATE_POSTGRES = TOP / "tests" / "tools" / "private_postgres.sh"
SERVICES = ("issuer", "crl", "ocsp", "tsa", "audit", "gateway", "operator")
CA_PURPOSES = "end-entity-certificate,ca-certificate,crl"
THROWAWAY = ec.generate_private_key(ec.SECP256R1())  # gives cryptography's builders something to sign with
POLICY = "1.3.6.1.4.1.99999.1.1"
MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def name(cn):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)])


def rfc4514(subject):
    """As the vault writes a name of one CN into a document."""
    return "CN=" + re.sub(r'([,+"\\<>;])', r"\\\1", subject.native["common_name"])


def certificate_end(tbs):
    """notAfter of a TBSCertificate as a document has it."""
    return asn1x509.TbsCertificate.load(tbs)["validity"]["not_after"].native.strftime("%Y-%m-%dT%H:%M:%SZ")


class LoneVault:
    as_vault = ()  # what a command runs under that must be the vault's user

    def __init__(self, hsms=("a", "b"), required=1, officers=("officer", "second"), extra_officers=(), **keys):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="chancery-vault-"))
        os.chmod(self.dir, 0o755)
        self.hsms = hsms
        self.port = free_port()
        self.operations = free_port()
        self.process = None
        database = self._run(PRIVATE_POSTGRES, "start", self.dir / "pg").strip()
        self._chancery("db", "migrate", "--database", database, "--schema", TOP / "proto" / "schema")
        self.database = database.replace("user=owner", "user=chancery_vault")
        self.owner = database
        self._make_identities(extra_officers)
        self._make_tokens()
        (self.dir / "shares").mkdir(mode=0o700)
        self._configure(keys)
        self._run(BUILD / "bin" / "chancery-vault", "--config", self.dir / "vault.yaml", "--init-hsms",
                  "--share-directory", self.dir / "shares")
        self.init_quorum(required, officers)
        self.start()

    # --- making it ---

    @staticmethod
    def _run(*command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def _chancery(self, *words):
        return self._run(BUILD / "bin" / "chancery", *words)

    def _make_identities(self, extra_officers):
        pki = self.dir / "pki"
        pki.mkdir()
        (self.dir / "identity").mkdir()
        self._chancery("system-ca", "init", "--directory", pki)
        self._chancery("operator", "init", "--directory", pki)
        for service in ("vault",) + SERVICES:
            self._chancery("system-ca", "issue", "--directory", pki, "--service", service, "--instance", f"{service}-1",
                           "--out", self.dir / "identity" / f"{service}-1")
        for operator, role in (("officer", "officer"), ("second", "officer"), ("requester", "requester"),
                               *((name, "officer") for name in extra_officers)):
            self._chancery("operator", "issue", "--directory", pki, "--name", operator, "--role", role, "--out", self.dir / operator)

    def _make_tokens(self):
        for hsm in self.hsms:
            tokens = self.dir / "hsm" / hsm / "tokens"
            tokens.mkdir(parents=True)
            (tokens.parent / "softhsm2.conf").write_text(
                f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n")

    def _configure(self, keys):
        identity = self.dir / "identity" / "vault-1"
        config = {
            "instance": "vault-1", "state_directory": str(self.dir / "state"),
            "identity": {"certificate": str(identity / "certificate.pem"), "key": str(identity / "key.pem"),
                         "system_ca": str(self.dir / "pki" / "system-ca.pem")},
            "operations": {"listen": f"127.0.0.1:{self.operations}"},
            "database": {"url": self.database}, "bus": {"listen": f"127.0.0.1:{self.port}", "workers": 8},
            "peers": {"audit": [f"127.0.0.1:{free_port()}"]},  # nobody there: events stay in the spool
            "operators_ca": str(self.dir / "pki" / "operators-ca.pem"),
            "hsms": [{"name": hsm, "module": MODULE,
                      "environment": [f"SOFTHSM2_CONF={self.dir}/hsm/{hsm}/softhsm2.conf"], "token_label": f"chancery-{hsm}",
                      "pin_file": f"{self.dir}/hsm/{hsm}/pin", "paths": [f"{self.dir}/hsm/{hsm}"]} for hsm in self.hsms],
            "drain": "2s",
        }
        config.update(keys)
        (self.dir / "state").mkdir()
        (self.dir / "vault.yaml").write_text(json.dumps(config))

    def change_hsm(self, hsm, **keys):
        """Of the configuration, for the next start."""
        config = json.loads((self.dir / "vault.yaml").read_text())
        next(item for item in config["hsms"] if item["name"] == hsm).update(keys)
        (self.dir / "vault.yaml").write_text(json.dumps(config))

    # --- running it ---

    def start(self):
        self.log = open(self.dir / "vault.log", "ab")
        self.process = subprocess.Popen([*self.as_vault, BUILD / "bin" / "chancery-vault", "--config", self.dir / "vault.yaml"],
                                        stderr=self.log, stdout=self.log)
        wait_for(self.ready, 30, f"vault ready: {(self.dir / 'vault.log').read_text()[-2000:]}")
        wait_for(lambda: all(state == "up" for state in self.states().values()), 30, "all HSMs up")

    def ready(self):
        assert self.process.poll() is None, (self.dir / "vault.log").read_text()[-4000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.operations}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def readiness(self):
        """What /readyz answers, ready or not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.operations}/readyz", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            return json.load(refused)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0, (self.dir / "vault.log").read_text()[-4000:]
            self.process = None
            self.log.close()

    def remove(self):
        try:
            self.stop()
        finally:
            self._run(PRIVATE_POSTGRES, "stop", self.dir / "pg")
            shutil.rmtree(self.dir, ignore_errors=True)

    def metrics(self, operations=None):
        with urllib.request.urlopen(f"http://127.0.0.1:{operations or self.operations}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line and line[0] != "#"}

    def events(self):
        """All that the spool holds, as octets: event types and details stand in it as text."""
        return b"".join(path.read_bytes() for path in sorted((self.dir / "state" / "spool").glob("*")) if path.is_file())

    def worker_pids(self):
        """{HSM name: pid} of the vault's child processes."""
        return workers_of(self.process.pid)

    def psql(self, statement):
        words = dict(word.split("=", 1) for word in self.owner.split())
        return self._run("psql", "-h", words["host"], "-U", words["user"], "-d", words["dbname"], "-XAtc", statement).strip()

    # --- asking it ---

    def probe_command(self, service, *words, tenant="default"):
        return [str(word) for word in (BUILD / "tests" / "vaultprobe", "--identity", self.dir / "identity" / f"{service}-1",
                                       "--system-ca", self.dir / "pki" / "system-ca.pem", "--service", service, "--instance",
                                       f"{service}-1", "--tenant", tenant, "--vault", f"127.0.0.1:{self.port}", *words)]

    def probe(self, service, *words, tenant="default"):
        done = subprocess.run(self.probe_command(service, *words, tenant=tenant), capture_output=True, text=True, timeout=120,
                              check=False)
        assert done.stdout, f"vaultprobe {words}: {done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def states(self):
        return {hsm["name"]: hsm["state"] for hsm in self.probe("operator", "status")}

    def file(self, content):
        path = self.dir / f"{uuid.uuid4().hex}.der"
        path.write_bytes(content)
        return path

    def init_quorum(self, required, officers):
        path = self.dir / "quorum.yaml"
        path.write_text(json.dumps({"required": required, "officers": [{"certificate": f"{name}.pem"} for name in officers]}))
        return self._run(*self.as_vault, BUILD / "bin" / "chancery-vault", "--config", self.dir / "vault.yaml", "--init-quorum", path)

    # --- officers ---

    def propose(self, service, kind, fields, *words, tenant="default"):
        """fields: {name: value} in the order of the kind. What the vault answers: {id, document, state, …} or an error."""
        return self.probe(service, "propose", kind, *(f"{name}={value}" for name, value in fields.items()), *words, tenant=tenant)[0]

    def signature_of(self, operator, document):
        """(certificate, signature) over the octets of an action's document, as an officer makes them."""
        certificate = x509.load_pem_x509_certificate((self.dir / f"{operator}.pem").read_bytes())
        key = serialization.load_pem_private_key((self.dir / f"{operator}.key").read_bytes(), None)
        return certificate.public_bytes(serialization.Encoding.DER), key.sign(document, ec.ECDSA(hashes.SHA256()))

    def public_key_digest(self, operator):
        certificate = x509.load_pem_x509_certificate((self.dir / f"{operator}.pem").read_bytes())
        return hashlib.sha256(certificate.public_key().public_bytes(serialization.Encoding.DER,
                                                                    serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def approve(self, action, operator, tenant="default"):
        certificate, signature = self.signature_of(operator, bytes.fromhex(action["document"]))
        return self.probe("gateway", "approve", action["id"], self.file(certificate), self.file(signature), tenant=tenant)[0]

    def approved(self, kind, fields, by=("officer",), service="issuer", words=()):
        """The id of an action that these officers approved."""
        action = self.propose(service, kind, fields, *words)
        assert action["code"] == 0, action
        for operator in by:
            answer = self.approve(action, operator)
            assert answer["code"] == 0, answer
        return action["id"]

    @staticmethod
    def certificate_fields(key_id, tbs):
        """What officers approve of a CA certificate, read from its bytes with another library than the vault's."""
        read = asn1x509.TbsCertificate.load(tbs)
        return {"key": key_id, "tbs-sha256": hashlib.sha256(tbs).hexdigest(), "subject": rfc4514(read["subject"]),
                "not-after": certificate_end(tbs)}

    def approve_certificate(self, key_id, tbs, by=("officer",)):
        return self.approved("ca-certificate", self.certificate_fields(key_id, tbs), by)

    # --- keys and signatures ---

    def generate(self, service, algorithm, purposes, *words):
        if purposes == CA_PURPOSES and "--action" not in words and "--subject" in words:
            words = [str(word) for word in words]
            subject = asn1x509.Name.load(pathlib.Path(words[words.index("--subject") + 1]).read_bytes())
            label = words[words.index("--label") + 1] if "--label" in words else "vaultprobe"
            fields = {"label": label, "algorithm": algorithm, "purposes": purposes, "subject": rfc4514(subject)}
            action = self.propose(service, "generate-key", fields)
            if action["code"] == 0:
                self.approve(action, "officer")
                words += ["--action", action["id"]]
        return self.probe(service, "generate", algorithm, purposes, *words)[0]

    def sign(self, service, key, purpose, *to_be_signed, content=None, action=None, tenant="default"):
        words = [key, purpose, *(self.file(octets) for octets in to_be_signed)]
        if content is not None:
            words += ["--content", self.file(content)]
        if action:
            words += ["--action", action]
        results = self.probe(service, "sign", *words, tenant=tenant)
        return results if len(to_be_signed) > 1 else results[0]

    # --- what is signed ---

    def make_ca(self, cn, algorithm="ecdsa-p256", path_length=None, issuer=None, days=3650):
        """A CA key with its certificate signed: {key_id, public_key_info, name}."""
        ca = self.generate("issuer", algorithm, CA_PURPOSES, "--subject", self.file(name(cn).public_bytes()), "--label", cn)
        assert ca["code"] == 0, ca
        ca["name"] = name(cn)
        tbs = ca_tbs(issuer or ca, ca, path_length=path_length, days=days)
        key_id = (issuer or ca)["key_id"]
        signed = self.sign("issuer", key_id, "ca-certificate", tbs, action=self.approve_certificate(key_id, tbs))
        assert signed["code"] == 0, signed
        return ca

    def make_system_ca(self, cn):
        """As make_ca, by an operator: a CA of services' identities."""
        purposes = "ca-certificate,crl,service-identity"
        action = self.approved("generate-key", {"label": cn, "algorithm": "ecdsa-p256", "purposes": purposes, "subject": f"CN={cn}"},
                               service="operator")
        ca = self.probe("operator", "generate", "ecdsa-p256", purposes, "--subject", self.file(name(cn).public_bytes()), "--label", cn,
                        "--action", action)[0]
        assert ca["code"] == 0, ca
        ca["name"] = name(cn)
        root = ca_tbs(ca, ca, days=3650)
        signed = self.sign("operator", ca["key_id"], "ca-certificate", root, action=self.approve_certificate(ca["key_id"], root))
        assert signed["code"] == 0, signed
        return ca


def workers_of(parent):
    """{HSM name: pid} of the HSM workers that a process has started."""
    pids = {}
    for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
        for pid in (task / "children").read_text().split():
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"--hsm-worker" in words:
                pids[words[words.index(b"--hsm-worker") + 1].decode()] = int(pid)
    return pids


class SecondVault:
    """Another vault of the same installation: its own identity, state and workers, the same database and HSMs. `ask` is the first one as
    if it listened here."""

    def __init__(self, first):
        self.first, self.port, self.operations, self.process = first, free_port(), free_port(), None
        identity = first.dir / "identity" / "vault-2"
        first._chancery("system-ca", "issue", "--directory", first.dir / "pki", "--service", "vault", "--instance", "vault-2", "--out",
                        identity)
        config = json.loads((first.dir / "vault.yaml").read_text())
        config.update(instance="vault-2", state_directory=str(first.dir / "state-2"), operations={"listen": f"127.0.0.1:{self.operations}"})
        config["bus"]["listen"] = f"127.0.0.1:{self.port}"
        config["identity"].update(certificate=str(identity / "certificate.pem"), key=str(identity / "key.pem"))
        (first.dir / "state-2").mkdir(exist_ok=True)  # a module's tests may have had one before, one after the other
        self.ask = copy.copy(first)
        self.ask.port = self.port
        self.config = first.dir / "vault-2.yaml"
        self.config.write_text(json.dumps(config))

    def start(self):
        with open(self.first.dir / "vault-2.log", "ab") as log:
            self.process = subprocess.Popen([BUILD / "bin" / "chancery-vault", "--config", self.config], stdout=log, stderr=log)
        wait_for(lambda: self.metric("chancery_vault_hsm_up") == 2, 60, "vault-2 to be up")

    def metric(self, name):
        """The sum over HSMs."""
        assert self.process.poll() is None, (self.first.dir / "vault-2.log").read_text()[-4000:]
        with contextlib.suppress(OSError):
            return sum(value for series, value in self.first.metrics(self.operations).items() if series.startswith(name))
        return 0

    def signs(self):
        return self.metric("chancery_vault_hsm_signatures_total") > 0

    def kill(self):
        self.process.kill()
        self.process.wait()


# --- its HSMs, from outside ---


def run(*words, **options):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, check=False, **options)


def vault_command(vault, *words):
    return run(BUILD / "bin" / "chancery-vault", "--config", vault.dir / "vault.yaml", *words)


def operator_command(vault, *words, **options):
    """`chancery` as an operator who is connected to the vault."""
    return run(BUILD / "bin" / "chancery", *words, *connection(vault), **options)


def connection(vault):
    return ("--vault", f"127.0.0.1:{vault.port}", "--identity", vault.dir / "identity" / "operator-1", "--system-ca",
            vault.dir / "pki" / "system-ca.pem")


def secret(vault, service, *words, tenant="default"):
    """What tests/tools/secretprobe.c says: of seal, open, reseal, rotate."""
    done = subprocess.run([BUILD / "tests" / "secretprobe", vault.dir / "identity" / f"{service}-1", vault.dir / "pki" / "system-ca.pem",
                           f"127.0.0.1:{vault.port}", tenant, *map(str, words)], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.strip()


def hsm_command(vault, *words):
    return operator_command(vault, "vault", "hsm", *words)


def private_keys(vault, hsm):
    """CKA_IDs of the private keys in a token."""
    listed = run("pkcs11-tool", "--module", MODULE, "--token-label", f"chancery-{hsm}", "--login", "--pin",
                 (vault.dir / "hsm" / hsm / "pin").read_text().strip(), "--list-objects", "--type", "privkey",
                 env={**os.environ, "SOFTHSM2_CONF": str(vault.dir / "hsm" / hsm / "softhsm2.conf")})
    assert listed.returncode == 0, listed.stderr
    return {line.split()[-1] for line in listed.stdout.splitlines() if line.strip().startswith("ID:")}


def share(vault, number):
    return vault.dir / "shares" / f"share-{number}.txt"


def wipe(vault, hsm):
    """The token's directory is empty; gives where its content went."""
    tokens = vault.dir / "hsm" / hsm / "tokens"
    kept = tokens.with_name("kept")
    tokens.rename(kept)
    tokens.mkdir(mode=0o700)
    return kept


def smart_card(directory, key, label):
    """SoftHSM2 in place of an officer's smart card: (PKCS#11 URI of the imported key, environment)."""
    (directory / "tokens").mkdir()
    (directory / "softhsm2.conf").write_text(f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\n")
    (directory / "pin").write_text("123456")
    (directory / "pin").chmod(0o400)
    environment = {**os.environ, "SOFTHSM2_CONF": str(directory / "softhsm2.conf")}
    for words in (["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", key, "-out", directory / "key.p8"],
                  ["softhsm2-util", "--init-token", "--free", "--label", "card", "--pin", "123456", "--so-pin", "654321"],
                  ["softhsm2-util", "--import", directory / "key.p8", "--token", "card", "--label", label, "--id", "01", "--pin", "123456"]):
        subprocess.run(words, check=True, capture_output=True, env=environment)
    name = urllib.parse.quote(label)
    return f"pkcs11:token=card;object={name}?module-path={MODULE}&pin-source={directory}/pin", environment


def public_key(key):
    return serialization.load_der_public_key(bytes.fromhex(key["public_key_info"]))


def verifies(key, data, signature):
    public_key(key).verify(bytes.fromhex(signature), data, ec.ECDSA(hashes.SHA256()))
    return True


def ca_tbs(issuer, subject, path_length=None, days=3650, ca=True, key_cert_sign=True, start=None):
    start = start or now() - datetime.timedelta(minutes=1)
    return (x509.CertificateBuilder().issuer_name(issuer["name"]).subject_name(subject["name"]).public_key(public_key(subject))
            .serial_number(x509.random_serial_number()).not_valid_before(start.replace(tzinfo=None))
            .not_valid_after((start + datetime.timedelta(days=days)).replace(tzinfo=None))
            .add_extension(x509.BasicConstraints(ca, path_length if ca else None), True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, key_cert_sign, True, False, False), True)
            .sign(THROWAWAY, hashes.SHA256()).tbs_certificate_bytes)


DIGITAL_SIGNATURE = x509.KeyUsage(True, *[False] * 8)


def end_entity_tbs(issuer, days=30, start=None, constraints=None, key_usage=DIGITAL_SIGNATURE, subject=None, more=()):
    start = start or now()
    builder = (x509.CertificateBuilder().issuer_name(issuer).subject_name(subject or name("www.example"))
               .public_key(THROWAWAY.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(start.replace(tzinfo=None))
               .not_valid_after((start + datetime.timedelta(days=days)).replace(tzinfo=None)))
    if constraints:
        builder = builder.add_extension(constraints, True)
    if key_usage:
        builder = builder.add_extension(key_usage, True)
    for extension in more:
        builder = builder.add_extension(extension, False)
    return builder.sign(THROWAWAY, hashes.SHA256()).tbs_certificate_bytes


def identity_tbs(issuer, names):
    """Of ocsp-1."""
    uses = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    start = now()
    return (x509.CertificateBuilder().issuer_name(issuer).subject_name(name("ocsp-1")).serial_number(78)
            .public_key(THROWAWAY.public_key()).not_valid_before(start.replace(tzinfo=None))
            .not_valid_after((start + datetime.timedelta(days=30)).replace(tzinfo=None))
            .add_extension(names, False)
            .add_extension(x509.KeyUsage(True, *[False] * 8), True).add_extension(x509.ExtendedKeyUsage(uses), False)
            .sign(THROWAWAY, hashes.SHA256()).tbs_certificate_bytes)


def request_info(ca):
    """Of a certification request for the CA's own key."""
    request = x509.CertificateSigningRequestBuilder().subject_name(ca["name"]).sign(THROWAWAY, hashes.SHA256()).tbs_certrequest_bytes
    point = THROWAWAY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return request.replace(point, bytes.fromhex(ca["public_key_info"]))


def crl_tbs(issuer, number, this_update=None, hours=24):
    this_update = this_update or now()
    return (x509.CertificateRevocationListBuilder().issuer_name(issuer).last_update(this_update.replace(tzinfo=None))
            .next_update((this_update + datetime.timedelta(hours=hours)).replace(tzinfo=None))
            .add_extension(x509.CRLNumber(number), False).sign(THROWAWAY, hashes.SHA256()).tbs_certlist_bytes)


def key_hash(key):
    """SHA-1 of the public key's bits, as RFC 6960 byKey has it."""
    return x509.SubjectKeyIdentifier.from_public_key(public_key(key)).digest


def response_data(key, produced_at=None, hours=1, responder=None):
    produced_at = produced_at or now()
    return ocsp.ResponseData({
        "responder_id": responder or ocsp.ResponderId(name="by_key", value=key_hash(key)), "produced_at": produced_at,
        "responses": [{"cert_id": {"hash_algorithm": {"algorithm": "sha1"}, "issuer_name_hash": b"n" * 20, "issuer_key_hash": b"k" * 20,
                                   "serial_number": 77},
                       "cert_status": ocsp.CertStatus(name="good", value=core.Null()), "this_update": produced_at,
                       "next_update": produced_at + datetime.timedelta(hours=hours)}]}).dump()


def timestamp(policy=POLICY, gen_time=None, digest_of=None):
    """(signed attributes, TSTInfo)"""
    info = tsp.TSTInfo({
        "version": "v1", "policy": policy,
        "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": b"m" * 32},
        "serial_number": 5, "gen_time": gen_time or now()}).dump()
    certificate = tsp.SigningCertificateV2({"certs": [{"cert_hash": b"h" * 32}]})
    attributes = cms.CMSAttributes([
        cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
        cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(digest_of or info).digest()]}),
        cms.CMSAttribute({"type": "signing_certificate_v2", "values": [certificate]}),
    ])
    return attributes.dump(), info


def checkpoint(origin, size, fill=b"r"):
    return f"{origin}\n{size}\n{base64.b64encode(fill * 32).decode()}\n".encode()
