# SPDX-License-Identifier: Apache-2.0
"""The HSMs' domain: set up from one root secret that custodians keep in shares, and an HSM that was wiped brought back from them under
signing load, without a failed request. What a token holds is looked at with pkcs11-tool, shares are opened with openssl."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

import lone_vault as lone
from conftest import BUILD, wait_for
from lone_vault import MODULE, LoneVault, hsm_command, private_keys, run, share, vault_command, wipe


@pytest.fixture(scope="module")
def vault():
    made = LoneVault()
    yield made
    made.remove()


def test_three_shares_are_written_and_the_secret_is_in_no_file(vault):
    assert sorted(path.name for path in (vault.dir / "shares").iterdir()) == ["share-1.txt", "share-2.txt", "share-3.txt"]
    text = share(vault, 2).read_text()
    assert text.startswith("Chancery custodian share v1\n") and "threshold: 2\ncount: 3\n" in text
    assert share(vault, 2).stat().st_mode & 0o777 == 0o400


def test_both_tokens_hold_three_keys_of_the_domain_that_cannot_leave(vault):
    for hsm in vault.hsms:
        listed = run("pkcs11-tool", "--module", MODULE, "--token-label", f"chancery-{hsm}", "--login", "--pin",
                     (vault.dir / "hsm" / hsm / "pin").read_text().strip(), "--list-objects", "--type", "secrkey",
                     env={**os.environ, "SOFTHSM2_CONF": str(vault.dir / "hsm" / hsm / "softhsm2.conf")})
        for label in ("chancery-kek", "chancery-seal", "chancery-data"):
            assert label in listed.stdout, listed.stdout
        assert listed.stdout.count("sensitive, always sensitive") + listed.stdout.count("sensitive") >= 3
        assert "extractable" not in listed.stdout.replace("never extractable", "")


@pytest.mark.parametrize("make,words", [
    (lambda vault, at: [share(vault, 1)], "1 shares, 2 of the set's 3 are needed"),
    (lambda vault, at: [share(vault, 1), share(vault, 1)], "share 1 is given twice"),
    (lambda vault, at: [share(vault, 1), changed(vault, at, "value: ", "0123")], "its checksum does not match"),
    (lambda vault, at: [share(vault, 1), changed(vault, at, "Chancery custodian", "Somebody's")], "no custodian share"),
    (lambda vault, at: [share(vault, 1), readable(vault, at)], "read"),
])
def test_shares_that_make_no_secret_are_named(vault, tmp_path, make, words):
    files = [word for path in make(vault, tmp_path) for word in ("--share", path)]
    done = vault_command(vault, "--init-hsm", "b", *files)
    assert done.returncode == 1 and words in done.stderr, done.stderr


def changed(vault, at, line, to):
    path = at / "changed.txt"
    text = share(vault, 2).read_text()
    position = text.index(line) + (len(line) if line.endswith(": ") else 0)
    path.write_text(text[:position] + to + text[position + len(to):])
    path.chmod(0o400)
    return path


def readable(vault, at):
    path = at / "readable.txt"
    path.write_text(share(vault, 2).read_text())
    path.chmod(0o444)
    return path


def contents(vault, hsm):
    """{path: octets} of a token's directory; but for the token's own record, which SoftHSM2 writes anew at each log-in."""
    top = vault.dir / "hsm" / hsm / "tokens"
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file() and path.name != "token.object"}


def wiped_token(vault, hsm):
    """A token with its label and PIN and nothing in it, as a vendor's tool makes one."""
    made = run("softhsm2-util", "--init-token", "--free", "--label", f"chancery-{hsm}",
               "--pin", (vault.dir / "hsm" / hsm / "pin").read_text().strip(),
               "--so-pin", (vault.dir / "hsm" / hsm / "so-pin").read_text().strip(),
               env={**os.environ, "SOFTHSM2_CONF": str(vault.dir / "hsm" / hsm / "softhsm2.conf")})
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("other_hsm_there", (True, False))
def test_shares_of_another_suite_leave_the_token_as_it_was(vault, other_hsm_there):
    """Held against the other HSM; where that is gone too, against the seals of the database's keys."""
    assert vault.generate("issuer", "ecdsa-p256", "ocsp")["code"] == 0
    vault.stop()
    away = [(hsm, wipe(vault, hsm)) for hsm in (("b",) if other_hsm_there else ("a", "b"))]
    wiped_token(vault, "b")
    other = vault.dir / "other"
    try:
        (other / "hsm" / "tokens").mkdir(parents=True)
        (other / "shares").mkdir()
        (other / "softhsm2.conf").write_text(f"directories.tokendir = {other}/hsm/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        config = json.loads((vault.dir / "vault.yaml").read_text())
        config["hsms"] = [{**config["hsms"][0], "environment": [f"SOFTHSM2_CONF={other}/softhsm2.conf"],
                           "pin_file": str(other / "hsm" / "pin"), "paths": [str(other / "hsm"), str(other / "softhsm2.conf")]}]
        (other / "vault.yaml").write_text(json.dumps(config))
        made = run(BUILD / "bin" / "chancery-vault", "--config", other / "vault.yaml", "--init-hsms", "--share-directory", other / "shares")
        assert made.returncode == 0, made.stderr

        before = contents(vault, "b")
        done = vault_command(vault, "--init-hsm", "b", "--share", other / "shares" / "share-1.txt", "--share", other / "shares" / "share-2.txt")
        assert done.returncode == 1 and "the shares are of another suite" in done.stderr, done.stderr + done.stdout
        assert ("HSM 'a'" if other_hsm_there else "in the database") in done.stderr
        assert contents(vault, "b") == before, "the token was changed"

        done = vault_command(vault, "--init-hsm", "b", "--share", share(vault, 1), "--share", share(vault, 2))
        assert done.returncode == 0 and "initialised with the domain's keys" in done.stdout, done.stderr
    finally:
        shutil.rmtree(other)
        for hsm, tokens in away:
            shutil.rmtree(vault.dir / "hsm" / hsm / "tokens", ignore_errors=True)
            tokens.rename(vault.dir / "hsm" / hsm / "tokens")
        vault.start()


def test_custodians_with_certificates_get_encrypted_shares(tmp_path):
    directory, names = tmp_path / "shares", ("carla", "dora")
    directory.mkdir()
    for name in names:
        made = run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", tmp_path / f"{name}.key",
                   "-out", tmp_path / f"{name}.pem", "-days", "2")
        assert made.returncode == 0, made.stderr
    tokens = tmp_path / "hsm" / "tokens"
    tokens.mkdir(parents=True)
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    config = json.loads((pathlib.Path(CONFIG[0])).read_text())
    config["hsms"] = [{**config["hsms"][0], "environment": [f"SOFTHSM2_CONF={tmp_path}/softhsm2.conf"],
                       "pin_file": str(tmp_path / "hsm" / "pin"), "paths": [str(tmp_path / "hsm"), str(tmp_path / "softhsm2.conf")]}]
    (tmp_path / "vault.yaml").write_text(json.dumps(config))
    done = run(BUILD / "bin" / "chancery-vault", "--config", tmp_path / "vault.yaml", "--init-hsms", "--share-directory", directory,
               "--custodian", tmp_path / "carla.pem", "--custodian", tmp_path / "dora.pem")
    assert done.returncode == 0, done.stderr
    for number, name in enumerate(names, 1):
        opened = run("openssl", "cms", "-decrypt", "-inform", "PEM", "-in", directory / f"share-{number}.pem", "-recip",
                     tmp_path / f"{name}.pem", "-inkey", tmp_path / f"{name}.key")
        assert opened.returncode == 0 and opened.stdout.startswith("Chancery custodian share v1"), opened.stderr


