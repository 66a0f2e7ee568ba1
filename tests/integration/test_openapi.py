# SPDX-License-Identifier: Apache-2.0
"""proto/openapi.yaml and the running gateway, held against each other in both directions: every documented operation and status is
brought about and its answer validated against its schema; what is not documented is refused; the document's own examples are valid."""
import base64
import concurrent.futures
import re
import time
import uuid

import jsonschema
import pytest
import rest_contract as contract
from conftest import TOP, new_key_and_csr
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

OPERATIONS = contract.operations()
BUILT_ALIKE = {  # statuses that are brought about in the same way for every operation
    401: lambda world, request: request | {"role": None},
    403: lambda world, request: request | {"role": "requester"},
    406: lambda world, request: request | {"headers": request.get("headers", {}) | {"Accept": "text/html"}},
    413: lambda world, request: request | {"data": b" " * 300000, "headers": {"Content-Type": "application/json"}, "json": None},
    415: lambda world, request: request | {"data": b"x", "headers": {"Content-Type": "text/csv"}, "json": None},
}
ABSENT = "0ffe" + "00" * 14  # a serial that nobody issued


def root_document(name):
    return f'name: {name}\nsubject: "CN={name},O=Example,C=CH"\nkey: ecdsa-p256\nvalidity: 10y\n'


class World:
    """Makes requests that succeed, and those that fail in the way of one operation."""

    def __init__(self, suite):
        self.suite = suite

    def name(self):
        return f"api-{uuid.uuid4().hex[:12]}"

    def csr(self):
        name = f"{self.name()}.example"
        return self.suite.new_key_and_csr(name, [f"DNS:{name}"])[1]

    def issue_body(self):
        return {"profile": "tls-server", "ca": self.suite.issuing_ca, "csr": self.csr()}

    def serial(self, status="issued"):
        serial = self.suite.issue()["serial"]
        if status != "issued":
            answer = self.suite.api("POST", f"/v1/certificates/{serial}/{status}", json={})
            assert answer.status_code == 200, answer.text
        return serial

    def prepare(self, name):
        return self.suite.api("POST", "/v1/cas", data=root_document(name), headers={"Content-Type": "application/yaml"})

    def proposed(self):
        """A CA whose key waits for approval."""
        answer = self.prepare(self.name())
        assert answer.status_code == 202, answer.text
        return answer.json()

    def prepared(self):
        """A CA whose certificate waits for approval."""
        proposed = self.proposed()
        self.approve(proposed["action"])
        answer = self.prepare(proposed["name"])
        assert answer.status_code == 201, answer.text
        return answer.json()

    def active_ca(self):
        prepared = self.prepared()
        self.approve(prepared["action"])
        answer = self.suite.api("POST", f"/v1/cas/{prepared['name']}/activation", json={"action": prepared["action"]["id"]})
        assert answer.status_code == 200, answer.text
        return prepared["name"]

    def approve(self, action):
        answer = self.suite.api("POST", f"/v1/actions/{action['id']}/approvals", json=self.approval(action))
        assert answer.status_code == 200, answer.text

    def approval(self, action):
        certificate, key = self.suite.client("officer")
        private = serialization.load_pem_private_key(open(key, "rb").read(), None)
        pem = open(certificate).read()
        der = re.search("-----BEGIN CERTIFICATE-----(.*?)-----END", pem, re.S).group(1).replace("\n", "")
        signature = base64.b64encode(private.sign(action["document"].encode(), ec.ECDSA(hashes.SHA256()))).decode()
        return {"certificate": der, "signature": signature}

    def profile_document(self, name, days=30):
        return (f"name: {name}\nkind: end-entity\nvalidity: {{ default: {days}d, maximum: 398d }}\nkeys: [ecdsa-p256]\n"
                "key_usage: [digitalSignature]\nextended_key_usage: [clientAuth]\nsubject: { allowed: [CN] }\n"
                "subject_alt_names: { allowed: [dns, email], minimum: 0 }\n")


def good(operation_id, world):
    """A request that succeeds."""
    suite = world.suite
    method, path, _ = OPERATIONS[operation_id]
    request = {"method": method, "path": path}
    if "{serial}" in path:
        needed = {"reinstateCertificate": "suspend"}.get(operation_id, "issued")
        request["path"] = path.replace("{serial}", world.serial(needed))
    if operation_id == "issueCertificate":
        request["json"] = world.issue_body()
    elif operation_id == "prepareCa":
        request |= {"data": root_document(world.name()), "headers": {"Content-Type": "application/yaml"}}
    elif operation_id == "activateCa":
        prepared = world.prepared()
        world.approve(prepared["action"])
        request |= {"path": f"/v1/cas/{prepared['name']}/activation", "json": {"action": prepared["action"]["id"]}}
    elif operation_id == "changeCaState":
        request |= {"path": f"/v1/cas/{world.active_ca()}/state", "json": {"state": "suspended", "reason": "a drill"}}
    elif operation_id == "blockKey":
        request["json"] = {"key": new_key_and_csr("anybody.example")[1]}
    elif operation_id == "reportKey":
        request["json"] = {"proof": new_key_and_csr("This key is compromised")[1]}
    elif "{id}" in path:
        action = world.proposed()["action"]
        request["path"] = path.replace("{id}", action["id"])
        if operation_id == "approveAction":
            request["json"] = world.approval(action)
    elif operation_id == "applyProfile":
        name = world.name()
        request |= {"path": f"/v1/profiles/{name}", "data": world.profile_document(name),
                    "headers": {"Content-Type": "application/yaml"}}
    elif operation_id == "revokeCertificate":
        request["json"] = {"reason": "keyCompromise"}
    elif "{name}" in path:
        request["path"] = path.replace("{name}", suite.issuing_ca)
    return request


