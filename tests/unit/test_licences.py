"""The licences of everything that failsafe is installed with."""

from __future__ import annotations

import json
import subprocess
import sys
from email.message import Message
from importlib import metadata

import pytest

from failsafe.licences import UNKNOWN, Need, closure, licence_in, licence_of, parse_need, texts

NONE: frozenset[str] = frozenset()


def said(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("line", "need"),
    [
        ("Foo_Bar>=1.2", Need("foo-bar", NONE, "")),
        ("psycopg[binary]>=3.1; extra == 'postgresql'", Need("psycopg", frozenset({"binary"}), "postgresql")),
        ('tomli; python_version < "3.11" and extra == "x.y"', Need("tomli", NONE, "x-y")),
        ("   ", None),
    ],
)
def test_a_line_of_requirements_is_a_name_its_extras_and_who_wants_it(line: str, need: Need | None) -> None:
    assert parse_need(line) == need


def test_what_is_needed_by_what_is_needed_is_listed_once_and_what_an_unasked_extra_wants_is_not() -> None:
    tree = {
        "own": [Need("a", NONE, ""), Need("b", frozenset({"more"}), ""), Need("tool", NONE, "dev")],
        "a": [Need("b", NONE, ""), Need("not-installed", NONE, "")],
        "b": [Need("own", NONE, ""), Need("c", NONE, "more"), Need("d", NONE, "other")],
        "c": [],
        "d": [],
        "tool": [],
    }

    assert closure("own", NONE, tree.get) == ("a", "b", "c", "own")


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        (said(License_Expression="MIT OR Apache-2.0", License="x"), "MIT OR Apache-2.0"),
        (said(Classifier="License :: OSI Approved :: ISC License (ISCL)"), "ISC License (ISCL)"),
        (said(Classifier="License :: OSI Approved", License="BSD"), "BSD"),
        (said(License="Copyright (c) somebody, who wrote the whole text of his licence into a field"), UNKNOWN),
        (said(License="UNKNOWN"), UNKNOWN),
        (said(), UNKNOWN),
    ],
)
def test_a_licence_is_what_the_distribution_calls_it(fields: Message, licence: str) -> None:
    assert licence_of(fields) == licence


def test_a_distribution_that_names_no_licence_is_known_by_the_text_that_it_carries() -> None:
    assert licence_in("Redistribution and use in source\nand binary forms, ... Neither the name of X") == "BSD-3-Clause"
    assert licence_in("Redistribution and use in source and binary forms") == "BSD-2-Clause"
    assert licence_in("Permission is hereby granted,\n free of charge, to any") == "MIT"
    assert licence_in("All rights reserved.") == UNKNOWN


def test_every_direct_dependency_is_listed_with_a_licence_and_no_developers_tool_is() -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "failsafe", "licences", "--json"], capture_output=True, text=True, timeout=60, check=False
    )

    listed = {each["name"].lower(): each["licence"] for each in json.loads(outcome.stdout)["packages"]}
    direct = [
        need.name
        for need in map(parse_need, metadata.requires("failsafe-mail") or [])
        if need is not None and need.wanted_by == ""
    ]
    assert [name for name in direct if name not in {key.replace("_", "-") for key in listed}] == []
    assert [name for name, licence in listed.items() if licence == UNKNOWN] == []
    assert "mypy" not in listed
    assert outcome.returncode == 0


def test_the_licence_files_of_a_package_can_be_read() -> None:
    assert any("Permission" in text or "Redistribution" in text for _file, text in texts("rich"))
