# SPDX-License-Identifier: Apache-2.0
"""The suite in a state directory: where things are, which instances it has, what was chosen for it."""

import dataclasses
import hashlib
import json
import os
import pathlib
import stat

from quickstart.console import StepFailed, write_file

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
HOME = pathlib.Path("/var/lib/chancery")
SERVICES = ("audit", "vault", "issuer", "crl", "ocsp", "tsa", "gateway")  # in the order in which they start
ON_THE_BUS = ("audit", "vault", "issuer", "crl")  # these listen for messages
OVER_HTTP = ("crl", "ocsp", "tsa", "gateway")  # these have a port for HAProxy
HSMS = ("a", "b")  # SoftHSM2 tokens, each served by a listener under a user of its own
SOCKET_PATH_MAXIMUM = 107


def hsm_user(name):
    return f"chancery-hsm-{name}"


def hsm_service(name):
    return f"hsm-{name}"


@dataclasses.dataclass(frozen=True)
class Instance:
    service: str
    number: int

    @property
    def name(self):
        return f"{self.service}-{self.number}"

    @property
    def user(self):
        return f"chancery-{self.service}"


class Suite:
    """Everything below self.dir. self.asked is the directory as the user named it; it may be a symlink to self.dir."""

    def __init__(self, asked):
        self.asked = pathlib.Path(os.path.abspath(asked))
        self.dir = pathlib.Path(os.path.realpath(self.asked))
        self.replicas = 1
        self.officers = 1
        self.required = 1
        self.http_port = 8080
        self.https_port = 8443
        self.ports = {}
        self.load()

    @property
    def exists(self):
        return (self.dir / "settings").exists()

    def path(self, *parts):
        return self.dir.joinpath(*parts)

    @property
    def instances(self):
        return [Instance(service, number + 1) for service in SERVICES for number in range(self.replicas)]

    @property
    def officer_names(self):
        return ["officer"] + [f"officer-{number}" for number in range(2, self.officers + 1)]

    def of(self, service):
        return [instance for instance in self.instances if instance.service == service]

    def address(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    @property
    def http_url(self):
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def https_url(self):
        return f"https://localhost:{self.https_port}"

    def database(self, role):
        return f"host={self.path('run')} dbname=chancery user={role}"

    def load(self):
        try:
            settings = json.loads(self.path("settings").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        self.replicas, self.http_port, self.https_port = (
            settings["replicas"], settings["http_port"], settings["https_port"])
        self.officers, self.required = settings.get("officers", 1), settings.get("required", 1)
        for line in self.path("ports").read_text(encoding="utf-8").splitlines() if self.path("ports").exists() else ():
            name, port = line.split()
            self.ports[name] = int(port)

    def save(self):
        write_file(self.path("ports"), "".join(f"{name} {port}\n" for name, port in sorted(self.ports.items())))
        write_file(self.path("settings"), json.dumps(
            {"replicas": self.replicas, "http_port": self.http_port, "https_port": self.https_port,
             "officers": self.officers, "required": self.required}) + "\n")

    def make_directory(self):
        """Makes self.dir where every daemon's user can reach it; where the asked one is not such a place, a directory
        below /var/lib/chancery with a symlink. Gives a line to tell, or None."""
        why = unsuitable(self.dir)
        if why is None or self.dir.is_relative_to(HOME):
            self.dir.mkdir(parents=True, exist_ok=True)
            os.chmod(self.dir, 0o755)
            return None
        if self.dir.exists() and any(self.dir.iterdir()):
            raise StepFailed(f"state directory '{self.dir}' cannot be used: {why}")
        real = HOME / hashlib.sha256(str(self.asked).encode()).hexdigest()[:12]
        real.mkdir(parents=True, exist_ok=True)
        os.chmod(real, 0o755)
        os.chmod(HOME, 0o755)
        self.asked.parent.mkdir(parents=True, exist_ok=True)
        if self.dir.exists():
            self.dir.rmdir()
        os.symlink(real, self.asked)
        self.dir = real
        return f"{self.asked} is a link to {real}, because {why}"


def unsuitable(directory):
    """Why other users cannot work in a directory; None where they can."""
    for ancestor in directory.parents:
        if ancestor.exists() and not ancestor.stat().st_mode & stat.S_IXOTH:
            return f"other users cannot enter {ancestor}"
    if len(str(directory / "run/.s.PGSQL.5432")) > SOCKET_PATH_MAXIMUM:
        return "its path is too long for a Unix socket"
    return None
