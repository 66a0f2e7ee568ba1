#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Names of services in libcommon's code (comments left out), which must know none: prints each and exits 1. Called by tests/lint.

A service is added with data in its own folder (CONTRIBUTING.md). Libcommon's modules for what all services share are named after it
(auditclient, vaultclient), and some names are terms of an RFC too (issuer, CRL, OCSP, TSA): what is allowed where stands below.
"""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
SERVICES = {path.parent.name for path in TOP.glob("services/*/CMakeLists.txt")} | {"operator"}
RFC_TERMS = {"issuer", "ocsp", "tsa", "crl"}
# Modules whose subject such a term is, or that are the typed calls of one contract.
SUBJECTS = {"action", "auditclient", "auditlog", "envelope", "identities", "issuance", "vaultclient", "x509"}
# Modules whose documents have such a term as a key or a kind.
DOCUMENTS = {"action", "issuance"}
# The client that every daemon has, of the module auditclient.
EVERYWHERE = re.compile(r"audit|ch_audit_\w+")
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')


def code_of(path):
    """Without comments; lines keep their numbers."""
    return subprocess.run(["gcc", "-fpreprocessed", "-dD", "-E", "-w", "-x", "c", path], capture_output=True, text=True, check=True).stdout


def lines_of(code):
    number = 0
    for line in code.splitlines():
        marker = re.match(r'# (\d+) "', line)
        if marker:
            number = int(marker.group(1)) - 1
            continue
        number += 1
        yield number, line


def named(module, line):
    if re.match(r"\s*#\s*include", line):
        return [include for include in STRING.findall(line) if "services/" in include]
    found = []
    for text in STRING.findall(line):
        words = [word for word in re.split(r"[ |,/]+", text) if word]
        allowed = RFC_TERMS if module in DOCUMENTS else set()
        if words and set(words) <= SERVICES - allowed:
            found.append(f'"{text}"')
    for name in re.findall(r"[A-Za-z_]\w*", STRING.sub('""', line)):
        if module not in SUBJECTS and set(name.lower().split("_")) & SERVICES and not EVERYWHERE.fullmatch(name):
            found.append(name)
    return found


def main():
    failed = False
    for path in sorted([*TOP.glob("libcommon/*/*.[ch]")]):
        for number, line in lines_of(code_of(path)):
            for name in named(path.parent.name, line):
                print(f"{path.relative_to(TOP)}:{number}: names a service: {name}")
                failed = True
    for path in sorted(TOP.glob("libcommon/**/CMakeLists.txt")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if "chancery_service_" in line:
                print(f"{path.relative_to(TOP)}:{number}: links a service: {line.strip()}")
                failed = True
    sys.exit(failed)


main()
