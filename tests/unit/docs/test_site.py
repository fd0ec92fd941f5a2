"""The documentation as a site: it builds without a warning, reads without a network, and shows what was meant."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.docs.blocks import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `./dev docs` builds it: a broken link, a missing anchor and a page that nobody links to are faults."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_browser_needs_no_network_to_show_it(site: Path) -> None:
    fetched = re.compile(r"""<(?:script|img|iframe|link)[^>]*(?:src|href)="?(?:https?:)?//|@import|url\(["']?https?:""")

    assert [
        str(file.relative_to(site))
        for kind in ("html", "css")
        for file in site.rglob(f"*.{kind}")
        if fetched.search(file.read_text())
    ] == []


def test_lists_tables_and_blocks_are_shown_as_such(site: Path) -> None:
    """On the site what belongs to an item of a list stands four blanks in, and a list has an empty line before it."""
    left = re.compile(r"^(?: *(?:[-*]|\d+\.|\|) .*|.*```.*|.*<!-- (?:not )?run: .*)$", re.MULTILINE)
    shown = {file: re.sub(r"<pre.*?</pre>", "", file.read_text(), flags=re.DOTALL) for file in site.rglob("*.html")}

    assert [f"{file.relative_to(site)}: {line}" for file, text in shown.items() for line in left.findall(text)] == []


def test_the_first_page_is_the_readme_and_leads_into_the_others(site: Path) -> None:
    first = (site / "index.html").read_text()

    assert "failsafe runs on your NAS" in first
    assert 'href="homecoming.html"' in first
