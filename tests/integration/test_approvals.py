# SPDX-License-Identifier: Apache-2.0
"""What needs officers: M of N of the sealed quorum sign one action's document, the vault counts them itself, once. Each way around it
is refused with its own words and its own event. Officers' signatures are made with python3-cryptography."""
import datetime
import itertools
import os
import pty
import subprocess
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import lone_vault as lone
from conftest import wait_for
from lone_vault import LoneVault, name

DAYS = itertools.count(100)
DENIED, NOT_FOUND, CONFLICT, EXPIRED, REPLAYED, INVALID = 2, 4, 5, 8, 9, 1


@pytest.fixture(scope="module")
def vault():
    made = LoneVault(required=2, officers=("officer", "second", "third"), extra_officers=("third", "outsider"))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def root(vault):
    ca = generate(vault, "Approved Root", by=("officer", "second"))
    assert ca["code"] == 0, ca
    ca["name"] = name("Approved Root")
    return ca


def key_fields(cn):
    return {"label": cn, "algorithm": "ecdsa-p256", "purposes": lone.CA_PURPOSES, "subject": f"CN={cn}"}


def ask_for_key(vault, cn, action, *words):
    return vault.probe("issuer", "generate", "ecdsa-p256", lone.CA_PURPOSES, "--subject", vault.file(name(cn).public_bytes()),
                       "--label", cn, "--action", action, *words)[0]


def generate(vault, cn, by):
    return ask_for_key(vault, cn, vault.approved("generate-key", key_fields(cn), by))


def refused(vault, result, words, code, event):
    """Refused with these words and recorded with this reason."""
    assert result["code"] == code and words in result["message"], result
    wait_for(lambda: event.encode() in vault.events(), 5, f"an event with reason {event}")


def sign(vault, root, tbs, action=None, *words):
    return vault.probe("issuer", "sign", root["key_id"], "ca-certificate", vault.file(tbs), *(("--action", action) if action else ()),
                       *words)[0]


@pytest.fixture
def tbs(root):
    """Another certificate of the root for itself each time."""
    return lone.ca_tbs(root, root, days=next(DAYS))


# --- what is approved is done ---


def test_two_of_three_officers_make_a_key_and_its_certificate(vault, root, tbs):
    action = vault.approve_certificate(root["key_id"], tbs, by=("second", "third"))
    assert sign(vault, root, tbs, action)["code"] == 0
    shown = vault.probe("gateway", "action", action)[0]
    assert shown["state"] == "used" and sorted(shown["approved_by"]) == ["second", "third"] and shown["required"] == 2


def test_the_document_says_what_will_be_done(vault, root, tbs):
    fields = vault.certificate_fields(root["key_id"], tbs)
    document = bytes.fromhex(vault.propose("issuer", "ca-certificate", fields)["document"]).decode()
    lines = document.splitlines()
    assert lines[0] == "Chancery action v2" and lines[1] == "action: ca-certificate" and lines[3] == "tenant: default"
    assert lines[6:9] == ["proposed-by: -", "proposed-through: issuer/issuer-1", "proposed-from: -"]
    assert lines[9:13] == [f"{field}: {value}" for field, value in fields.items()]
    about = dict(line.split(": ", 1) for line in lines[13:])  # of "key: f6529ff8…" whose it is, from the vault's sealed row
    assert about["about-key-label"] == "Approved Root" and about["about-key-state"] == "active"
    assert about["about-key-subject"] == root["name"].rfc4514_string() and "ca-certificate" in about["about-key-purposes"]


def test_a_person_who_proposes_is_named_with_the_address_that_the_vault_sees(vault, root):
    document = bytes.fromhex(vault.propose("operator", "export-key", {"key": root["key_id"]})["document"]).decode()
    assert "\nproposed-by: operator-1\nproposed-through: operator/operator-1\nproposed-from: 127.0.0.1\n" in document


