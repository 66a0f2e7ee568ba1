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
