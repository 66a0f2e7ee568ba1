# SPDX-License-Identifier: Apache-2.0
"""What a vault knows changes while it is used: keys' states, policies and last numbers, the quorum, data keys, quotas; through two vaults
at once, for CHANCERY_FAULT_SECONDS (10). Nobody sees an error that is none, and nothing is spent twice. tests/threads --load runs it with
ThreadSanitizer."""
import concurrent.futures
import json
import os
import subprocess
import time

import pytest

import lone_vault as lone
from conftest import BUILD
from lone_vault import LoneVault, SecondVault, crl_tbs, response_data
from test_vault_policy import command, with_officer

SECONDS = int(os.environ.get("CHANCERY_FAULT_SECONDS", "10"))
DENIED, CONFLICT, REPLAYED = 2, 5, 9
QUOTA = 300


@pytest.fixture(scope="module")
def vaults():
    """Two to ask; their officers are officer and, by turns, second."""
    first = LoneVault()
    second = SecondVault(first)
    second.start()
    yield first, second.ask
    second.kill()
    first.stop()
    logs = "".join(path.read_text(errors="replace") for path in first.dir.glob("vault*.log"))
    first.remove()
    assert "Sanitizer" not in logs and "runtime error:" not in logs, logs[max(0, logs.find("Sanitizer") - 500):][:6000]


class Background:
    """A program that runs for SECONDS and prints one JSON object."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)

    def result(self):
        out, _ = self.process.communicate(timeout=SECONDS + 120)
        assert self.process.returncode == 0, "a sanitizer's finding, or no answer at all"
        return json.loads(out)


class Storm:
    """Each asks for what it may: a gateway for secrets, an operator for keys."""

    def __init__(self, vaults):
        first = vaults[0]
        self.parts = [Background(BUILD / "tests" / "vaultstorm", first.dir / "identity" / identity, first.dir / "pki" / "system-ca.pem",
                                 "default", SECONDS, operations, *(f"127.0.0.1:{vault.port}" for vault in vaults))
                      for identity, operations in (("gateway-1", "secret,random"), ("operator-1", "rotate,keys,quorum"))]

    def result(self):
        found = {}
        for part in self.parts:
            found |= {name: operation for name, operation in part.result().items() if operation["done"] or operation["errors"]}
        assert set(found) == {"secret", "quorum", "random", "rotate", "keys"}
        return found


def storm(vaults):
    return Storm(vaults)


def load(vaults, key, *words):
    first, second = vaults
    return Background(*first.probe_command("ocsp", "load", key["key_id"], "ocsp", first.file(response_data(key)), "--seconds", SECONDS,
                                           "--callers", 8, "--vault", f"127.0.0.1:{second.port}", *words))


def make_key(vaults, *words):
    key = vaults[0].generate("issuer", "ecdsa-p256", "ocsp", *words)
    assert key["code"] == 0, key
    return key


# --- what changes ---


def change_quorum(vaults, version):
    """The version after this one, with one officer or with two; either approves alone."""
    vault = vaults[version % 2]
    names = ("officer", "second")[:1 + version % 2]
    officers = [f"{name}={vault.public_key_digest(name)}" for name in names]
    action = vault.approved("change-quorum", {"version": version + 1, "required": 1, "officers": ",".join(officers)}, service="operator")
    answer = vault.probe("operator", "change-quorum", version + 1, 1, *officers, "--action", action)[0]
    assert answer["code"] == 0 and answer["version"] == version + 1, answer


def change_state(vaults, key, turn):
    """Suspended through one vault, activated again through the other."""
    done = command(vaults[turn % 2], "suspend", key["key_id"])
    assert done.returncode == 0, done.stderr
    with_officer(vaults[(turn + 1) % 2], "activate", key["key_id"])


def change_policy(vaults, key, turn):
    with_officer(vaults[turn % 2], "set-policy", key["key_id"], "--audit", ("each", "summary")[turn % 2])


def use_once(vaults, ca, turn):
    """An approved action is asked for through both vaults at the same moment, by messages that differ: one does it."""
    tbs = lone.ca_tbs(ca, ca, days=100 + turn)
    action = vaults[0].approve_certificate(ca["key_id"], tbs)
    codes = at_once(lambda vault, _: vault.sign("issuer", ca["key_id"], "ca-certificate", tbs, action=action)["code"], vaults)
    assert codes == [0, REPLAYED, REPLAYED, REPLAYED], codes


def number_once(vaults, ca, turn):
    """CRLs of one number that differ: one is signed."""
    codes = at_once(lambda vault, i: vault.sign("crl", ca["key_id"], "crl", crl_tbs(ca["name"], turn + 1, hours=1 + i))["code"], vaults)
    assert codes == [0, DENIED, DENIED, DENIED], codes


def make_and_destroy(vaults, turn):
    """Made and used through both, destroyed through one; then it signs nothing through either."""
    key = make_key(vaults)
    tbs = response_data(key)
    assert at_once(lambda vault, _: vault.sign("ocsp", key["key_id"], "ocsp", tbs)["code"], vaults) == [0, 0, 0, 0]
    for order in ("retire", "destroy"):
        with_officer(vaults[turn % 2], order, key["key_id"])
    time.sleep(1.1)  # a row may be believed for a second
    assert at_once(lambda vault, _: vault.sign("ocsp", key["key_id"], "ocsp", tbs)["code"], vaults) == [CONFLICT] * 4


def at_once(ask, vaults):
    """What four threads are answered, two for each vault, sorted."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return sorted(pool.map(ask, (*vaults, *vaults), range(4)))