# --- an officer sees what is signed ---


def approve_words(vault, action):
    return [str(word) for word in (lone.BUILD / "bin" / "chancery", "vault", "approve", action, "--officer-cert", vault.dir / "officer.pem",
                                   "--officer-key", vault.dir / "officer.key", *lone.connection(vault))]


def on_terminal(vault, action, answer):
    """`chancery vault approve` on a terminal of its own, where `answer` is typed: (exit code, what was shown)."""
    process, terminal = pty.fork()
    if process == 0:
        words = approve_words(vault, action)
        os.execv(words[0], words)
    os.write(terminal, answer)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # its end
            break
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


def test_an_officer_is_shown_what_is_signed_and_asked(vault, root):
    action = vault.propose("operator", "export-key", {"key": root["key_id"]})["id"]
    code, shown = on_terminal(vault, action, b"n\n")
    assert code != 0 and "not approved" in shown and "Approve this as 'officer'? y/N" in shown
    assert "proposed by" in shown and "about-key-label" in shown and "Approved Root" in shown
    blind = subprocess.run(approve_words(vault, action), capture_output=True, text=True, timeout=60, check=False,
                           stdin=subprocess.DEVNULL)
    assert blind.returncode != 0 and "--yes" in blind.stderr
    assert vault.probe("operator", "action", action)[0]["approved_by"] == []
    code, shown = on_terminal(vault, action, b"y\n")
    assert code == 0, shown
    assert vault.probe("operator", "action", action)[0]["approved_by"] == ["officer"]


def test_what_cannot_be_shown_is_not_signed(vault, root, tbs):
    """Proposed without the octets, an officer's tool has a digest alone; with others than the document's, the vault refuses."""
    action = vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], tbs))["id"]
    code, shown = on_terminal(vault, action, b"y\n")
    assert code != 0 and "it is not approved" in shown
    fields = vault.certificate_fields(root["key_id"], tbs)
    assert "tbs-sha256" in vault.propose("issuer", "ca-certificate", fields, "--content", vault.file(tbs + b"x"))["message"]
    assert vault.propose("issuer", "ca-certificate", fields, "--content", vault.file(tbs))["id"] == action
    code, shown = on_terminal(vault, action, b"y\n")
    assert code == 0 and "CA:TRUE" in shown and root["name"].rfc4514_string() in shown, shown


def test_an_open_action_is_answered_again_and_no_second_one_made(vault, root, tbs):
    fields = vault.certificate_fields(root["key_id"], tbs)
    assert vault.propose("issuer", "ca-certificate", fields)["id"] == vault.propose("operator", "ca-certificate", fields)["id"]


def test_a_repeated_message_is_no_replay(vault, root, tbs):
    action = vault.approve_certificate(root["key_id"], tbs, by=("officer", "second"))
    again = ["--message-id", uuid.uuid4().hex]
    assert sign(vault, root, tbs, action, *again)["code"] == 0
    assert sign(vault, root, tbs, action, *again)["code"] == 0


# --- refused ---


def test_without_an_action(vault, root, tbs):
    refused(vault, sign(vault, root, tbs), "needs officers' approvals", DENIED, "approval-missing")
    refused(vault, sign(vault, root, tbs, "f" * 32), "no such action", NOT_FOUND, "approval-missing")
    refused(vault, ask_for_key(vault, "Unapproved CA", ""), "needs officers' approvals", DENIED, "approval-quorum")


def test_a_replayed_approval(vault, root, tbs):
    action = vault.approve_certificate(root["key_id"], tbs, by=("officer", "second"))
    assert sign(vault, root, tbs, action)["code"] == 0
    refused(vault, sign(vault, root, tbs, action), "was used before", REPLAYED, "approval-used")
    # A database administrator sets it back: this process still knows.
    vault.psql(f"UPDATE actions SET used_at = NULL, used_by = NULL WHERE action_id = '{action}'")
    refused(vault, sign(vault, root, tbs, action), "was used before", REPLAYED, "approval-used")


