"""`up_when` of a monitor: which of its answers mean that the mail server is up. Pure.

Two forms. `$.PATH == VALUE` reads JSON: names by dots or in brackets, places of a list in brackets (-1 is the last), and a value as JSON writes it.
Anything else is text to find.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from failsafe.mail.replies import printable

LONGEST = 500  # characters of a condition
STEPS = 20
_CONDITION = re.compile(r"(\$.*?)\s*==\s*(.+)", re.DOTALL)
_STEP = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_-]*)|\[(-?\d{1,9})\]|\["([^"\]]+)"\]|\['([^'\]]+)'\]""")
FORM = """write text to find, or a JSON path and its value, such as $.status == "up" or $.results[-1].success == true"""


@dataclass(frozen=True, slots=True)
class Condition:
    """`path` None: `wanted` is text to find in the answer."""

    path: tuple[str | int, ...] | None
    wanted: Any


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer's body. `page`: it is HTML, which may be anybody's (a login, a captive portal)."""

    body: str
    page: bool = False


@dataclass(frozen=True, slots=True)
class Understood:
    """`holds` None: the answer says nothing; `text` says what it said."""

    holds: bool | None
    text: str


def parse_condition(text: str) -> Condition:
    """Raises ValueError with what is written instead."""
    tidy = text.strip()
    if not tidy or len(tidy) > LONGEST:
        raise ValueError(f"needs 1 to {LONGEST} characters; {FORM}")
    if not tidy.startswith("$"):
        return Condition(None, tidy)
    match = _CONDITION.fullmatch(tidy)
    if match is None:
        raise ValueError(f"{text!r} has no == VALUE; {FORM}")
    try:
        wanted = json.loads(match[2])
    except ValueError:
        raise ValueError(f"{match[2]!r} is not a JSON value; {FORM}") from None
    if isinstance(wanted, (dict, list)):
        raise ValueError(f"{match[2]!r} is not one value; {FORM}")  # noqa: TRY004 - pydantic collects ValueError
    return Condition(_parse_path(match[1][1:]), wanted)


def _parse_path(text: str) -> tuple[str | int, ...]:
    steps: list[str | int] = []
    place = 0
    while place < len(text):
        match = _STEP.match(text, place)
        if match is None or len(steps) >= STEPS:
            raise ValueError(f"${text} is not a path; {FORM}")
        name, number, double, single = match.groups()
        steps.append(int(number) if number is not None else name or double or single)
        place = match.end()
    return tuple(steps)


def judge_answer(heard: Heard, up: Condition, down: Condition | None) -> Understood:
    """Whether the answer says up (True), down (False), or nothing that we understand (None).

    With `down`, only that says down, and both at once say nothing. Without it: another value at the same JSON place says down; text that is not
    there says down in a plain answer, and nothing in a page of HTML, which may be anybody's.
    """
    said = _meets(heard, up)
    if down is not None:
        against = _meets(heard, down)
        if (said.holds, against.holds) == (True, True):
            return Understood(None, f"its answer says up and down at once: {said.text}")
        if against.holds:
            return Understood(holds=False, text=against.text)
        return said if said.holds else Understood(None, f"neither up nor down: {said.text}")
    if said.holds is False and up.path is None and heard.page:
        return Understood(None, f"a page that says neither up nor down: {said.text}")
    return said


def _meets(heard: Heard, condition: Condition) -> Understood:
    if condition.path is None:
        found = condition.wanted in heard.body
        shown = printable(" ".join(heard.body.split())[:120])
        return Understood(
            found, f"it says {condition.wanted!r}" if found else f"it does not say {condition.wanted!r}, but {shown!r}"
        )
    try:
        value = json.loads(heard.body)
    except (ValueError, RecursionError):
        return Understood(None, "its answer is not JSON")
    for step in condition.path:
        inside = _step_into(value, step)
        if inside is _NOTHING:
            return Understood(None, f"its answer has nothing at {_shown(condition.path)}")
        value = inside
    if isinstance(value, (dict, list)):
        return Understood(None, f"its answer has no single value at {_shown(condition.path)}")
    same = value == condition.wanted and isinstance(value, bool) == isinstance(condition.wanted, bool)  # in Python 1 equals true
    return Understood(same, f"{_shown(condition.path)} is {printable(json.dumps(value))}")


_NOTHING = object()


def _step_into(value: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return value.get(step, _NOTHING) if isinstance(value, dict) else _NOTHING
    return value[step] if isinstance(value, list) and -len(value) <= step < len(value) else _NOTHING


def _shown(path: tuple[str | int, ...]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
