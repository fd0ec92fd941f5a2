"""The runbooks: a page for every event that tells people. They lie in the wheel, so that they can be read on the night on which nothing else can."""

from __future__ import annotations

from pathlib import Path

from failsafe.errors import UsageError
from failsafe.events import ALARMS, NAMES


def read_runbook(name: str) -> str:
    """The page of an event, in Markdown. Raises UsageError for one that has none."""
    if name not in ALARMS:
        known = f"{name} tells nobody, so there is nothing to do" if name in NAMES else f"there is no event {name}"
        raise UsageError(known, mend=f"those with a page: {', '.join(ALARMS)}")
    return (_folder() / f"{name}.md").read_text(encoding="utf-8")


def _folder() -> Path:
    package = Path(__file__).parent
    inside = package / "_runbooks"
    return inside if inside.is_dir() else package.parent / "docs" / "runbooks"