def test_one_approval_of_two(vault, root, tbs):
    action = vault.approve_certificate(root["key_id"], tbs, by=("officer",))
    refused(vault, sign(vault, root, tbs, action), "approved by 1 of the 2 officers that are required: officer", DENIED, "approval-count")


def test_twice_the_same_officer(vault, root, tbs):
    action = vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], tbs))
    assert vault.approve(action, "officer")["code"] == 0
    refused(vault, vault.approve(action, "officer"), "officer 'officer' has approved action", CONFLICT, "approval-twice")
    # Also with a second row that the database was given under another name.
    vault.psql(f"INSERT INTO action_approvals SELECT action_id, 'second', certificate, signature, approved_at FROM action_approvals "
               f"WHERE action_id = '{action['id']}'")
    refused(vault, sign(vault, root, tbs, action["id"]), "approved by 1 of the 2", DENIED, "approval-count")


def test_an_approval_for_other_bytes(vault, root, tbs):
    other = lone.ca_tbs(root, root, days=next(DAYS))
    action = vault.approve_certificate(root["key_id"], other, by=("officer", "second"))
    refused(vault, sign(vault, root, tbs, action), "approved is tbs-sha256", DENIED, "approval-content")
    # Nor does an approved key generation make a certificate.
    key_action = vault.approved("generate-key", key_fields("Another Key"), by=("officer", "second"))
    refused(vault, sign(vault, root, tbs, key_action), "the approved action is generate-key, not ca-certificate", DENIED,
            "approval-content")
    refused(vault, ask_for_key(vault, "Yet Another Key", key_action), "approved is label 'Another Key'", DENIED, "approval-content")


def test_an_expired_approval(vault, root, tbs):
    action = vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], tbs), "--seconds", "60")
    for operator in ("officer", "second"):
        assert vault.approve(action, operator)["code"] == 0
    # The document itself is the clock's: a row that says otherwise changes nothing, and no minute is waited for here.
    forged = bytes.fromhex(action["document"]).decode()
    created = [line for line in forged.splitlines() if line.startswith("created: ")][0]
    vault.psql(f"UPDATE actions SET document = convert_to(replace(convert_from(document, 'UTF8'), '{created}', "
               f"'created: 2020-01-01T00:00:00Z'), 'UTF8') WHERE action_id = '{action['id']}'")
    refused(vault, sign(vault, root, tbs, action["id"]), "valid for over 7 days", EXPIRED, "approval-expired")
    expires = [line for line in forged.splitlines() if line.startswith("expires: ")][0]
    vault.psql(f"UPDATE actions SET document = convert_to(replace(convert_from(document, 'UTF8'), '{expires}', "
               f"'expires: 2020-01-02T00:00:00Z'), 'UTF8') WHERE action_id = '{action['id']}'")
    refused(vault, sign(vault, root, tbs, action["id"]), "expired at 2020-01-02T00:00:00Z", EXPIRED, "approval-expired")


def test_a_document_changed_after_it_was_signed(vault, root, tbs):
    other = lone.ca_tbs(root, root, days=next(DAYS))
    action = vault.approve_certificate(root["key_id"], other, by=("officer", "second"))
    wrong, right = (vault.certificate_fields(root["key_id"], octets) for octets in (other, tbs))
    for field in ("tbs-sha256", "not-after"):
        vault.psql(f"UPDATE actions SET document = convert_to(replace(convert_from(document, 'UTF8'), '{wrong[field]}', "
                   f"'{right[field]}'), 'UTF8') WHERE action_id = '{action}'")
    refused(vault, sign(vault, root, tbs, action), "is not over this document", DENIED, "approval-signature")


