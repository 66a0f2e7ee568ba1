# SPDX-License-Identifier: Apache-2.0
"""The documentation holds: tables are what the daemons print, links lead somewhere, man pages render, the files that the
architecture page names exist."""
import os
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CHANCERY_BUILD_DIR", TOP / "build"))
PAGES = sorted(p for p in [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")])
MAN_PAGES = sorted(TOP.glob("docs/man/*.[1-8]"))


def test_the_configuration_reference_is_what_the_daemons_print():
    done = subprocess.run([TOP / "docs" / "update-configuration", BUILD, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(TOP)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"


@pytest.mark.parametrize("page", MAN_PAGES, ids=lambda p: p.name)
def test_man_pages_render_without_warnings(page):
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page], capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""})
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def test_every_program_has_its_man_page():
    names = {p.name for p in MAN_PAGES}
    for service in ("vault", "issuer", "gateway", "ocsp", "tsa", "crl", "audit"):
        assert f"chancery-{service}.8" in names
    assert "chancery.1" in names


def test_files_that_the_architecture_page_names_exist():
    for name in re.findall(r"`((?:gateway|issuer|ocsp|tsa|crl|vault|audit)/[a-z_0-9]+\.c)`", (TOP / "docs/architecture.md").read_text()):
        assert (TOP / "services" / name).exists(), f"docs/architecture.md names {name}"


def test_every_reason_of_an_alert_is_in_the_table_of_events():
    """What is passed to vault_note_alert, against the row of vault.alert."""
    row = next(line for line in (TOP / "docs/audit-events.md").read_text().splitlines() if line.startswith("| `vault.alert`"))
    calls = [call for file in sorted((TOP / "services/vault").rglob("*.c"))
             for call in re.findall(r"vault_note_alert\(([^;{]*)\);", file.read_text())]
    reasons = {reason for call in calls for reason in re.findall(r'"([a-z-]+)"', call)}
    assert len(calls) >= len(reasons) >= 7, calls
    assert reasons == set(re.findall(r"`([a-z-]+)`", row.removeprefix("| `vault.alert`")))


def evidence():
    """(claim, command) of each row of docs/evidence.md."""
    for line in (TOP / "docs/evidence.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and len(cells) >= 4 and not line.startswith(("|---", "| claim")):
            yield from ((cells[0], command) for command in re.findall(r"`([^`]+)`", cells[2]) if "/" in command)


def test_commands_of_the_evidence_exist():
    """The program is there, and each test file, ctest or bench that it names too."""
    listing = subprocess.run(["ctest", "--test-dir", BUILD, "-N"], capture_output=True, text=True, check=True).stdout
    names = "\n".join(re.findall(r"Test +#\d+: (\S+)", listing))
    for claim, command in evidence():
        program = next(word for word in command.split() if "=" not in word)
        assert (TOP / program).exists(), f"{claim}: {program}"
        for pattern in re.findall(r"""-R ['"]?([^\s'"]+)""", command.replace("\\|", "|")):  # a table escapes its pipes
            assert re.search(pattern, names, re.MULTILINE), f"{claim}: no test is named {pattern}"


def test_each_attack_of_the_threat_model_names_a_test_that_is_there():
    table = (TOP / "docs/threat-model.md").read_text().partition("| attack | what comes of it | test |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("|---")]
    folders = [TOP / "tests" / folder for folder in ("unit", "integration", "fault", "long", "fuzz")]
    assert len(rows) >= 30
    for row in rows:
        tests = row.strip("|").split(" | ")[-1]
        texts = [path.read_text() for name in re.findall(r"`([\w/]+\.(?:c|py))`", tests) for folder in folders
                 for path in [folder / pathlib.Path(name).name] if path.exists()]
        assert texts or re.search(r"`tests/\w+/\w+`", tests), row
        for case in re.findall(r"`(\w+)`", tests):
            assert any(re.search(rf"\b{case}\b", text) for text in texts), f"{case} is in no test that this row names: {row}"
