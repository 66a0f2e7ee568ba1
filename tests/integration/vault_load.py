# SPDX-License-Identifier: Apache-2.0
"""Steady load on vaults in the background: several callers of one client, as a daemon's would be (vaultprobe load). The tests of faults
use it."""
import json
import subprocess
import time

from lone_vault import response_data


class VaultLoad:
    """OCSP signatures with that key for so many seconds, `rate` of them a second; of vaults at `ports`, or the vault's own."""

    def __init__(self, vault, key, *ports, seconds, callers, rate):
        words = [word for port in ports for word in ("--vault", f"127.0.0.1:{port}")]
        tbs = vault.file(response_data(key))
        self.began, self.seconds = time.monotonic(), seconds
        self.process = subprocess.Popen(vault.probe_command("ocsp", "load", key["key_id"], "ocsp", tbs, "--seconds", seconds,
                                                            "--callers", callers, "--rate", rate, *words),
                                        stdout=subprocess.PIPE, text=True)

    def until(self, share):
        """Sleeps to that share of the run."""
        time.sleep(max(0.0, self.began + share * self.seconds - time.monotonic()))

    def left(self):
        return self.began + 0.9 * self.seconds - time.monotonic()

    def finish(self):
        """What the callers saw; the test judges it."""
        out, _ = self.process.communicate(timeout=self.seconds + 120)
        assert self.process.returncode == 0, "vaultprobe: a sanitizer's finding, or no answer at all"
        return json.loads(out)