def invalid(operation_id, world):
    request = good(operation_id, world)
    if request["method"] == "GET":
        return request | {"path": request["path"] + "?nonsense=1"}
    if "data" in request:
        return request | {"data": "name: [not a name]\nnonsense: 1\n"}
    return request | {"json": {"nonsense": 1}}


def missing(operation_id, world):
    """Asks for what is not there."""
    request = good(operation_id, world)
    if operation_id == "issueCertificate":
        request["json"]["profile"] = "no-such-profile"
    elif operation_id == "prepareCa":
        name = world.name()
        request["data"] = root_document(name) + "parent: no-such-parent\n"
    elif operation_id == "applyProfile":
        request["path"] = "/v1/profiles/No_Such_Name"
    elif operation_id in ("getAction", "approveAction"):
        request["path"] = re.sub("actions/[^/]+", "actions/" + "0" * 32, request["path"])
    else:
        request["path"] = re.sub(r"/(certificates|cas|crls)/[^/]+", lambda m: f"/{m[1]}/" + (
            ABSENT if m[1] == "certificates" else "no-such-ca"), request["path"])
    return request


def conflicting(operation_id, world):
    request = good(operation_id, world)
    if operation_id == "issueCertificate":
        key = {"Idempotency-Key": uuid.uuid4().hex}
        assert world.suite.api("POST", "/v1/certificates", json=world.issue_body(), headers=key).status_code == 201
        return request | {"headers": key}
    if operation_id == "prepareCa":
        return request | {"data": root_document(world.suite.root_ca)}
    if operation_id == "approveAction":
        assert send(world.suite, dict(request)).status_code == 200
        return request
    if operation_id == "changeCaState":
        return request | {"path": f"/v1/cas/{world.prepared()['name']}/state"}
    if operation_id == "blockKey":
        return request | {"json": {"key": re.search("-----BEGIN.*?-----END CERTIFICATE-----", open(world.suite.chain).read(), re.S)[0] + "\n"}}
    serial = world.serial()
    world.suite.revoke(serial, "superseded")
    return request | {"path": re.sub(r"certificates/[^/]+", f"certificates/{serial}", request["path"])}


def build(operation_id, status, world):
    if (operation_id, status) == ("prepareCa", 201):
        proposed = world.proposed()
        world.approve(proposed["action"])
        return good(operation_id, world) | {"data": root_document(proposed["name"])}
    if (operation_id, status) == ("changeCaState", 202):
        request = good(operation_id, world)
        assert send(world.suite, dict(request)).status_code == 200
        return request | {"json": {"state": "active"}}
    if status < 300:
        return good(operation_id, world)
    if status in BUILT_ALIKE:
        return BUILT_ALIKE[status](world, good(operation_id, world))
    return {400: invalid, 404: missing, 409: conflicting, 503: good}[status](operation_id, world)


def send(suite, request):
    request = {name: value for name, value in request.items() if name != "json" or value is not None}
    return suite.api(request.pop("method"), request.pop("path"), timeout=60, **request)


@pytest.fixture(scope="module")
def world(suite):
    return World(suite)


CASES = [(name, status) for name, (_, _, operation) in OPERATIONS.items() for status in contract.statuses(operation) if status != 503]


@pytest.mark.parametrize("operation_id,status", CASES)
def test_every_documented_status_comes_about_as_documented(world, operation_id, status):
    contract.check(operation_id, send(world.suite, build(operation_id, status, world)), status)


