# SPDX-License-Identifier: Apache-2.0
"""Two SoftHSM2 tokens in two directories, each of which its own user alone can read, initialised by the vault's program."""

import os
import secrets
import shlex

from quickstart import postgres, users
from quickstart.console import run, write_file
from quickstart.suite import HSMS, hsm_user

CONFIGURATION = """\
# Written by deploy/quickstart: one token directory for each HSM.
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


def listener(suite, name):
    """The socket of an HSM's listener."""
    return suite.path("listen", name, "socket")


def _give(path, owner, mode):
    os.chmod(path, mode)
    os.chown(path, *owner, follow_symlinks=False)


def _give_all(directory, owner):
    """What an older quickstart made belonged to the vault. A link is not followed: the directory is the HSM's user's."""
    for top, directories, files in os.walk(directory):
        for name in (*directories, *files):
            os.chown(os.path.join(top, name), *owner, follow_symlinks=False)


def prepare(suite):
    for part in ("hsm", "listen"):
        suite.path(part).mkdir(exist_ok=True, mode=0o755)
    for name in HSMS:
        owner = users.ids(hsm_user(name))
        directory = suite.path("hsm", name)
        if not directory.exists() or directory.stat().st_uid != owner[0]:
            directory.mkdir(exist_ok=True)
            (directory / "tokens").mkdir(exist_ok=True, mode=0o700)
            write_file(directory / "softhsm2.conf", CONFIGURATION.format(tokens=directory / "tokens"), 0o400)
            if not (directory / "pin").exists():
                write_file(directory / "pin", secrets.token_hex(16), 0o400)
            _give_all(directory, owner)
            _give(directory, owner, 0o700)
        listens = listener(suite, name).parent
        listens.mkdir(exist_ok=True)
        os.chown(listens, owner[0], users.ids("chancery-vault")[1])
        os.chmod(listens, 0o2750)  # the socket gets the group: the vault's user may connect
    suite.path("custodians").mkdir(exist_ok=True)
    _give(suite.path("custodians"), (0, 0), 0o700)


def shares_left(suite):
    """Custodians' shares that still lie on this machine."""
    directory = suite.path("custodians")
    return sorted(directory.glob("share-*")) if directory.exists() else []


def warn_of_shares(suite, console):
    """Whoever reads enough of them can make what the HSMs' keys are wrapped with."""
    left = shares_left(suite)
    if not left:
        return
    console.line(f"""
  WARNING  {len(left)} custodians' shares of the HSMs' root secret lie on this machine, in {left[0].parent}. Who reads two of them can open
           every wrapped key. Give each to its own custodian, on a medium of its own, and keep none here:""")
    for number, share in enumerate(left, 1):
        console.line(f"             mv {shlex.quote(str(share))} /media/custodian-{number}/")


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
    """Tokens that are initialised are left as they are. Root's program becomes each HSM's user. Gives what it tells."""
    done = run([suite.path("bin/chancery-vault"), "--config", suite.path("etc/vault-1.yaml"), "--init-hsms", "--threshold", "2", "--shares", "3",
                "--share-directory", suite.path("custodians")], log, cwd="/", env=environment)
    return done.stdout.strip().replace("\n", "; ")