def test_an_approval_copied_under_another_officers_name_counts_once(vault, root, tbs):
    action = vault.approve_certificate(root["key_id"], tbs, by=("officer",))
    vault.psql("INSERT INTO action_approvals SELECT action_id, 'second', certificate, signature, approved_at FROM action_approvals "
               f"WHERE action_id = '{action}'")
    refused(vault, sign(vault, root, tbs, action), "approved by 1 of the 2 officers that are required: officer", DENIED, "approval-count")


def test_an_edited_approval(vault, root, tbs):
    action = vault.approve_certificate(root["key_id"], tbs, by=("officer", "second"))
    vault.psql(f"UPDATE action_approvals SET signature = set_byte(signature, 12, get_byte(signature, 12) # 1) "
               f"WHERE action_id = '{action}' AND officer = 'second'")
    refused(vault, sign(vault, root, tbs, action), "1 of 2 approvals: the signature of officer 'second' is not over this document", DENIED, "approval-signature")


def reissue(vault, operator, begin, end):
    """A certificate of the operators' CA with the operator's own name and key, and other dates."""
    old = x509.load_pem_x509_certificate((vault.dir / f"{operator}.pem").read_bytes())
    ca = serialization.load_pem_private_key((vault.dir / "pki" / "operators-ca.key").read_bytes(), None)
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), x509.random_serial_number(), begin, end)
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(ca, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_an_officers_certificate_that_ended_or_has_not_begun(vault, root, tbs):
    action = vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], tbs))
    _, signature = vault.signature_of("officer", bytes.fromhex(action["document"]))
    day = datetime.timedelta(days=1)
    for begin, end, said in ((-2 * day, -day, "certificate has expired"), (day, 2 * day, "certificate is not yet valid")):
        certificate = reissue(vault, "officer", lone.now() + begin, lone.now() + end)
        answer = vault.probe("gateway", "approve", action["id"], vault.file(certificate), vault.file(signature))[0]
        refused(vault, answer, said, DENIED, "approval-officer")
    renewed = reissue(vault, "officer", lone.now() - day, lone.now() + day)  # with the same key: the quorum knows it
    assert vault.probe("gateway", "approve", action["id"], vault.file(renewed), vault.file(signature))[0]["code"] == 0


def test_a_key_may_want_more_officers_than_the_quorum(vault):
    action = vault.approved("generate-key", key_fields("Three Root"), ("officer", "second"))
    key = ask_for_key(vault, "Three Root", action, "--approvals", "3")
    assert key["code"] == 0, key
    key["name"] = name("Three Root")
    octets = lone.ca_tbs(key, key)
    proposed = vault.propose("issuer", "ca-certificate", vault.certificate_fields(key["key_id"], octets))
    assert proposed["required"] == 3
    for operator in ("officer", "second"):
        assert vault.approve(proposed, operator)["state"] == "open"
    refused(vault, sign(vault, key, octets, proposed["id"]), "approved by 2 of the 3 officers", DENIED, "approval-count")
    assert vault.approve(proposed, "third")["state"] == "approved"
    assert sign(vault, key, octets, proposed["id"])["code"] == 0


def test_a_key_that_officers_approved_is_audited_one_by_one(vault):
    """The issuer may narrow what the key may do, but not leave its certificates out of the record."""
    action = vault.approved("generate-key", key_fields("Quiet Root"), ("officer", "second"))
    answer = ask_for_key(vault, "Quiet Root", action, "--audit", "summary")
    assert answer["code"] == DENIED and "each signature audited" in answer["message"]
    assert ask_for_key(vault, "Quiet Root", action)["code"] == 0


def test_who_is_no_officer_of_the_quorum(vault, root, tbs):
    action = vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], tbs))
    refused(vault, vault.approve(action, "requester"), "operator 'requester' is no officer", DENIED, "approval-officer")
    refused(vault, vault.approve(action, "outsider"), "'outsider' is not one of the quorum's 3 officers", DENIED, "approval-officer")


