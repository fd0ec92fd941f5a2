"""Every block of the documentation is executed, checked, or says why not."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from failsafe.config.files import file_faults, secret_files
from failsafe.config.load import parse_config
from failsafe.errors import ConfigError
from tests.lab.test_tutorial import OTHERS, PAGE
from tests.unit.docs.blocks import BY_LANGUAGE, ROOT, Block, all_blocks, blocks_of, inline_code, pages
from tests.unit.docs.commands import Unknown, commands_in, demand_known, demand_taken
from tests.unit.docs.fragments import completed

BLOCKS = all_blocks()
RUN_BY = {"lab": "tests/lab/test_tutorial.py"}
NO_COMMANDS = ("failsafe index 1",)  # the first line of a file
SHELL = ("sh", "text")  # text: its lines that begin with "$ "


def places(blocks: list[Block]) -> list[Any]:
    return [pytest.param(block, id=block.place) for block in blocks]


def shell_lines(block: Block) -> str:
    if block.language == "sh":
        return block.text
    return "\n".join(line[2:] for line in block.text.splitlines() if line.startswith("$ "))


def test_every_block_has_a_language_and_is_run_or_checked_or_says_why_not() -> None:
    wanting = [
        f"{block.place}: {'no language' if not block.language else 'no <!-- run: … --> or <!-- not run: REASON --> directly before it'}"
        for block in BLOCKS
        if not block.language or (block.language not in BY_LANGUAGE and not block.mark)
    ]

    assert wanting == []


def test_what_is_run_is_run_by_a_test_that_exists() -> None:
    used = {block.said for block in BLOCKS if block.mark == "run"}

    assert {name for name in used if not (ROOT / RUN_BY.get(name, "nowhere")).exists()} == set()
    assert {block.page for block in BLOCKS if block.mark == "run"} == {PAGE, *OTHERS}


@pytest.mark.parametrize("block", places([each for each in BLOCKS if each.language == "toml" and not each.mark]))
def test_a_block_of_configuration_passes_the_schema(block: Block) -> None:
    try:
        parse_config(completed(block.text), block.place)
    except ConfigError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("block", places([each for each in BLOCKS if "/howto/" in each.page and each.language == "toml"]))
def test_the_configuration_of_a_how_to_passes_the_check_once_its_files_are_there(block: Block, tmp_path: Path) -> None:
    text = block.text.replace("/etc/failsafe", str(tmp_path))
    config = parse_config(text.encode(), block.place)
    for _key, path in secret_files(config):
        path.write_text(f"anna@example.org:{tmp_path}/anna.password\n" if path.name == "accounts" else "x\n")
        path.chmod(0o600)
    (tmp_path / "anna.password").write_text("x\n")
    (tmp_path / "anna.password").chmod(0o600)

    assert {"controller", "mail_server", "repository"} <= set(tomllib.loads(text)), "a whole configuration"
    assert file_faults(config) == ([], [])


@pytest.mark.parametrize("block", places([each for each in BLOCKS if each.language == "json" and not each.mark]))
def test_a_block_of_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", places([each for each in BLOCKS if each.language in SHELL and "failsafe " in each.text]))
def test_the_command_line_would_take_every_command_of_a_block(block: Block) -> None:
    faults = []
    for words in commands_in(shell_lines(block)):
        try:
            demand_taken(words)
        except Unknown as error:
            faults.append(str(error))

    assert faults == []


def test_verbs_and_options_that_the_prose_names_exist() -> None:
    faults = []
    for page in pages():
        for code in inline_code(page.read_text(encoding="utf-8")):
            if code.startswith("failsafe ") and code not in NO_COMMANDS:
                try:
                    demand_known(_words(code)[1:])
                except Unknown as error:
                    faults.append(f"{page.relative_to(ROOT)}: {error}")

    assert faults == []


def _words(code: str) -> list[str]:
    try:
        return shlex.split(code)
    except ValueError:
        return code.split()


def test_a_block_knows_the_comment_directly_before_it() -> None:
    page = "<!-- run: lab -->\n```sh\nls\n```\n\n1. x\n\n   <!-- not run: an account -->\n   ```sh\n   failsafe a\n   ```\n\n```text\nx\n```\n"

    found = blocks_of(page, "page.md")

    assert [(each.line, each.mark, each.said, each.text) for each in found] == [
        (2, "run", "lab", "ls\n"),
        (9, "not run", "an account", "failsafe a\n"),
        (13, "", "", "x\n"),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("failsafe statsu", "no verb"),
        ("failsafe status --jsn", "--jsn"),
        ("ls && failsafe config chek", "knows no"),
        ("sudo failsafe --conf x status", "before the verb"),
    ],
)
def test_a_command_that_the_command_line_does_not_know_is_found(line: str, said: str) -> None:
    with pytest.raises(Unknown, match=said):
        for words in commands_in(line):
            demand_taken(words)


def test_every_command_of_a_line_is_found_with_its_words() -> None:
    line = "FAILSAFE_CONFIG=x sudo failsafe status --json | jq . ; failsafe config schema > file  # failsafe not this"

    assert commands_in(line) == [["status", "--json"], ["config", "schema"]]


def test_a_fragment_is_laid_over_the_example_and_takes_the_place_of_what_it_names() -> None:
    merged = tomllib.loads(completed('[mail_server.vps]\nlayout = "mailu"\n').decode())

    assert merged["mail_server"]["vps"] == {"layout": "mailu"}
