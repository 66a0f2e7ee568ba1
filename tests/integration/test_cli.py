# SPDX-License-Identifier: Apache-2.0
"""The `chancery` command: help, usage errors, exit codes, tables and JSON, completion, man page; the file-held CAs; approvals."""
import json
import os
import re
import shutil
import stat
import subprocess

import pytest
from conftest import BUILD, TOP, free_port, new_key_and_csr
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

CHANCERY = BUILD / "bin" / "chancery"
MAN_PAGE = TOP / "docs" / "man" / "chancery.1"


def chancery(*words, env=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHANCERY_")}
    return subprocess.run([CHANCERY, *map(str, words)], capture_output=True, text=True, timeout=60, env={**clean, **(env or {})},
                          check=False)


def commands():
    """Every command that --help lists: ["ca", "create"], …, ["status"]"""
    lines = chancery("--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    found = []
    for line in lines:
        words = line[2:36].split()
        found.append([word for word in words if re.fullmatch(r"[a-z-]+", word)])
    return found


COMMANDS = commands()


# --- without a suite -----------------------------------------------------------------------------------------------------------


def test_help_lists_the_commands_that_the_issue_names():
    names = {" ".join(words) for words in COMMANDS}
    for name in ("ca create", "ca list", "ca show", "profile apply", "profile list", "profile show", "certificate issue",
                 "certificate show", "certificate list", "certificate revoke", "certificate suspend", "certificate reinstate",
                 "crl generate", "crl show", "audit list", "audit verify", "db migrate", "vault status", "status"):
        assert name in names


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(words):
    done = chancery(*words, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: chancery {' '.join(words)}")
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_in_the_man_page(words):
    page = MAN_PAGE.read_text().replace("\\-", "-")
    assert " ".join(words) in page
    for option in re.findall(r"^  --([a-z-]+)", chancery(*words, "--help").stdout, re.M):
        assert f"--{option}" in page, option


@pytest.mark.parametrize("words", [["nonsense"], ["ca"], ["ca", "nonsense"], ["ca", "list", "--nonsense"], ["ca", "list", "extra"],
                                   ["ca", "show"], ["ca", "list"], ["certificate", "revoke", "01", "--reason", "boredom"],
                                   ["certificate", "issue", "--profile"], ["system-ca", "init", "--directory", "x", "--days", "0"], []],
                         ids=" ".join)
def test_wrong_usage_ends_with_2(words):
    done = chancery(*words)
    assert done.returncode == 2, done.stderr


def test_version():
    assert re.fullmatch(r"chancery \d+\.\d+\.\d+\n", chancery("--version").stdout)


def test_no_suite_ends_with_5(tmp_path):
    (tmp_path / "file").write_text("x")
    file = tmp_path / "file"
    done = subprocess.run([CHANCERY, "system-ca", "init", "--directory", tmp_path / "pki"], capture_output=True, check=True)
    done = chancery("ca", "list", "--url", f"https://127.0.0.1:{free_port()}", "--ca-file", tmp_path / "pki/system-ca.pem", "--cert", file,
                    "--key", file)
    assert done.returncode in (1, 5)
    assert "127.0.0.1" in done.stderr


def completions(*words):
    script = "source <(\"$0\" completion bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _chancery; printf '%s\\n' \"${COMPREPLY[@]}\""
    done = subprocess.run(["bash", "-c", script, str(CHANCERY), *words], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_completion_of_commands_options_and_values(tmp_path):
    assert {words[0] for words in COMMANDS} <= completions("chancery", "")
    assert completions("chancery", "cert") == {"certificate"}
    assert completions("chancery", "certificate", "") == {"issue", "show", "list", "revoke", "suspend", "reinstate", "--help"}
    assert completions("chancery", "certificate", "re") == {"revoke", "reinstate"}
    assert completions("chancery", "certificate", "revoke", "--rea") == {"--reason"}
    assert completions("chancery", "certificate", "revoke", "--reason", "key") == {"keyCompromise"}
    assert "--json" in completions("chancery", "status", "--")
    assert {"status", "key"} <= completions("chancery", "vault", "")
    assert {"list", "show"} <= completions("chancery", "vault", "key", "")
    assert "--identity" in completions("chancery", "vault", "key", "list", "--id")
    (tmp_path / "www.csr").touch()
    assert completions("chancery", "certificate", "issue", "--csr", f"{tmp_path}/w") == {f"{tmp_path}/www.csr"}
    assert completions("chancery", "profile", "apply", f"{tmp_path}/w") == {f"{tmp_path}/www.csr"}


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_identities_carry_their_service_and_instance(tmp_path):
    assert chancery("system-ca", "init", "--directory", tmp_path / "pki").returncode == 0
    done = chancery("system-ca", "issue", "--directory", tmp_path / "pki", "--service", "ocsp", "--instance", "ocsp-1", "--out",
                    tmp_path / "id")
    assert done.returncode == 0, done.stderr
    certificate, ca = load(tmp_path / "id/certificate.pem"), load(tmp_path / "pki/system-ca.pem")
    ca.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(certificate.signature_hash_algorithm))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["chancery:service/ocsp/ocsp-1"]
    assert names.get_values_for_type(x509.DNSName) == ["ocsp.chancery.internal"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {x509.ExtendedKeyUsageOID.CLIENT_AUTH, x509.ExtendedKeyUsageOID.SERVER_AUTH}
    assert certificate.not_valid_after <= ca.not_valid_after
    for key in (tmp_path / "id/key.pem", tmp_path / "pki/system-ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o400
    again = chancery("system-ca", "init", "--directory", tmp_path / "pki")
    assert again.returncode == 1 and "exists already" in again.stderr


def test_operators_carry_tenant_roles_and_name(tmp_path):
    assert chancery("operator", "init", "--directory", tmp_path).returncode == 0
    done = chancery("operator", "issue", "--directory", tmp_path, "--name", "alice", "--role", "officer", "--role", "requester", "--out",
                    tmp_path / "alice")
    assert done.returncode == 0, done.stderr
    names = load(tmp_path / "alice.pem").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["chancery:operator/default/officer+requester/alice"]


@pytest.mark.parametrize("name", ["al/ice", "al,ice", "", "x" * 64, "Älice"])
def test_names_that_would_break_a_uri_are_refused(tmp_path, name):
    chancery("operator", "init", "--directory", tmp_path)
    done = chancery("operator", "issue", "--directory", tmp_path, "--name", name, "--role", "officer", "--out", tmp_path / "x")
    assert done.returncode == 1
    assert not (tmp_path / "x.pem").exists()


def test_a_ca_key_that_others_may_read_is_refused(tmp_path):
    chancery("operator", "init", "--directory", tmp_path)
    (tmp_path / "operators-ca.key").chmod(0o444)
    done = chancery("operator", "issue", "--directory", tmp_path, "--name", "bob", "--role", "officer", "--out", tmp_path / "bob")
    assert done.returncode == 4, done.stderr


# --- with a suite --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def csr(tmp_path):
    path = tmp_path / "www.csr"
    path.write_text(new_key_and_csr("cli.example", ["DNS:cli.example"])[1])
    return path


def test_a_certificate_from_issue_to_revoke(suite, csr, tmp_path):
    out = suite.cli("certificate", "issue", "--profile", "tls-server", "--ca", suite.issuing_ca, "--csr", csr, "--out", tmp_path / "www.pem",
                    "--json")
    assert out.code == 0, out.err
    serial = json.loads(out.out)["serial"]
    assert (tmp_path / "www.pem").read_text().count("BEGIN CERTIFICATE") >= 2
    assert suite.cli("certificate", "show", serial).out.count("BEGIN CERTIFICATE") == 1
    for verb, status in (("suspend", "suspended"), ("reinstate", "issued"), ("revoke", "revoked")):
        done = suite.cli("certificate", verb, serial, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["status"] == status
    assert json.loads(suite.cli("certificate", "show", serial, "--json").out)["status"] == "revoked"


def issued_count(suite):
    return len(json.loads(suite.cli("certificate", "list", "--limit", "1000", "--json").out)["certificates"])


def test_what_is_no_request_never_leaves_the_machine(suite, csr, tmp_path):
    """Told what the file is, before anything is sent: no server is needed for it."""
    key, pem = new_key_and_csr("cli.example", ["DNS:cli.example"])
    files = {name: tmp_path / name for name in ("plain", "encrypted", "der", "both", "text")}
    key = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    files["plain"].write_text(key)
    for name, options in (("encrypted", ("-aes256", "-passout", "pass:secret")), ("der", ("-outform", "DER"))):
        subprocess.run(["openssl", "pkey", "-in", files["plain"], "-out", files[name], *options], check=True, capture_output=True)
    files["both"].write_text(pem + key)
    files["text"].write_text("name: x\n")
    nobody = {"CHANCERY_URL": f"https://127.0.0.1:{free_port()}"}
    said = {name: suite.cli("certificate", "issue", "--profile", "tls-server", "--csr", file, env=nobody) for name, file in files.items()}
    assert all(done.code == 1 for done in said.values())
    assert f"'{files['encrypted']}' holds a private key (PKCS#8, encrypted), not a certification request" in said["encrypted"].err
    assert all("holds a private key" in said[name].err for name in ("plain", "der", "both")), said
    assert "neither PEM nor DER, not a certification request" in said["text"].err
    for words in (("key", "block"), ("key", "report"), ("profile", "apply"), ("ca", "create")):
        for name in ("plain", "der"):
            done = suite.cli(*words, files[name], env=nobody)
            assert done.code == 1 and "holds a private key" in done.err, (words, done)


def test_out_is_opened_before_anything_is_issued_and_replaces_no_device_or_link(suite, csr, tmp_path):
    before = issued_count(suite)
    target, link, fifo = tmp_path / "target", tmp_path / "link", tmp_path / "fifo"
    target.write_text("mine")
    link.symlink_to(target)
    os.mkfifo(fifo)
    words = ("certificate", "issue", "--profile", "tls-server", "--ca", suite.issuing_ca, "--csr", csr, "--out")
    for out, says in ((link, "is a symbolic link"), (fifo, "is a FIFO"), ("/dev/null", "is a device"), (tmp_path, "is a folder"),
                      (tmp_path / "none" / "x.pem", "No such file")):
        done = suite.cli(*words, out)
        assert done.code != 0 and says in done.err, done
    assert issued_count(suite) == before
    assert target.read_text() == "mine" and link.is_symlink() and os.path.exists("/dev/null")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["target", "link", "fifo", csr.name])


@pytest.mark.parametrize("command", [
    ("system-ca", "issue", "--service", "ocsp", "--instance", "ocsp-9"), ("public-ca", "issue", "--dns", "a.example"),
    ("operator", "issue", "--name", "dora", "--role", "requester"), ("system-ca", "renew")], ids=" ".join)
def test_files_of_internal_cas_replace_no_link_and_nothing_is_issued(suite, tmp_path, command):
    """What is written to the list of issued certificates could be refused later; nothing is, where its files cannot be written."""
    ca, out, target = tmp_path / "pki", tmp_path / "out", tmp_path / "target"
    noun = {"system-ca": "system-ca", "public-ca": "public-ca", "operator": "operators-ca"}[command[0]]
    assert suite.cli(command[0], "init", "--directory", ca).code == 0
    if command[1] == "renew":
        assert suite.cli("system-ca", "issue", "--service", "ocsp", "--instance", "ocsp-9", "--directory", ca, "--out", out).code == 0
    out.mkdir(exist_ok=True)
    listed = ca / f"{noun}.issued"
    before = listed.read_text() if listed.exists() else ""
    target.write_text("mine")
    name = {"public-ca": "https-key.pem", "system-ca": "key.pem", "operator": "dora.key"}[command[0]]
    (out / name).unlink(missing_ok=True)
    (out / name).symlink_to(target)
    done = suite.cli(*command, "--directory", ca, "--out", out / "dora" if command[0] == "operator" else out)
    assert done.code == 1 and "is a symbolic link, which is not replaced" in done.err, done
    assert target.read_text() == "mine" and (out / name).is_symlink()
    assert (listed.read_text() if listed.exists() else "") == before


def test_issue_takes_names_validity_and_an_idempotency_key(suite, csr):
    words = ["certificate", "issue", "--profile", "tls-server", "--ca", suite.issuing_ca, "--csr", csr, "--san", "dns:cli.example", "--san", "dns:other.example",
             "--validity", "7d", "--idempotency-key", f"cli-{free_port()}-{os.getpid()}", "--json"]
    first, second = suite.cli(*words), suite.cli(*words)
    assert first.code == second.code == 0, first.err + second.err
    assert json.loads(first.out)["serial"] == json.loads(second.out)["serial"]
    certificate = x509.load_pem_x509_certificate(json.loads(first.out)["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cli.example", "other.example"]
    assert (certificate.not_valid_after - certificate.not_valid_before).days in (6, 7)


@pytest.mark.parametrize("words", [["ca", "list"], ["profile", "list"], ["certificate", "list"], ["audit", "list"], ["status"],
                                   ["vault", "status"]], ids=" ".join)
def test_tables_for_people_and_json_for_scripts(suite, words):
    table, as_json = suite.cli(*words), suite.cli(*words, "--json")
    assert table.code == as_json.code == 0, table.err + as_json.err + table.out
    lines = table.out.splitlines()
    assert len(lines) > 1 and lines[0] == lines[0].upper()
    rows = json.loads(as_json.out)
    rows = rows if isinstance(rows, list) else next(value for value in rows.values() if isinstance(value, list))
    assert rows and isinstance(rows[0], dict)


def test_showing_what_is_there(suite):
    assert suite.issuing_ca in suite.cli("ca", "show", suite.issuing_ca).out
    assert "BEGIN CERTIFICATE" in suite.cli("ca", "show", suite.root_ca).out
    assert "serverAuth" in suite.cli("profile", "show", "tls-server").out
    before = json.loads(suite.cli("crl", "show", suite.issuing_ca, "--json").out)["crl_number"]
    assert json.loads(suite.cli("crl", "generate", suite.issuing_ca, "--json").out)["crl_number"] > before


def test_lists_filter_and_go_on_where_they_ended(suite, csr):
    for _ in range(3):
        assert suite.cli("certificate", "issue", "--profile", "tls-server", "--ca", suite.issuing_ca, "--csr", csr).code == 0
    seen, cursor = [], None
    for _ in range(3):
        out = suite.cli("certificate", "list", "--san", "cli.example", "--limit", "1", "--json", *(["--cursor", cursor] if cursor else []))
        page = json.loads(out.out)
        seen += [row["serial"] for row in page["certificates"]]
        cursor = page.get("next_cursor")
    assert len(set(seen)) == 3
    assert json.loads(suite.cli("certificate", "list", "--san", "no-such-name.example", "--json").out)["certificates"] == []


def test_not_found_ends_with_3(suite):
    for words in (["ca", "show", "no-such-ca"], ["profile", "show", "no-such-profile"], ["certificate", "show", "0294" + "00" * 14]):
        done = suite.cli(*words)
        assert done.code == 3, done.err


def test_denied_ends_with_4_and_names_the_trace_id(suite):
    certificate, key = suite.client("requester")
    serial = suite.issue()["serial"]
    done = suite.cli("certificate", "revoke", serial, env={"CHANCERY_CERT": certificate, "CHANCERY_KEY": key})
    assert done.code == 4, done.err
    assert re.search(r"trace id [0-9a-f]{32}", done.err)


def test_a_refused_request_ends_with_1_and_says_why(suite, csr):
    done = suite.cli("certificate", "issue", "--profile", "tls-server", "--ca", suite.issuing_ca, "--csr", csr, "--validity", "9000d")
    assert done.code == 1
    assert "validity" in done.err


def test_audit_verify_is_content_with_an_untouched_log(suite):
    done = suite.cli("audit", "verify", "--json")
    assert done.code == 0, done.out + done.err
    assert json.loads(done.out)["findings"] == []
    assert json.loads(done.out)["events"] > 10


def test_status_finds_a_daemon_that_is_down(suite):
    operations = suite.env["CHANCERY_OPERATIONS"] + f" ghost-1=127.0.0.1:{free_port()}"
    done = suite.cli("status", "--operations", operations, "--json")
    assert done.code == 6
    assert {row["instance"]: row["state"] for row in json.loads(done.out)}["ghost-1"] == "down"


CA_DOCUMENT = """\
name: {name}
parent: {parent}
subject: "CN={cn},O=Example,C=CH"
key: ecdsa-p256
validity: 1y
path_length: 0
crl: {{ interval: 1h, validity: 24h }}
"""


def test_ca_create_shows_checks_and_approves(suite, tmp_path):
    name = f"cli-{free_port()}"
    document = tmp_path / "ca.yaml"
    document.write_text(CA_DOCUMENT.format(name=name, parent=suite.root_ca, cn=f"CLI CA {name}"))
    checked = suite.cli("ca", "create", "--check", document)
    assert checked.code == 0, checked.err
    assert re.search(rf"subject +CN=CLI CA {name},O=Example,C=CH\n", checked.err) and "Not approved" in checked.err
    assert suite.cli("ca", "show", name).code == 3  # there is no key yet, and no CA
    made = suite.cli("ca", "create", "--yes", document, "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["state"] == "active"
    again = suite.cli("ca", "create", "--yes", document)
    assert again.code == 0 and "active already" in again.err


def test_a_requester_cannot_make_a_ca(suite, tmp_path):
    certificate, key = suite.client("requester")
    document = tmp_path / "ca.yaml"
    document.write_text(CA_DOCUMENT.format(name=f"no-{free_port()}", parent=suite.root_ca, cn="Not allowed"))
    assert suite.cli("ca", "create", "--yes", document, env={"CHANCERY_CERT": certificate, "CHANCERY_KEY": key}).code == 4


def test_migrations_are_applied_once_from_two_places(suite, tmp_path):
    words = ["db", "migrate", "--database", suite.env["CHANCERY_DATABASE"].replace("chancery_auditor", "chancery_owner"), "--schema",
             suite.dir / "share" / "schema"]
    assert "up to date" in suite.cli(*words).out
    copy = shutil.copytree(suite.dir / "share" / "schema", tmp_path / "schema")
    (copy / "9999_test.sql").write_text("CREATE TABLE migrated_once (x int);")
    words[-1] = copy
    runs = [subprocess.Popen([suite.dir / "bin" / "chancery", *map(str, words)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum("9999_test.sql" in output for output in outputs) == 1
    suite.psql("DROP TABLE migrated_once")
    suite.psql("DELETE FROM schema_migrations WHERE version = 9999")
