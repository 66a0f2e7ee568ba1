# SPDX-License-Identifier: Apache-2.0
"""A suite whose CAs need two of three officers, through the `chancery` command and the REST interface: what waits for whom, what one
officer alone cannot do, and a quorum that is changed by the one in force. The vault's own refusals are in test_approvals.py."""
import concurrent.futures
import json
import re
import time

import pytest
from conftest import free_port, wait_for
from lone_vault import smart_card

FAILED, USAGE, NOT_FOUND, DENIED, UNAVAILABLE = 1, 2, 3, 4, 5
OFFICERS = ("officer", "officer-2", "officer-3")
DOCUMENT = 'name: {name}\nsubject: "CN={name},O=Example"\nkey: ecdsa-p256\nvalidity: 1y\n'


@pytest.fixture(scope="module")
def suite(new_suite):
    made = new_suite("--officers", "3", "--required", "2")
    made.start()
    return made


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "ca.yaml"
    path.write_text(DOCUMENT.format(name=f"two-{free_port()}"))
    return path


def as_officer(suite, officer, *words):
    certificate, key = suite.client(officer)
    return suite.cli(*words, env={"CHANCERY_CERT": certificate, "CHANCERY_KEY": key})


def waiting_action(said):
    """The id in "chancery approve ID"."""
    return re.search(r"chancery approve ([0-9a-f]{32})", said)[1]


