# SPDX-License-Identifier: Apache-2.0
"""The system CA, each daemon's identity, the public TLS CA and the gateway's HTTPS certificate, the operators: made by the `chancery` command,
given to the users who need them."""

import os

from quickstart import users
from quickstart.console import run



def clients(suite):
    """Name -> roles."""
    officers = {name: ("officer", "requester") for name in suite.officer_names}
    officers[suite.officer_names[0]] += ("auditor",)  # one person runs a suite on one machine
    return officers | {"requester": ("requester",)}


def _give(path, owner, mode):
    os.chown(path, *owner)
    os.chmod(path, mode)


def make(suite, log):
    """Makes what is missing. Gives how many certificates were made."""
    chancery = suite.path("bin/chancery")
    pki = suite.path("pki")
    made = 0
    without_public_ca = not (pki / "public-ca.pem").exists()  # a suite of before: its HTTPS certificates are the system CA's
    for noun, name in (("system-ca", "system-ca"), ("operator", "operators-ca"), ("public-ca", "public-ca")):
        if not (pki / f"{name}.pem").exists():
            run([chancery, noun, "init", "--directory", pki], log)
            made += 1
    suite.path("identity").mkdir(exist_ok=True)
    for instance in suite.instances:
        made += _identity(suite, instance, without_public_ca, log)
    if not suite.path("identity/operator/certificate.pem").exists():  # a person's: events name it
        run([chancery, "system-ca", "issue", "--directory", pki, "--service", "operator", "--instance",
             suite.officer_names[0], "--out", suite.path("identity/operator")], log)
        _give(suite.path("identity/operator"), (0, 0), 0o750)
        made += 1
    suite.path("client").mkdir(exist_ok=True, mode=0o755)
    for name, roles in clients(suite).items():
        if not suite.path("client", f"{name}.pem").exists():
            options = [word for role in roles for word in ("--role", role)]
            run([chancery, "operator", "issue", "--directory", pki, "--name", name, *options,
                 "--out", suite.path("client", name)], log)
            made += 1
    return made


def _identity(suite, instance, without_public_ca, log):
    chancery = suite.path("bin/chancery")
    directory = suite.path("identity", instance.name)
    uid, gid = users.ids(instance.user)
    made = 0
    if not (directory / "certificate.pem").exists():
        run([chancery, "system-ca", "issue", "--directory", suite.path("pki"), "--service", instance.service,
             "--instance", instance.name, "--out", directory], log)
        made += 1
    if instance.service == "gateway" and (without_public_ca or not (directory / "https-certificate.pem").exists()):
        run([chancery, "public-ca", "issue", "--directory", suite.path("pki"), "--dns", "localhost",
             "--ip", "127.0.0.1", "--out", directory], log)
        made += 1
    _give(directory, (0, gid), 0o750)
    for key in directory.glob("*key.pem"):
        _give(key, (uid, gid), 0o400)
    return made
