# SPDX-License-Identifier: Apache-2.0
"""HAProxy's configuration from deploy/haproxy/haproxy.cfg.in."""

import resource
import urllib.request

from quickstart.console import run, write_file
from quickstart.suite import CHECKOUT, OVER_HTTP

# What may be sent again to another replica: all that these services do can be repeated without harm.
HTTP_BACKEND = """\
backend {service}
    mode http
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    option http-buffer-request
    retry-on conn-failure empty-response response-timeout 502 503
{servers}
"""
GATEWAY_BACKEND = """\
backend gateway
    mode tcp
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
{servers}
"""


def _servers(suite, service, more=""):
    return "\n".join(
        f"    server {instance.name} {suite.address(f'{instance.name}.http')}"
        f" port {suite.ports[f'{instance.name}.operations']}{more}" for instance in suite.of(service))


def _connections():
    """Each takes two descriptors; some systems do not let even root raise the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 20000 if hard == resource.RLIM_INFINITY else max(100, min(20000, (hard - 500) // 2))


def write(suite):
    """True where the file changed."""
    text = (CHECKOUT / "deploy/haproxy/haproxy.cfg.in").read_text(encoding="utf-8")
    values = {
        "MAXCONN": _connections(),
        "BIND": "127.0.0.1",
        "HTTP_PORT": suite.http_port,
        "HTTPS_PORT": suite.https_port,
        "STATS_PORT": suite.ports["stats"],
        "HTTP_BACKENDS": "\n".join(HTTP_BACKEND.format(service=service, servers=_servers(suite, service))
                                   for service in ("ocsp", "tsa", "crl")),
        "GATEWAY_BACKEND": GATEWAY_BACKEND.format(
            # check-send-proxy is off: the operations port that is asked takes no PROXY header
            servers=_servers(suite, "gateway", " send-proxy-v2 no-check-send-proxy")),
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    suite.path("haproxy").mkdir(exist_ok=True)
    return write_file(suite.path("haproxy/haproxy.cfg"), text)


def check(suite, log):
    run(["haproxy", "-c", "-q", "-f", suite.path("haproxy/haproxy.cfg")], log)


def uses(suite, name):
    """Whether requests are sent to an instance; also true of one that no request goes to."""
    if name.rpartition("-")[0] not in OVER_HTTP:
        return True
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{suite.ports['stats']}/metrics", timeout=3) as answer:
            lines = answer.read(4 << 20).decode("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(line.startswith("haproxy_server_status{") and f'server="{name}"' in line and 'state="UP"' in line and line.endswith(" 1")
               for line in lines)
