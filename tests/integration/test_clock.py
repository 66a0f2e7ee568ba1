# SPDX-License-Identifier: Apache-2.0
"""The clock of one replica is stepped while it runs, under load: tests/fault/clock in its short form says what is lost by it."""
import subprocess

from conftest import TOP


def test_a_stepped_clock_costs_no_client_and_no_certificate_anything(two_replicas):
    done = subprocess.run([TOP / "tests/fault/clock", "--short", "--suite", two_replicas.dir], capture_output=True, text=True, timeout=300,
                          check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
