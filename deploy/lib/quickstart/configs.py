# SPDX-License-Identifier: Apache-2.0
"""Each instance's configuration file, and DIR/env."""

import os
import shlex

from quickstart import tokens, users
from quickstart.console import write_file
from quickstart.suite import HSMS, ON_THE_BUS, OVER_HTTP, hsm_user

# Which services each one calls (docs/architecture.md).
PEERS = {
    "gateway": ("issuer", "crl", "vault", "audit"),
    "issuer": ("vault", "audit"),
    "ocsp": ("vault", "audit"),
    "tsa": ("vault", "audit"),
    "crl": ("vault", "audit"),
    "audit": ("vault",),
    "vault": ("audit",),
}
WITHOUT_DATABASE = ("gateway",)


def to_yaml(value, indent=0):
    """Enough of YAML for configuration files: mappings, lists, texts, numbers, booleans."""
    pad = "  " * indent
    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines.append(f"{pad}{key}:")
            lines.append(to_yaml(item, indent + 1))
        elif isinstance(item, (list, tuple)) and item and isinstance(item[0], dict):
            lines.append(f"{pad}{key}:")
            for element in item:
                block = to_yaml(element, indent + 2).lstrip()
                lines.append(f"{pad}  - {block}")
        elif isinstance(item, (list, tuple)):
            lines.append(f"{pad}{key}: [{', '.join(_scalar(element) for element in item)}]")
        else:
            lines.append(f"{pad}{key}: {_scalar(item)}")
    return "\n".join(lines)


def _scalar(item):
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int):
        return str(item)
    text = str(item)
    return text if text and all(c.isalnum() or c in "/._-" for c in text) else '"' + text.replace('"', '\\"') + '"'


def _common(suite, instance):
    identity = suite.path("identity", instance.name)
    config = {
        "instance": instance.name,
        "state_directory": suite.path("state", instance.name),
        "log_level": "info",
        "identity": {"certificate": identity / "certificate.pem", "key": identity / "key.pem",
                     "system_ca": suite.path("pki/system-ca.pem")},
        "operations": {"listen": suite.address(f"{instance.name}.operations")},
    }
    if instance.service not in WITHOUT_DATABASE:
        config["database"] = {"url": suite.database(f"chancery_{instance.service}"), "pool_size": 8}
    if instance.service in ON_THE_BUS:
        config["bus"] = {"listen": suite.address(f"{instance.name}.bus"), "workers": 8}
    config["peers"] = {peer: [suite.address(f"{other.name}.bus") for other in suite.of(peer)]
                       for peer in PEERS[instance.service]}
    if instance.service in OVER_HTTP:
        config["http"] = {"listen": suite.address(f"{instance.name}.http"), "trusted_proxies": ["127.0.0.1"]}
    return config


def _gateway(suite, instance, config):
    identity = suite.path("identity", instance.name)
    operators = suite.path("pki/operators-ca.pem")
    config["http"] |= {"proxy_protocol": True, "tls_certificate": identity / "https-certificate.pem",
                       "tls_key": identity / "https-key.pem"}
    config["operators_ca"] = operators


def _vault(suite, _instance, config):
    config["operators_ca"] = suite.path("pki/operators-ca.pem")
    config["single_copy_accepted"] = False
    config["hsms"] = [{
        "name": name, "module": "/usr/lib/softhsm/libsofthsm2.so",
        "environment": [f"SOFTHSM2_CONF={suite.path('hsm', name, 'softhsm2.conf')}"],
        "token_label": f"chancery-{name}", "pin_file": suite.path("hsm", name, "pin"), "sessions": 4,
        "paths": [suite.path("hsm", name)], "listener": tokens.listener(suite, name), "user": hsm_user(name),
    } for name in HSMS]


def _audit(suite, _instance, config):
    config["checkpoint_interval"] = "2s"  # so that what was just done is soon under a signature


OWN_KEYS = {"audit": _audit, "gateway": _gateway, "vault": _vault}


def config_of(suite, instance):
    config = _common(suite, instance)
    if instance.service in OWN_KEYS:
        OWN_KEYS[instance.service](suite, instance, config)
    return config


def write(suite):
    """Gives the instances whose file changed. Also makes their state directories."""
    changed = []
    suite.path("etc").mkdir(exist_ok=True, mode=0o755)
    suite.path("state").mkdir(exist_ok=True, mode=0o755)
    for instance in suite.instances:
        state = suite.path("state", instance.name)
        state.mkdir(exist_ok=True)
        os.chmod(state, 0o700)
        os.chown(state, *users.ids(instance.user))
        text = "# Written by deploy/quickstart on every run.\n" + to_yaml(config_of(suite, instance)) + "\n"
        if write_file(suite.path("etc", f"{instance.name}.yaml"), text):
            changed.append(instance)
    return changed


def client_environment(suite, issuing_ca, chain):
    """What the `chancery` command and scripts need to know of the suite."""
    return {
        "CHANCERY_URL": suite.https_url,
        "CHANCERY_HTTP": suite.http_url,
        "CHANCERY_CA_FILE": suite.path("pki/public-ca.pem"),
        "CHANCERY_CERT": suite.path("client/officer.pem"),
        "CHANCERY_KEY": suite.path("client/officer.key"),
        "CHANCERY_ISSUING_CA": issuing_ca,
        "CHANCERY_CHAIN": chain,
        "CHANCERY_DATABASE": suite.database("chancery_auditor"),
        "CHANCERY_SYSTEM_CA": suite.path("pki/system-ca.pem"),
        "CHANCERY_VAULT": " ".join(suite.address(f"{instance.name}.bus") for instance in suite.of("vault")),
        "CHANCERY_IDENTITY": suite.path("identity/operator"),
        "CHANCERY_AUDIT_STATE": " ".join(str(suite.path("state", instance.name)) for instance in suite.instances
                                         if instance.service == "audit"),
        "CHANCERY_OPERATIONS": " ".join(
            f"{instance.name}={suite.address(f'{instance.name}.operations')}" for instance in suite.instances),
    }


def write_env(suite, issuing_ca, chain):
    lines = ["# Source this to use the suite: . env"]
    lines += [f"export {name}={shlex.quote(str(value))}" for name, value in client_environment(suite, issuing_ca, chain).items()]
    lines.append(f'case ":$PATH:" in *:{suite.path("bin")}:*) ;; *) PATH={suite.path("bin")}:$PATH ;; esac')
    write_file(suite.path("env"), "\n".join(lines) + "\n")
