# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL cluster: Unix socket only, log-in by the operating system's user, one role for each daemon."""

import os
import pathlib
import shutil

from quickstart import users
from quickstart.console import StepFailed, run, write_file
from quickstart.suite import SERVICES


def _programs():
    """The newest installed server."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise StepFailed("PostgreSQL is not installed: run deploy/install-packages run")
    return found[-1].parent


def server():
    return _programs() / "postgres"


CONFIGURATION = """\
# Written by deploy/quickstart. Changes belong into postgresql.local.conf, which is never overwritten.
listen_addresses = ''
unix_socket_directories = '{run}'
unix_socket_permissions = 0777
max_connections = {connections}
shared_buffers = 128MB
fsync = on
synchronous_commit = on
full_page_writes = on
hba_file = '{pg}/pg_hba.conf'
ident_file = '{pg}/pg_ident.conf'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u '
include_if_exists = 'postgresql.local.conf'
"""


def _ident_map():
    lines = ["# Which operating system user may be which role. Written by deploy/quickstart."]
    pairs = [("postgres", "postgres"), ("root", "postgres"), ("root", "chancery_owner"), ("root", "chancery_auditor")]
    pairs += [(f"chancery-{service}", f"chancery_{service}") for service in SERVICES]
    return "\n".join(lines + [f"chancery {user} {role}" for user, role in pairs]) + "\n"


def prepare(suite, log):
    """Makes the cluster on the first run, writes its configuration on every one. True where it was made."""
    owner = users.ids("postgres")
    data = suite.path("pg")
    made = not (data / "PG_VERSION").exists()
    for directory, mode in ((data, 0o700), (suite.path("run"), 0o755)):
        directory.mkdir(exist_ok=True)
        os.chmod(directory, mode)
        os.chown(directory, *owner)
    if made:
        unfinished = suite.path("pg.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        os.chown(unfinished, *owner)
        run(["chpst", "-u", "postgres", _programs() / "initdb", "-D", unfinished, "--username=postgres",
             "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions"],
            log, cwd="/")
        data.rmdir()
        unfinished.rename(data)
    write_file(data / "postgresql.conf",
               CONFIGURATION.format(run=suite.path("run"), pg=data, connections=60 + 60 * suite.replicas), 0o600, owner)
    write_file(data / "pg_hba.conf", "local all all peer map=chancery\n", 0o600, owner)
    write_file(data / "pg_ident.conf", _ident_map(), 0o600, owner)
    return made


def psql(suite, sql, database="postgres", log=None):
    """As superuser; the answer's rows as lists of text."""
    done = run(["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", suite.path("run"),
                "-U", "postgres", "-d", database, "-c", sql], log, cwd="/")
    return [line.split("\t") for line in done.stdout.splitlines() if line]


def answers(suite):
    return run(["pg_isready", "-q", "-h", suite.path("run")], check=False).returncode == 0


def make_database(suite, log):
    """The owner may make roles, because the first migration makes one for each daemon; he is no superuser."""
    if not psql(suite, "SELECT 1 FROM pg_roles WHERE rolname = 'chancery_owner'"):
        psql(suite, "CREATE ROLE chancery_owner LOGIN CREATEROLE", log=log)
    if not psql(suite, "SELECT 1 FROM pg_database WHERE datname = 'chancery'"):
        psql(suite, "CREATE DATABASE chancery OWNER chancery_owner", log=log)