def test_an_officers_name_from_the_operators_ca_with_another_key(vault, root, tbs):
    """Who has the operators' CA can make a second 'officer', and is no officer by it."""
    vault._chancery("operator", "issue", "--directory", vault.dir / "pki", "--name", "officer", "--role", "officer", "--out",
                    vault.dir / "impostor")
    action = vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], tbs))
    refused(vault, vault.approve(action, "impostor"), "'officer' signed with another key", DENIED, "approval-officer")


def test_another_tenants_action(vault, root, tbs):
    action = vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], tbs))
    assert vault.approve(action, "officer", tenant="other")["code"] == NOT_FOUND


def test_fields_that_no_document_can_hold(vault):
    for fields, words in (({"hsm": "a\nb"}, "control character"), ({"key": "x"}, "wants the field 'hsm'"), ({}, "wants the field 'hsm'"),
                          ({"hsm": "a", "more": "x"}, "has no field 'more'"), ({"hsm": "x" * 3000}, "3000 octets")):
        answer = vault.propose("operator", "replace-hsm", fields)
        assert answer["code"] == INVALID and words in answer["message"], answer


# --- a CA is stopped by anyone, and started again, retired and revoked by officers alone ---


def change_ca(vault, ca, state, *words, service="issuer", cn=None):
    return vault.probe(service, "change-ca", ca["key_id"], cn or ca["cn"], state, *words)[0]


def ca_fields(vault, ca, state, certificate="-", reason="-"):
    version = vault.psql(f"SELECT policy_version FROM keys WHERE key_id = '{ca['key_id']}'") if state != "revoked" else "-"
    return {"ca": ca["cn"], "to": state, "key": ca["key_id"], "policy-version": version, "certificate": certificate, "reason": reason}


@pytest.fixture
def stoppable(vault):
    cn = f"Stoppable {next(DAYS)}"
    ca = generate(vault, cn, by=("officer", "second")) | {"name": name(cn), "cn": cn}
    tbs = lone.ca_tbs(ca, ca)
    assert sign(vault, ca, tbs, vault.approve_certificate(ca["key_id"], tbs, by=("officer", "second")))["code"] == 0
    return ca


def issues(vault, ca):
    return vault.sign("issuer", ca["key_id"], "end-entity-certificate", lone.end_entity_tbs(ca["name"]))


def test_a_stopped_ca_tells_status_and_issues_nothing(vault, stoppable):
    assert issues(vault, stoppable)["code"] == 0
    assert change_ca(vault, stoppable, "suspended")["code"] == 0
    assert change_ca(vault, stoppable, "suspended")["code"] == 0  # again
    answer = issues(vault, stoppable)
    assert answer["code"] == CONFLICT and "is stopped and certifies OCSP responders alone" in answer["message"], answer
    tbs = lone.ca_tbs(stoppable, stoppable, days=next(DAYS))
    approved = vault.approve_certificate(stoppable["key_id"], tbs, by=("officer", "second"))
    assert sign(vault, stoppable, tbs, approved)["code"] == CONFLICT
    assert vault.sign("crl", stoppable["key_id"], "crl", lone.crl_tbs(stoppable["name"], 1))["code"] == 0
    responder = vault.generate("issuer", "ecdsa-p256", "ocsp")
    ocsp = (x509.CertificateBuilder().issuer_name(stoppable["name"]).subject_name(name("Responder"))
            .public_key(lone.public_key(responder)).serial_number(x509.random_serial_number())
            .not_valid_before(lone.now().replace(tzinfo=None))
            .not_valid_after((lone.now() + datetime.timedelta(days=10)).replace(tzinfo=None))
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), True)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.OCSP_SIGNING]), False)
            .sign(lone.THROWAWAY, hashes.SHA256()).tbs_certificate_bytes)
    assert vault.sign("issuer", stoppable["key_id"], "end-entity-certificate", ocsp)["code"] == 0


