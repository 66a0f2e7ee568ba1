# SPDX-License-Identifier: Apache-2.0
"""System users: one for each kind of daemon, one for each HSM, one for the logs."""

import grp
import pwd

from quickstart.console import run
from quickstart.ports import machine_lock
from quickstart.suite import HSMS, SERVICES, hsm_user

LOG_USER = "chancery-log"


def ids(user):
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _exists(user):
    try:
        return bool(pwd.getpwnam(user) and grp.getgrnam(user))
    except KeyError:
        return False


def make(log):
    """Gives the names of those that were made."""
    with machine_lock():
        wanted = [f"chancery-{service}" for service in SERVICES] + [hsm_user(name) for name in HSMS] + [LOG_USER]
        missing = [user for user in wanted if not _exists(user)]
        for user in missing:
            run(["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
                 "--shell", "/usr/sbin/nologin", user], log)
    return missing
