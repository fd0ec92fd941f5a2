"""Under which licence failsafe and everything that it is installed with may be used, from what each distribution says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from importlib import metadata

OWN = "failsafe-mail"
OWN_EXTRAS = frozenset({"postgresql", "zstd"})  # those that a person may have asked for; `dev` is for developers
UNKNOWN = "unknown"
MOST = 1_000  # distributions; far more than anybody installs
LONGEST_LICENCE = 60  # characters of a License field; a longer one is the whole text
FILES = re.compile(r"(^|/)(licen[cs]e|copying|notice|authors)[^/]*$", re.IGNORECASE)
REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True, slots=True)
class Licensed:
    """One installed distribution. `licence`: an SPDX expression, or what the distribution calls it; "unknown" where it says nothing."""

    name: str
    version: str
    licence: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """One line of Requires-Dist: `wanted_by` is the extra that asks for it, "" where it is always needed."""

    name: str
    extras: frozenset[str]
    wanted_by: str


def parse_need(line: str) -> Need | None:
    """None where the line cannot be understood. Other markers are passed over: what they leave out is not installed."""
    found = REQUIREMENT.match(line)
    if found is None:
        return None
    extras = frozenset(canonical(each) for each in (found[2] or "").split(",") if each.strip())
    marker = EXTRA.search(line.partition(";")[2])
    return Need(canonical(found[1]), extras, "" if marker is None else canonical(marker[1]))


def canonical(name: str) -> str:
    """Names are compared as packaging does: Foo_Bar and foo-bar are one."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def closure(own: str, extras: frozenset[str], needs_of: Callable[[str], Iterable[Need] | None]) -> tuple[str, ...]:
    """The names of `own` and of all that it needs and is installed, sorted. `needs_of` gives None for what is not installed."""
    seen: dict[str, frozenset[str]] = {}
    waiting = [(canonical(own), extras)]
    while waiting and len(seen) < MOST:
        name, asked = waiting.pop()
        if name in seen and asked <= seen[name]:
            continue
        needs = needs_of(name)
        if needs is None:
            continue
        seen[name] = asked | seen.get(name, frozenset())
        waiting += [(need.name, need.extras) for need in needs if need.wanted_by in ("", *seen[name])]
    return tuple(sorted(seen))


def licence_of(said: Message) -> str:
    """From a distribution's metadata: the SPDX expression, else its classifiers, else a short License field."""
    if expression := said.get("License-Expression", "").strip():
        return expression
    classifiers = [each.split(" :: ")[-1] for each in said.get_all("Classifier", []) if each.startswith("License ::")]
    named = [each for each in classifiers if each != "OSI Approved"]
    if named:
        return ", ".join(dict.fromkeys(named))
    field = said.get("License", "").strip()
    first = field.splitlines()[0].strip() if field else ""
    return first if 0 < len(first) <= LONGEST_LICENCE and first.upper() != "UNKNOWN" else UNKNOWN


def licence_in(text: str) -> str:
    """The common licences by their own words, for a distribution that carries one and names none."""
    words = " ".join(text.split())
    if "Redistribution and use in source and binary forms" in words:
        return "BSD-3-Clause" if re.search(r"[Nn]either the names? of|may not be used to endorse", words) else "BSD-2-Clause"
    if "Permission is hereby granted, free of charge" in words:
        return "MIT"
    if "Apache License" in words and "Version 2.0" in words:
        return "Apache-2.0"
    return UNKNOWN


def installed() -> tuple[Licensed, ...]:
    """Of this installation: failsafe itself and all that it needs, by name. Empty where failsafe runs without being installed."""
    names = closure(OWN, OWN_EXTRAS, _needs)
    return tuple(_licensed(metadata.distribution(name)) for name in names)


def texts(name: str) -> Iterator[tuple[str, str]]:
    """(file, text) of each licence file that the distribution carries."""
    for file in metadata.distribution(name).files or ():
        if FILES.search(str(file)) and ".dist-info" in str(file):
            try:
                yield str(file), file.locate().read_text(encoding="utf-8", errors="replace")  # type: ignore[attr-defined]
            except OSError:
                continue


def _needs(name: str) -> Sequence[Need] | None:
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return None
    return [need for need in map(parse_need, lines) if need is not None]


def _licensed(found: metadata.Distribution) -> Licensed:
    said: Message = found.metadata  # type: ignore[assignment]
    urls = [each.partition(",")[2].strip() for each in said.get_all("Project-URL", [])]
    address = said.get("Home-page") or next(iter(urls), "")
    licence = licence_of(said)
    if licence == UNKNOWN:
        licence = next((read for _file, text in texts(said["Name"]) if (read := licence_in(text)) != UNKNOWN), UNKNOWN)
    return Licensed(said["Name"], said["Version"], licence, address)
