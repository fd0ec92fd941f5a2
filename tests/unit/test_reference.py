"""The reference pages say what the code says, and every finding of the doctor is explained. To write them anew: python -m tests.tools.reference"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from failsafe.backup.bucket import CONTENTS, DELETE, LOCK
from failsafe.config.meanings import EVERYWHERE, TABLES, described
from failsafe.config.schema import Config
from failsafe.doctor_codes import CODES as FINDINGS
from tests.tools.reference.configuration import left_out
from tests.tools.reference.pages import FOLDER, all_pages

ROOT = Path(__file__).parents[2]
DOCTORS_PAGE = ROOT / "docs" / "doctor.md"
DOCTORS_TESTS = sorted(path for room in ("failover", "backup") for path in (ROOT / "tests" / "unit" / room).rglob("test_*.py"))


def test_the_reference_pages_are_what_the_code_says() -> None:
    written = {page.name: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md")}

    differ = sorted(name for name, text in all_pages().items() if written.get(name) != text)
    assert (differ, sorted(written)) == ([], sorted(all_pages())), "write them anew: python -m tests.tools.reference"


def test_every_table_of_the_configuration_is_on_its_page() -> None:
    assert left_out() == set()


def test_every_key_of_the_configuration_says_what_it_is_for_and_nothing_else_does() -> None:
    schema = described(Config.model_json_schema(mode="validation"))
    keys = {name: set(each["properties"]) for name, each in schema["$defs"].items() if each.get("type") == "object"}

    assert {
        name: sorted(set(own) - keys.get(name, set())) for name, own in TABLES.items() if set(own) - keys.get(name, set())
    } == {}
    assert {key for each in keys.values() for key in each} >= set(EVERYWHERE)


def told(module: Path) -> dict[str, bool]:
    """The codes that a module's source gives to findings, and whether they block a failover. A module's own `_finding` has its code inside."""
    found: dict[str, bool] = {}
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Finding", "_judge_exchanges"):
            first = node.args[0]
            if isinstance(first, ast.Constant):
                blocks = any(each.arg == "blocks_failover" for each in node.keywords) or node.func.id == "_judge_exchanges"
                found[first.value] = found.get(first.value, False) or blocks
    return found


def test_every_finding_of_the_doctor_is_in_the_list_and_the_other_way_round() -> None:
    """Whatever room of the two pure ones a judge lives in. Only the bucket's judge has its codes in constants."""
    rooms = (ROOT / "failsafe" / "failover", ROOT / "failsafe" / "backup")
    found = dict.fromkeys((LOCK, DELETE, CONTENTS), False)
    for module in sorted(path for room in rooms for path in room.rglob("*.py")):
        found |= {code: blocks or found.get(code, False) for code, blocks in told(module).items()}

    assert found == {code: blocks for code, (blocks, _) in FINDINGS.items()}


def sections() -> dict[str, str]:
    """What docs/doctor.md says under the heading of each code."""
    parts = re.split(r"^### `([a-z0-9-]+)`.*\n", DOCTORS_PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (re.split(r"^## ", part, flags=re.MULTILINE)[0].strip() for part in parts[2::2]), strict=True))


def test_every_finding_of_the_doctor_is_explained_and_nothing_else_is() -> None:
    assert sorted(sections()) == sorted(FINDINGS)


@pytest.mark.parametrize("code", FINDINGS)
def test_the_explanation_of_a_finding_says_how_to_mend_it(code: str) -> None:
    assert re.search(r"\*\*Mend\*\*: .{10}", sections().get(code, ""), re.DOTALL)


@pytest.mark.parametrize("code", FINDINGS)
def test_every_finding_of_the_doctor_has_a_test(code: str) -> None:
    assert any(f'"{code}"' in file.read_text(encoding="utf-8") for file in DOCTORS_TESTS)