def test_a_taken_over_issuer_starts_nothing_again(vault, stoppable):
    assert change_ca(vault, stoppable, "suspended")["code"] == 0
    fields = ca_fields(vault, stoppable, "active")
    answer = change_ca(vault, stoppable, "active")
    assert answer["code"] == DENIED and "needs officers' approval" in answer["message"], answer
    one = vault.approved("change-ca-state", fields, by=("officer",))
    refused(vault, change_ca(vault, stoppable, "active", "--action", one), "approved by 1 of the 2 officers", DENIED, "approval-count")
    # what is approved for one CA, state or key is no other's
    other = vault.approved("change-ca-state", fields | {"to": "retired"}, by=("officer", "second"))
    refused(vault, change_ca(vault, stoppable, "active", "--action", other), "approved is to 'retired'", DENIED, "approval-content")
    answer = change_ca(vault, stoppable, "active", "--action", one, cn="Another CA")
    assert answer["code"] == DENIED and "was made for CA" in answer["message"], answer
    for service in ("crl", "ocsp", "gateway", "operator"):
        assert change_ca(vault, stoppable, "active", service=service)["code"] == DENIED
    assert issues(vault, stoppable)["code"] == CONFLICT
    # what was approved for the key as it was is not for the key as it is
    stale = vault.approved("change-ca-state", fields, by=("second", "third"))
    fresh = vault.approved("change-ca-state", fields, by=())
    assert stale == fresh == one  # the open action is the same one
    assert change_ca(vault, stoppable, "active", "--action", one)["code"] == 0
    assert issues(vault, stoppable)["code"] == 0
    assert change_ca(vault, stoppable, "suspended")["code"] == 0
    assert change_ca(vault, stoppable, "active", "--action", one)["code"] == DENIED  # policy-version
    assert issues(vault, stoppable)["code"] == CONFLICT


def test_two_officers_revoke_a_ca_and_its_key_is_never_certified_again(vault, stoppable):
    fields = ca_fields(vault, stoppable, "revoked", "4a01", "cACompromise")
    action = vault.approved("change-ca-state", fields, by=("officer", "third"))
    refused(vault, change_ca(vault, stoppable, "revoked", "4a01", "superseded", "--action", action), "approved is reason", DENIED,
            "approval-content")
    wanted = ("revoked", "4a01", "cACompromise", "--action", action)
    same = ("--message-id", "5a" * 16)
    assert change_ca(vault, stoppable, *wanted, *same)["code"] == 0
    assert change_ca(vault, stoppable, *wanted, *same)["code"] == 0  # after a crash
    assert change_ca(vault, stoppable, *wanted)["code"] == REPLAYED
    row = vault.psql(f"SELECT k.state, c.source, c.tenant_id FROM keys k JOIN compromised_keys c USING (public_key_sha256)"
                     f" WHERE key_id = '{stoppable['key_id']}'")
    assert row == "compromised|vault|"
    assert issues(vault, stoppable)["code"] == CONFLICT


def test_a_key_that_somebody_else_found_compromised_is_not_certified(vault, root):
    """The table is the issuers' too: a holder's proof, a revocation."""
    ca = generate(vault, "Stolen Below", by=("officer", "second")) | {"name": name("Stolen Below")}
    vault.psql("INSERT INTO compromised_keys (public_key_sha256, source)"
               f" SELECT public_key_sha256, 'holder' FROM keys WHERE key_id = '{ca['key_id']}'")
    tbs = lone.ca_tbs(root, ca, days=20)
    own = lone.ca_tbs(ca, ca, days=20)
    for signer, made in ((root, tbs), (ca, own)):
        answer = sign(vault, signer, made, vault.approve_certificate(signer["key_id"], made, by=("officer", "second")))
        assert answer["code"] == CONFLICT and "is known to be compromised: no certificate is made for it" in answer["message"], answer


# --- the quorum itself ---