CONFIG = []


@pytest.fixture(autouse=True)
def configuration(vault):
    CONFIG[:] = [vault.dir / "vault.yaml"]


def test_an_hsm_is_shut_out_and_let_in_but_never_the_last(vault):
    shut = hsm_command(vault, "disable", "b")
    assert shut.returncode == 0 and "HSM 'b' is shut out" in shut.stdout, shut.stderr
    last = hsm_command(vault, "disable", "a")
    assert last.returncode != 0 and "'a'" in last.stderr, last.stderr
    assert hsm_command(vault, "enable", "b").returncode == 0
    wait_for(lambda: vault.states()["b"] == "up", 30, "HSM b up again")
    nobody = hsm_command(vault, "disable", "c")
    assert "HSM 'c' is not in this vault's configuration" in nobody.stderr
    assert b"hsm.disabled" in vault.events() and b"hsm.enabled" in vault.events()


def test_a_token_that_has_no_pin_yet_is_waited_for(vault):
    """Its worker may start between a token's making and its PIN's: nothing was refused, so nobody has to see to it."""
    so_pin = (vault.dir / "hsm" / "b" / "so-pin").read_text().strip()
    kept = wipe(vault, "b")
    made = run("pkcs11-tool", "--module", MODULE, "--init-token", "--label", "chancery-b", "--so-pin", so_pin,
               env={**os.environ, "SOFTHSM2_CONF": str(vault.dir / "hsm" / "b" / "softhsm2.conf")})
    assert made.returncode == 0, made.stderr
    os.kill(vault.worker_pids()["b"], 9)
    wait_for(lambda: "CKR_USER_PIN_NOT_INITIALIZED" in status_of(vault, "b")["last_error"], 20, "a worker that found no PIN")

    done = vault_command(vault, "--init-hsm", "b", "--share", share(vault, 1), "--share", share(vault, 3))
    assert done.returncode == 0 and "initialised with the domain's keys" in done.stdout, done.stderr
    wait_for(lambda: status_of(vault, "b")["state"] == "up", 30, "HSM b up")

    shutil.rmtree(vault.dir / "hsm" / "b" / "tokens")
    kept.rename(vault.dir / "hsm" / "b" / "tokens")
    os.kill(vault.worker_pids()["b"], 9)
    wait_for(lambda: status_of(vault, "b")["state"] == "up" and private_keys(vault, "b"), 30, "HSM b up as before")


