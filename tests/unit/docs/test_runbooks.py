"""One page for every event that tells a person: what happened, what to do, how do I know it worked."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from failsafe.errors import UsageError
from failsafe.events import ALARMS, NAMES
from failsafe.failover.notices import _TOLD, DONE_NAMES
from failsafe.runbooks import read_runbook
from tests.unit.docs.blocks import ROOT

PAGES = ROOT / "docs" / "runbooks"
COMPUTED = {  # functions whose event has no constant name: the names that it can have
    "done_event": set(DONE_NAMES.values()),
    "told_event": {name for name, _ in _TOLD.values()},
    "_well": {"host.well", "delivery.moves", "delivery.arrives"},
    "failsafe/daemon/trouble.py:_event": {"host.trouble", "delivery.waits", "delivery.lost"},
    "failsafe/homecoming/telling.py:_event": {"homecoming.done", "homecoming.waiting"},
}


def told_in(source: Path) -> dict[str, set[str]]:
    """Function -> the events that it makes with a notice; an empty set where the name is not a constant."""
    found: dict[str, set[str]] = {}
    for function in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event" and _has_notice(node):
                names = found.setdefault(f"{source.relative_to(ROOT)}:{function.name}", set())
                if isinstance(node.args[0], ast.Constant):
                    names.add(str(node.args[0].value))
    return found


def _has_notice(call: ast.Call) -> bool:
    given = call.args[5] if len(call.args) > 5 else next((each.value for each in call.keywords if each.arg == "notice"), None)
    return given is not None and not (isinstance(given, ast.Constant) and given.value is None)


def told_anywhere() -> set[str]:
    found: set[str] = set()
    for source in sorted((ROOT / "failsafe").rglob("*.py")):
        for function, names in told_in(source).items():
            if "store/events.py" in function:
                continue  # it reads what others made
            known = COMPUTED.get(function) or COMPUTED.get(function.split(":")[1])
            assert names or known, f"{function} tells people of an event whose name is not known here"
            found |= names or known or set()
    return found


def test_the_list_of_alarms_is_what_the_code_can_tell() -> None:
    assert set(ALARMS) == told_anywhere()
    assert set(ALARMS) <= set(NAMES)


def test_every_alarm_has_its_page_and_every_page_its_alarm() -> None:
    assert sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "index") == sorted(ALARMS)


@pytest.mark.parametrize("name", ALARMS)
def test_a_page_says_what_happened_what_to_do_and_how_one_knows_that_it_worked(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")

    assert text.startswith(f"# {name}: ")
    parts = [part.partition("\n") for part in text.split("\n## ")[1:]]
    assert [title for title, _, _ in parts] == ["What happened", "What to do", "How do I know it worked?"]
    assert [title for title, _, said in parts if len(said.strip()) < 8] == []


def test_the_first_page_leads_to_every_alarm() -> None:
    text = (PAGES / "index.md").read_text(encoding="utf-8")

    assert [name for name in ALARMS if f"]({name}.md)" not in text] == []


def test_a_page_is_printed_without_a_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAILSAFE_CONFIG", str(tmp_path / "nowhere.toml"))

    done = subprocess.run(
        [sys.executable, "-m", "failsafe", "events", "--runbook", "flip.blocked"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, (PAGES / "flip.blocked.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "said"), [("flip.blokced", "no event"), ("backup.done", "tells nobody"), ("../README", "no event")]
)
def test_an_event_without_a_page_is_a_usage_fault_that_names_the_others(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read_runbook(name)

    assert "flip.blocked" in str(refused.value.mend)
