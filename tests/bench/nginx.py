# SPDX-License-Identifier: Apache-2.0
"""nginx answering `return 200` with a body of a given size: the reference for what an HTTP answer costs on this machine."""
import pathlib
import socket
import subprocess
import time
import urllib.request

from measure import process_tree


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx:
    def __init__(self, scratch, size):
        self.directory = pathlib.Path(scratch) / "nginx"
        self.directory.mkdir(exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.configuration = self.directory / "nginx.conf"
        self.configuration.write_text(f"""
daemon off;
user root;
worker_processes 1;
pid {self.directory}/pid;
error_log {self.directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type application/ocsp-response; return 200 "{'x' * size}"; }}
  }}
}}
""")

    def __enter__(self):
        self.process = subprocess.Popen(["nginx", "-c", str(self.configuration)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.url, timeout=1).read()
                return self
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise SystemExit("nginx did not start: " + (self.directory / "error.log").read_text())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def pids(self):
        return process_tree(self.process.pid)
