# SPDX-License-Identifier: Apache-2.0
"""Two SoftHSM2 tokens in two directories that the vault alone can read, initialised by the vault itself."""

import os
import secrets

from quickstart import postgres, users
from quickstart.console import run, write_file

HSMS = ("a", "b")
CONFIGURATION = """\
# Written by deploy/quickstart: one token directory for each HSM worker of the vault.
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


def prepare(suite):
    owner = users.ids("chancery-vault")
    suite.path("hsm").mkdir(exist_ok=True, mode=0o755)
    for name in HSMS:
        directory = suite.path("hsm", name)
        for part in (directory, directory / "tokens"):
            part.mkdir(exist_ok=True)
            os.chmod(part, 0o700)
            os.chown(part, *owner)
        write_file(directory / "softhsm2.conf", CONFIGURATION.format(tokens=directory / "tokens"), 0o400, owner)
        if not (directory / "pin").exists():
            write_file(directory / "pin", secrets.token_hex(16), 0o400, owner)
    suite.path("custodians").mkdir(exist_ok=True)
    os.chmod(suite.path("custodians"), 0o700)
    os.chown(suite.path("custodians"), *owner)


def appoint(suite, log, environment):
    """The quorum of officers, where there is none yet. Gives what the vault tells."""
    if postgres.psql(suite, "SELECT 1 FROM quorums WHERE tenant_id = 'default'", "chancery"):
        return "appointed before"
    file = suite.path("client/quorum.yaml")
    write_file(file, f"tenant: default\nrequired: {suite.required}\nofficers:\n" + "".join(
        f"  - certificate: {name}.pem\n" for name in suite.officer_names))
    done = run(["chpst", "-u", "chancery-vault", suite.path("bin/chancery-vault"), "--config",
                suite.path("etc/vault-1.yaml"), "--init-quorum", file], log, cwd="/", env=environment)
    return done.stdout.strip()


def initialise(suite, log, environment):
    """Tokens that are initialised are left as they are. Gives what the vault tells."""
    done = run(["chpst", "-u", "chancery-vault", suite.path("bin/chancery-vault"), "--config",
                suite.path("etc/vault-1.yaml"), "--init-hsms", "--threshold", "2", "--shares", "3", "--share-directory",
                suite.path("custodians")], log, cwd="/", env=environment)
    return done.stdout.strip().replace("\n", "; ")
