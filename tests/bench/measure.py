# SPDX-License-Identifier: Apache-2.0
"""CPU time of processes, from /proc."""
import os
import pathlib

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    """User and system time of the given live processes, all threads."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def children(pid):
    out = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        out += [int(child) for child in (task / "children").read_text().split()]
    return out


def process_tree(pid):
    """The process and all below it (the vault's HSM workers, nginx's workers)."""
    tree = [pid]
    for child in children(pid):
        tree += process_tree(child)
    return tree
