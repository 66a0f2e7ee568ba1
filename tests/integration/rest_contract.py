# SPDX-License-Identifier: Apache-2.0
"""proto/openapi.yaml as tests use it: finds the operation of a request and holds an answer against it."""
import datetime
import pathlib

import jsonschema
import yaml

DOCUMENT = yaml.safe_load((pathlib.Path(__file__).resolve().parents[2] / "proto" / "openapi.yaml").read_text())
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(text):
    return not isinstance(text, str) or (text.endswith("Z") and datetime.datetime.fromisoformat(text[:-1]) is not None)


def resolve(node):
    while "$ref" in node:
        target = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def operations():
    """operationId -> (method, path template, operation)"""
    return {operation["operationId"]: (method.upper(), path, operation) for path, item in DOCUMENT["paths"].items()
            for method, operation in item.items() if method in METHODS}


def statuses(operation):
    """Those that are documented one by one (not `default`)."""
    return sorted(int(status) for status in operation["responses"] if status != "default")


def validate(value, schema):
    resolver = jsonschema.RefResolver("", DOCUMENT)
    jsonschema.Draft202012Validator(schema, resolver=resolver, format_checker=FORMATS).validate(value)


def check(operation_id, answer, status=None):
    """An answer must be documented: its status, its media type, its schema, its headers."""
    _, _, operation = operations()[operation_id]
    assert status is None or answer.status_code == status, f"{operation_id}: {answer.status_code} {answer.text[:400]}"
    documented = operation["responses"].get(str(answer.status_code), operation["responses"]["default"])
    response = resolve(documented)
    media_type = answer.headers["Content-Type"].partition(";")[0]
    assert media_type in response["content"], f"{operation_id} {answer.status_code}: {media_type} is not documented"
    schema = response["content"][media_type]["schema"]
    if media_type.endswith("json"):
        validate(answer.json(), schema)
        if media_type == "application/problem+json":
            assert answer.json()["status"] == answer.status_code
    elif resolve(schema).get("format") != "binary":
        validate(answer.text, schema)
    for name, header in response.get("headers", {}).items():
        if name in answer.headers:
            validate(answer.headers[name], resolve(header)["schema"])
    if answer.status_code == 503:
        assert "Retry-After" in answer.headers
    if answer.status_code == 201 and "Location" in response.get("headers", {}):
        assert "Location" in answer.headers
    return answer