def repeat(until, once, *arguments, start=0):
    """How often it was done before the time was up; at least once."""
    turn = start
    while turn == start or time.monotonic() < until:
        once(*arguments, turn)
        turn += 1
    return turn - start


def spend_the_rest(vaults, key):
    """What a slow machine left of a key's quota: how many signatures each vault still gave, and the last refusal."""
    tbs = response_data(key)
    given = 0
    for vault in vaults:
        while (answer := vault.sign("ocsp", key["key_id"], "ocsp", tbs))["code"] == 0:
            given += 1
            assert given <= QUOTA + 1
    return given, answer


def test_what_changes_under_load_costs_nobody_an_error(vaults, capsys):
    steady, changing, audited = (make_key(vaults) for _ in range(3))
    limited = make_key(vaults, "--quota", QUOTA, 1)
    ca = vaults[0].make_ca("Raced CA")
    until = time.monotonic() + SECONDS
    background = {"storm": storm(vaults), "steady": load(vaults, steady, "--rate", 100), "changing": load(vaults, changing, "--rate", 50),
                  "audited": load(vaults, audited, "--rate", 50), "limited": load(vaults, limited)}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        changes = {"quorums": pool.submit(lambda: repeat(until, lambda turn: change_quorum(vaults, turn), start=1)),
                   "states": pool.submit(repeat, until, change_state, vaults, changing),
                   "policies": pool.submit(repeat, until, change_policy, vaults, audited),
                   "actions": pool.submit(repeat, until, use_once, vaults, ca),
                   "numbers": pool.submit(repeat, until, number_once, vaults, ca),
                   "destroyed": pool.submit(repeat, until, make_and_destroy, vaults)}
    seen = {name: each.result() for name, each in background.items()}
    done = {name: each.result() for name, each in changes.items()}
    with capsys.disabled():
        print(f"\nraces: {done}; {seen['storm']}; " + ", ".join(f"{name}: {seen[name]['signatures']}" for name in list(seen)[1:]))

    for name, operation in seen["storm"].items():
        assert operation["errors"] == 0 and operation["done"] > 0, (name, operation)
    for name in ("steady", "audited"):
        assert seen[name]["errors"] == 0 and seen[name]["signatures"] > 0, (name, seen[name])
    assert seen["changing"]["signatures"] > 0
    assert seen["changing"]["errors"] == 0 or "is suspended" in seen["changing"]["first_error"], seen["changing"]
    # Never more than the quota; what a vault has fetched and not spent, it may keep.
    rest, refusal = spend_the_rest(vaults, limited)
    assert 0.8 * QUOTA < seen["limited"]["signatures"] + rest <= QUOTA + 1, (seen["limited"], rest)
    assert f"its quota of {QUOTA} signatures" in refusal["message"], refusal