def quorum_row(vault):
    return vault.psql("SELECT version || ' ' || encode(quorum, 'hex') || ' ' || encode(seal, 'hex') FROM quorums WHERE tenant_id = 'default'")


def put_quorum_row(vault, row):
    version, quorum, seal = row.split()
    vault.psql(f"UPDATE quorums SET version = {version}, quorum = decode('{quorum}', 'hex'), seal = decode('{seal}', 'hex') "
               "WHERE tenant_id = 'default'")


def test_an_edited_quorum_approves_nothing(vault, root, tbs):
    action = vault.approve_certificate(root["key_id"], tbs, by=("officer", "second"))
    kept = quorum_row(vault)
    version, quorum, seal = kept.split()
    assert quorum[:8] == "08011002"  # version 1, required 2
    put_quorum_row(vault, f"{version} 08011001{quorum[8:]} {seal}")  # one is enough
    refused(vault, sign(vault, root, tbs, action), "changed outside the vault", DENIED, "approval-quorum")
    put_quorum_row(vault, kept)
    assert sign(vault, root, tbs, action)["code"] == 0


def test_a_deleted_quorum_approves_nothing_and_the_daemon_makes_no_new_one(vault, root, tbs):
    action = vault.approve_certificate(root["key_id"], tbs, by=("officer", "second"))
    kept = quorum_row(vault)
    vault.psql("DELETE FROM quorums")
    refused(vault, sign(vault, root, tbs, action), "has no quorum of officers", DENIED, "approval-quorum")
    version, quorum, seal = kept.split()
    vault.psql(f"INSERT INTO quorums (tenant_id, version, quorum, seal) VALUES ('default', {version}, decode('{quorum}', 'hex'), "
               f"decode('{seal}', 'hex'))")
    assert sign(vault, root, tbs, action)["code"] == 0


def test_a_second_first_quorum_is_refused(vault):
    with pytest.raises(AssertionError, match="has a quorum already: its officers change it"):
        vault.init_quorum(1, ("outsider",))


def test_what_no_quorum_can_be(vault):
    for required, officers, words in ((3, ("officer", "second"), "3 approvals required of 2 officers"),
                                      (1, ("officer", "officer"), "named twice"), (1, ("requester",), "is no officer"),
                                      (0, ("officer",), "required")):
        with pytest.raises(AssertionError, match=words):
            vault.init_quorum(required, officers)


def test_the_old_quorum_changes_it_and_the_older_row_does_not_come_back(vault, root, tbs):
    """Last: afterwards only outsider and second approve."""
    officers = {operator: vault.public_key_digest(operator) for operator in ("outsider", "second")}
    fields = {"version": "2", "required": "1", "officers": ",".join(f"{operator}={digest}" for operator, digest in officers.items())}
    words = ["change-quorum", "2", "1", *(f"{operator}={digest}" for operator, digest in officers.items())]

    one = vault.propose("operator", "change-quorum", fields)
    vault.approve(one, "second")
    answer = vault.probe("operator", *words, "--action", one["id"])[0]
    refused(vault, answer, "approved by 1 of the 2 officers", DENIED, "approval-count")

    old = quorum_row(vault)
    vault.approve(one, "third")
    answer = vault.probe("operator", *words, "--action", one["id"])[0]
    assert answer["code"] == 0 and answer["version"] == 2, answer
    assert b"quorum.changed" in vault.events()

    action = vault.approve_certificate(root["key_id"], tbs, by=("outsider",))
    assert sign(vault, root, tbs, action)["code"] == 0
    new = quorum_row(vault)
    put_quorum_row(vault, old)
    other = lone.ca_tbs(root, root, days=next(DAYS))
    answer = vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], other))
    assert answer["code"] == DENIED and "changed outside the vault" in answer["message"], answer
    put_quorum_row(vault, new)
    assert vault.propose("issuer", "ca-certificate", vault.certificate_fields(root["key_id"], other))["code"] == 0