def status_of(vault, name):
    return next(hsm for hsm in vault.probe("operator", "status") if hsm["name"] == name)


def test_a_wiped_hsm_is_brought_back_under_load_without_a_failed_request(vault):
    keys = [vault.generate("issuer", algorithm, "ocsp") for algorithm in ("ecdsa-p256", "rsa-2048", "ecdsa-p384")]
    tbs = vault.file(lone.response_data(keys[0]))
    load = subprocess.Popen(vault.probe_command("ocsp", "load", keys[0]["key_id"], "ocsp", tbs, "--seconds", "25", "--callers", "8"),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    # The token is gone, and its worker with it.
    wipe(vault, "b")
    os.kill(vault.worker_pids()["b"], 9)
    wait_for(lambda: vault.states()["b"] != "up", 20, "HSM b lost")

    # Two custodians set it up; its worker comes back by itself.
    done = vault_command(vault, "--init-hsm", "b", "--share", share(vault, 1), "--share", share(vault, 3))
    assert done.returncode == 0 and "initialised with the domain's keys" in done.stdout, done.stderr
    again = vault_command(vault, "--init-hsm", "b", "--share", share(vault, 1), "--share", share(vault, 3))
    assert "left as it is" in again.stdout, again.stderr
    wait_for(lambda: vault.states()["b"] == "up", 30, "HSM b up with its new token")
    assert private_keys(vault, "b") == set()

    # Officers approve, and every key is copied to it.
    unapproved = hsm_command(vault, "replace", "b")
    assert unapproved.returncode != 0 and "chancery approve" in unapproved.stderr, unapproved.stderr
    action = vault.propose("operator", "replace-hsm", {"hsm": "b"})
    assert vault.approve(action, "officer")["code"] == 0
    filled = hsm_command(vault, "replace", "b")
    assert filled.returncode == 0, filled.stderr
    assert private_keys(vault, "b") == private_keys(vault, "a") >= {key["key_id"] for key in keys}
    assert f"copied now" in filled.stdout and b"hsm.replaced" in vault.events()

    seen = json.loads(load.communicate(timeout=60)[0])
    assert seen["errors"] == 0 and seen["signatures"] > 100, seen

    # B serves alone.
    assert hsm_command(vault, "disable", "a").returncode == 0
    for key in keys:
        tbs = lone.response_data(key)
        assert vault.sign("ocsp", key["key_id"], "ocsp", tbs)["code"] == 0
    assert hsm_command(vault, "enable", "a").returncode == 0