def test_a_service_that_is_down_is_503_everywhere(world):
    suite = world.suite
    names = [name for name, (_, _, operation) in OPERATIONS.items() if 503 in contract.statuses(operation)]
    requests = {name: good(name, world) for name in names}
    down = ("issuer-1", "crl-1", "audit-1", "vault-1")
    for instance in down:
        suite.sv("down", instance)
    try:
        with concurrent.futures.ThreadPoolExecutor(len(names) + 1) as pool:
            answers = {name: pool.submit(send, suite, requests[name]) for name in names}
            status = pool.submit(suite.api, "GET", "/v1/status", timeout=60)
            for name in names:
                contract.check(name, answers[name].result(), 503)
            assert contract.check("getStatus", status.result(), 200).json()["status"] == "degraded"
    finally:
        for instance in reversed(down):
            suite.sv("up", instance)
        for instance in reversed(down):
            suite.wait_ready(instance)
    end = time.monotonic() + 30
    while suite.api("GET", "/v1/status").json()["status"] != "ok" and time.monotonic() < end:
        pass
    contract.check("listCas", suite.api("GET", "/v1/cas"), 200)


def test_pem_and_crl_forms_are_as_documented(world):
    suite = world.suite
    pem = {"Accept": "application/pem-certificate-chain"}
    body = world.issue_body()
    contract.check("issueCertificate", suite.api("POST", "/v1/certificates", json=body, headers=pem), 201)
    contract.check("getCertificate", suite.api("GET", f"/v1/certificates/{world.serial()}", headers=pem), 200)
    contract.check("getCa", suite.api("GET", f"/v1/cas/{suite.issuing_ca}", headers=pem), 200)
    crl = suite.api("GET", f"/v1/crls/{suite.issuing_ca}", headers={"Accept": "application/pkix-crl"})
    assert contract.check("getCrl", crl, 200).content[:1] == b"\x30"


# --- the other direction: what is not documented is not there --------------------------------------------------------------


def routes_of_the_source():
    text = (TOP / "services" / "gateway" / "routes.c").read_text()
    return set(re.findall(r'\{ "([A-Z]+)", "(/[^"]+)"', text))


def test_the_document_has_every_route_of_the_gateway_and_no_other():
    assert routes_of_the_source() == {(method, path) for method, path, _ in OPERATIONS.values()}


def test_the_query_members_are_those_of_the_gateway():
    text = (TOP / "services" / "gateway" / "routes.c").read_text()
    lists = dict(re.findall(r'#define (\w+_QUERIES) "([^"]*)"', text))
    rows = re.findall(r'\{ "([A-Z]+)", "(/[^"]+)",[^{}]*?(CH_ROLE_\w+(?: \| CH_ROLE_\w+)*),\s*("[^"]*"|\w+_QUERIES),', text)
    assert len(rows) == len(OPERATIONS)
    for method, path, roles, queries in rows:
        operation = contract.DOCUMENT["paths"][path][method.lower()]
        documented = {p["name"] for p in map(contract.resolve, operation["parameters"]) if p["in"] == "query"}
        assert documented == set(lists.get(queries, queries).strip('"').split()), path
        assert (403 in contract.statuses(operation)) == ("REQUESTER" not in roles), path


@pytest.mark.parametrize("path", sorted(contract.DOCUMENT["paths"]))
def test_methods_that_are_not_documented_are_405_with_allow(suite, path):
    documented = {method.upper() for method in contract.DOCUMENT["paths"][path] if method in contract.METHODS}
    real = path.replace("{serial}", ABSENT).replace("{name}", suite.issuing_ca).replace("{id}", "0" * 32)
    for method in {"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} - documented:
        answer = suite.api(method, real)
        assert answer.status_code == 405, (method, path)
        contract.validate(answer.json(), {"$ref": "#/components/schemas/Problem"})
        assert answer.json()["code"] == "method-not-allowed"
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD"} == documented


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/keys", "/v1/certificates/", "/v1/certificates/00/revoke/", "/v2/cas",
                                  "/v1/cas/a/b/c", "/metrics", "/healthz", "/v1//cas", "/v1/../v1/cas", "/V1/CAS", "/v1/cas%2F"])
def test_paths_that_are_not_documented_are_404(suite, path):
    answer = suite.api("GET", path.replace("..", "%2e%2e"))
    assert answer.status_code == 404, answer.text
    contract.validate(answer.json(), {"$ref": "#/components/schemas/ProblemNotFound"})


# --- the document itself -----------------------------------------------------------------------------------------------------


def media_types(node):
    """Every media type object of the document that has a schema and an example."""
    if isinstance(node, dict):
        if "schema" in node and "example" in node:
            yield node
        for value in node.values():
            yield from media_types(value)
    elif isinstance(node, list):
        for value in node:
            yield from media_types(value)


def test_the_examples_are_valid():
    found = list(media_types(contract.DOCUMENT))
    assert len(found) > 10
    for node in found:
        example = node["example"]
        contract.validate(contract.resolve(example) if isinstance(example, dict) else example, node["schema"])


def test_the_schemas_are_schemas():
    for schema in contract.DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere_and_every_component_is_used():
    used = set()

    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                contract.resolve(node)
                used.add(node["$ref"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)
    walk(contract.DOCUMENT)
    for kind in ("schemas", "responses", "parameters", "headers"):
        for name in contract.DOCUMENT["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, f"{kind}/{name} is used nowhere"
