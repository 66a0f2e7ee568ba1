# SPDX-License-Identifier: Apache-2.0
"""Every command that README.md and docs/ show is run. A fenced `console` block (lines with `$ `) and an `sh` block is either run here
against the suite, as it stands but for `. var/env`, or each of its commands is one that another test or tests/run itself runs."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import TOP

# test_incidents.py runs its own page: there, what each section leaves behind is undone or comes last.
PAGES = sorted({TOP / "README.md", TOP / "CONTRIBUTING.md", *TOP.glob("docs/**/*.md")} - {TOP / "docs/operations/incidents.md"})

# Commands that are run elsewhere or that cannot be run by a test, and why.
ELSEWHERE = [
    (r"(\S*/)?deploy/quickstart\b", "test_quickstart.py"),
    (r"deploy/install-packages\b", "tests/run"),
    (r"(time )?tests/(run|lint|threads|bench/run|fuzz/run|long/run|fault/\w+)\b|\.ci/run\b", "that is what runs this"),
    (r"(\S+=\S* )*(cmake|ninja|ctest|nice ninja)\b", "tests/run"),
    (r"git (clone|rebase|diff|log|config|switch|checkout|commit)\b|cd \S+$", "the checkout is there already"),
    (r"systemctl\b|install -m|useradd --system|podman|ninja -C build &&", "changes the machine"),
    (r"sv (status|restart|hup|down|up)\b|tail -[fF]", "test_fault.py does it through the fixture"),
    (r"pg_basebackup|cp -a var/", "writes to /backup"),
    (r"chancery operator issue --directory var/pki", "test_cli.py"),
    (r"chancery-vault --config \S+ --init-quorum\b", "test_approvals.py"),
    (r"chancery-vault --config \S+ --database-restored\b", "test_vault_marks.py"),
    (r"gdb\b|perf\b|valgrind\b|(\S+=\S+ )*/usr/bin/python3 -m pytest|clang-format|(\S+=\S+ )*build[-/]\S*|docs/update-configuration", "for developers"),
    (r"chancery system-ca (renew|revoke|publish|roll)\b|chancery (public-ca issue|operator revoke)\b", "test_identities.py"),
    (r"(\. var/env|source )", "the fixture does it"),
]


def blocks():
    for page in PAGES:
        for number, match in enumerate(re.finditer(r"^```(sh|console|bash|shell)\n(.*?)^```", page.read_text(), re.S | re.M), 1):
            yield pytest.param(match.group(1), match.group(2), id=f"{page.relative_to(TOP)}-{number}")


def commands_of(language, text):
    """The block's commands: in `console` what follows `$ `, joined where a line ends with a backslash."""
    text = re.sub(r"\\\n\s*", " ", text)
    lines = [line[2:] for line in text.splitlines() if line.startswith(("$ ", "# "))] if language == "console" else text.splitlines()
    lines = [re.sub(r"\s+#\s.*$", "", line).strip() for line in lines]
    return [line for line in lines if line and not line.startswith("#")]


def elsewhere(command):
    return any(re.match(pattern, command) for pattern, _ in ELSEWHERE)


@pytest.mark.parametrize("language, text", blocks())
def test_a_block_of_commands_works(language, text, request, tmp_path):
    commands = commands_of(language, text)
    if all(elsewhere(command) for command in commands):
        return
    suite = request.getfixturevalue("suite")
    for name in ("deploy", "proto", "README.md"):
        os.symlink(TOP / name, tmp_path / name)
    os.symlink(suite.dir, tmp_path / "var")
    script = "\n".join(command for command in commands if command.startswith(". var/env") or not elsewhere(command))
    if ". var/env" not in script:
        script = ". var/env\n" + script
    done = subprocess.run(["bash", "-euxo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_that_blocks_name_are_installed_by_the_package_list():
    for param in blocks():
        for command in commands_of(*param.values):
            word = command.split()[0]
            if word in ("openssl", "curl", "sv"):
                assert shutil.which(word), word
    assert pathlib.Path("/usr/bin/openssl").exists()