def action(suite, action_id):
    answer = suite.api("GET", f"/v1/actions/{action_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def make_ca(suite, document):
    """Two officers take turns; each run goes on from where the last stopped."""
    for officer in ("officer", "officer-2", "officer"):
        done = as_officer(suite, officer, "ca", "create", "--yes", document, "--json")
        if done.code == 0:
            return json.loads(done.out)
        assert done.code == UNAVAILABLE, done.err
    raise AssertionError(done.err)


def events(suite, **query):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return suite.api("GET", f"/v1/audit/events?newest_first=true&{text}").json()["events"]


def test_quickstart_made_its_cas_with_two_officers(suite):
    used = suite.api("GET", "/v1/actions?state=used").json()["actions"]
    assert sorted(one["kind"] for one in used) == ["ca-certificate"] * 2 + ["generate-key"] * 2
    assert all(sorted(one["approved_by"]) == ["officer", "officer-2"] and one["approvals_required"] == 2 for one in used)


def test_one_officer_alone_makes_neither_key_nor_certificate(suite, document):
    name = document.read_text().split()[1]
    keys = suite.psql("SELECT count(*) FROM keys")
    for _ in range(2):  # running it again does not count twice
        done = as_officer(suite, "officer", "ca", "create", "--yes", document)
        assert done.code == UNAVAILABLE
        assert "generate-key waits for officers: 1 of 2 approved it (officer)" in done.err
    assert suite.psql("SELECT count(*) FROM keys") == keys
    assert suite.cli("ca", "show", name).code == NOT_FOUND

    # The second officer approves by the action's id alone; then there is a key, and the certificate waits.
    key_action = waiting_action(done.err)
    assert key_action in as_officer(suite, "officer-2", "approve").out
    approved = as_officer(suite, "officer-2", "approve", "--yes", key_action, "--json")
    assert approved.code == 0 and re.search(rf"^  label +{name}$", approved.err, re.M)
    assert json.loads(approved.out)["state"] == "approved"
    done = as_officer(suite, "officer", "ca", "create", "--yes", document)
    assert done.code == UNAVAILABLE and "ca-certificate waits for officers: 1 of 2" in done.err
    assert json.loads(suite.cli("ca", "show", name, "--json").out)["state"] == "pending"
    tbs_action = waiting_action(done.err)
    refused = suite.api("POST", f"/v1/cas/{name}/activation", json={"action": tbs_action})
    assert refused.status_code == 403 and "approved by 1 of the 2 officers that are required: officer" in refused.json()["detail"]
    refused = suite.api("POST", f"/v1/cas/{name}/activation", json={"action": key_action})
    assert refused.status_code == 403 and "generate-key" in refused.json()["detail"]

    # Another officer than the first two may be the second one.
    done = as_officer(suite, "officer-3", "ca", "create", "--yes", document, "--json")
    assert done.code == 0 and json.loads(done.out)["state"] == "active"
    assert action(suite, tbs_action)["approved_by"] == ["officer", "officer-3"]
    wait_for(lambda: {event["details"]["officer"] for event in events(suite, type="action.approved", subject=tbs_action)}
             == {"officer", "officer-3"}, 10, "both approvals in the audit log")
    for event in events(suite, type="action.approved", subject=tbs_action):  # not the gateway, which brought it
        assert event["actor"] == event["details"]["officer"] and event["details"]["through"] == "gateway/gateway-1"
    for kind in ("action.proposed", "action.used"):
        assert {event["actor"] for event in events(suite, type=kind, subject=tbs_action)} == {"officer"}


def test_it_can_wait_for_the_others(suite, document):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(as_officer, suite, "officer", "ca", "create", "--yes", document, "--wait", "--json")
        for _ in range(2):  # the key, then the certificate
            mine = wait_for(lambda: [one for one in suite.api("GET", "/v1/actions?state=open").json()["actions"]
                                     if one["approved_by"] == ["officer"] and document.read_text().split()[1] in one["document"]],
                            20, "an action that one officer approved")
            assert as_officer(suite, "officer-2", "approve", "--yes", mine[0]["id"]).code == 0
        assert waiting.result(30).code == 0


def test_check_signs_nothing(suite, document):
    done = as_officer(suite, "officer", "ca", "create", "--check", document)
    assert done.code == 0
    action_id = re.search(r"^  action +([0-9a-f]{32})$", done.err, re.M)[1]
    assert as_officer(suite, "officer", "approve", "--check", action_id).code == 0
    assert action(suite, action_id)["approved_by"] == []


def test_an_activation_that_is_repeated_after_a_crash_is_no_replay(suite, document):
    """The issuer may end between the vault's signature and its own commit: the CA is pending, the action used."""
    ca = make_ca(suite, document)
    used = next(one for one in suite.api("GET", "/v1/actions?state=used").json()["actions"]
                if one["kind"] == "ca-certificate" and f"subject: CN={ca['name']}," in one["document"])
    suite.psql("DELETE FROM certificates WHERE ca_id = (SELECT ca_id FROM cas WHERE name = %s)", [ca["name"]])
    suite.psql("UPDATE cas SET state = 'pending', certificate_der = NULL WHERE name = %s", [ca["name"]])
    again = suite.api("POST", f"/v1/cas/{ca['name']}/activation", json={"action": used["id"]})
    assert again.status_code == 200, again.text
    assert again.json()["state"] == "active"


def test_an_officers_key_may_be_in_a_token(suite, document, tmp_path, monkeypatch):
    """SoftHSM2 stands in for a smart card; who asks (the TLS client) and who approves are two keys then."""
    certificate, key = suite.client("officer-2")
    uri, environment = smart_card(tmp_path, key, "officer 2")
    monkeypatch.setenv("SOFTHSM2_CONF", environment["SOFTHSM2_CONF"])
    waits = as_officer(suite, "officer", "ca", "create", "--yes", document)
    action_id = waiting_action(waits.err)
    done = as_officer(suite, "officer", "approve", "--yes", action_id, "--officer-cert", certificate, "--officer-key", uri)
    assert done.code == 0, done.err
    assert action(suite, action_id)["approved_by"] == ["officer", "officer-2"]
    for wrong, said in ((uri.replace("officer%202", "nobody"), "no private key 'nobody'"), (uri.replace("card", "cord"), "no token 'cord'"),
                        (uri.replace("officer%202", "officer%2"), "not percent-encoded"), (uri.split("&")[0], "names no pin-source")):
        failed = as_officer(suite, "officer", "approve", "--yes", action_id, "--officer-cert", certificate, "--officer-key", wrong)
        assert failed.code != 0 and said in failed.err, failed.err
    (tmp_path / "pin").chmod(0o600)
    (tmp_path / "pin").write_text("000000")
    failed = as_officer(suite, "officer", "approve", "--yes", action_id, "--officer-cert", certificate, "--officer-key", uri)
    assert failed.code == DENIED and "refused the log-in" in failed.err


def test_a_requester_sees_no_action_and_approves_none(suite):
    certificate, key = suite.client("requester")
    environment = {"CHANCERY_CERT": certificate, "CHANCERY_KEY": key}
    assert suite.cli("approve", env=environment).code == DENIED
    assert suite.cli("approve", "0" * 32, env=environment).code == DENIED
    assert suite.cli("approve", "0" * 32).code == NOT_FOUND


def quorum_file(path, suite, required, officers):
    path.write_text(json.dumps({"required": required,
                                "officers": [{"certificate": suite.client(officer)[0]} for officer in officers]}))
    return path


def test_what_no_quorum_file_may_say(suite, tmp_path):
    for required, officers, said in [(3, OFFICERS[:2], "3 approvals required of 2 officers"), (1, ["requester"], "no officer"),
                                     (1, ["officer", "officer"], "named twice"), (0, ["officer"], "required")]:
        done = suite.cli("quorum", "change", quorum_file(tmp_path / "quorum.yaml", suite, required, officers))
        assert done.code != 0 and said in done.err


def test_the_quorum_changes_with_the_approvals_of_the_one_in_force(suite, document, tmp_path):
    before = json.loads(suite.cli("quorum", "show", "--json").out)
    assert (before["version"], before["required"], [one["name"] for one in before["officers"]]) == (1, 2, list(OFFICERS))

    # 1. Proposed by an operator at the vaults; it waits, and holds only after two of the old officers.
    file = quorum_file(tmp_path / "quorum.yaml", suite, 1, ["officer", "officer-2"])
    waits = suite.cli("quorum", "change", file)
    assert waits.code == UNAVAILABLE and "change-quorum waits for officers: 0 of 2 approved it" in waits.err
    change = waiting_action(waits.err)
    assert as_officer(suite, "officer-3", "approve", "--yes", change).code == 0
    assert suite.cli("quorum", "change", file).code == UNAVAILABLE
    assert json.loads(suite.cli("quorum", "show", "--json").out) == before
    assert as_officer(suite, "officer", "approve", "--yes", change).code == 0
    done = suite.cli("quorum", "change", file, "--json")
    assert done.code == 0, done.err
    after = json.loads(done.out)
    assert (after["version"], after["required"], [one["name"] for one in after["officers"]]) == (2, 1, ["officer", "officer-2"])
    assert "in force already" in suite.cli("quorum", "change", file).err
    changed = wait_for(lambda: events(suite, type="quorum.changed"), 10, "the change in the audit log")[0]
    assert changed["details"] == {"version": "2", "approved_by": "officer-3 officer"}

    # 2. Who left approves nothing any more, and is told so; one officer is enough now.
    done = as_officer(suite, "officer-3", "ca", "create", "--yes", document)
    assert done.code == DENIED and "'officer-3' is not one of the quorum's 2 officers" in done.err
    assert as_officer(suite, "officer", "ca", "create", "--yes", document).code == 0
    end = time.monotonic() + 10
    while not (refused := [event for event in events(suite, type="vault.refused") if event["details"]["reason"] == "approval-officer"]):
        assert time.monotonic() < end, "the refusal is not in the audit log"
    assert "officer-3" in refused[0]["details"]["message"]
