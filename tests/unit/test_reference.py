"""The reference page says what the code says. To write it anew: python -m tests.unit.test_reference > docs/reference.md"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from failsafe import errors
from failsafe.backup.bucket import CONTENTS, DELETE, LOCK
from failsafe.backup.guards import CODES as BACKUP_CODES
from failsafe.backup.guards import KINDS
from failsafe.cli import VERBS
from failsafe.doctor_codes import CODES as FINDINGS
from failsafe.events import NAMES
from failsafe.failover.guards import BY_HAND, CODES, FORCEABLE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference.md"
DOCTORS_PAGE = ROOT / "docs" / "doctor.md"
DOCTORS_TESTS = sorted(path for room in ("failover", "backup") for path in (ROOT / "tests" / "unit" / room).rglob("test_*.py"))
EXIT_CODES = {
    errors.EXIT_OK: "done",
    errors.EXIT_FINDINGS: "done, with findings (`backup`: incomplete or guarded; `status`, `doctor`, `verify`, `drill`: any finding; `search`, `restore`: nothing found; `erase`: something is still here, or a repository could not be asked)",
    errors.EXIT_CONFIGURATION: "usage or configuration; also a question that nobody is there to answer",
    errors.EXIT_REFUSED: "refused; every guard is listed",
    errors.EXIT_EXTERNAL: "something outside failed (`backup`: any server or repository; `restore`: messages are missing; `drill`: it could not be tried)",
    errors.EXIT_INTERRUPTED: "interrupted; running it again goes on",
}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows), ""]


def by_hand(code: str) -> str:
    if code not in BY_HAND:
        return "is shown"
    return "refuses, unless `--force --reason TEXT`" if code in FORCEABLE else "refuses"


def render() -> str:
    lines = ["# Reference", "", "Printed from the code; a test keeps it so. `failsafe VERB --help` has options and examples.", ""]
    lines += ["## Verbs", "", *table(("verb", "does"), ((f"`{verb}`", text) for verb, (_module, text) in VERBS.items()))]
    lines += ["## Exit codes", "", *table(("code", "means"), ((str(code), text) for code, text in EXIT_CODES.items()))]
    lines += ["Any other code is a failure.", "", "## Guards of a flip", ""]
    lines += table(("guard", "against an order by hand it"), ((f"`{code}`", by_hand(code)) for code in CODES))
    lines += [
        "## Guards of a backup",
        "",
        "Each is lifted by `failsafe accept SERVER --what KIND --reason TEXT` and by no other kind; `loss` is the default.",
        "",
    ]
    kinds = {code: kind for kind, codes in KINDS.items() for code in codes}
    lines += table(
        ("guard", "KIND", "raised when"), ((f"`{code}`", f"`{kinds[code]}`", text) for code, text in BACKUP_CODES.items())
    )
    lines += [
        "## Findings of the doctor",
        "",
        "Only a finding of severity `fail` blocks. What each means and how it is mended: [docs/doctor.md](doctor.md).",
        "",
    ]
    lines += table(
        ("code", "blocks a failover", "what is looked at"),
        ((f"`{code}`", "yes" if blocks else "", text) for code, (blocks, text) in FINDINGS.items()),
    )
    lines += [
        "## Events",
        "",
        "Names are never reworded.",
        "",
        *table(("event", "means"), ((f"`{name}`", text) for name, text in NAMES.items())),
    ]
    lines += [
        "## Configuration",
        "",
        "`failsafe config schema` prints the JSON Schema; `deploy/failsafe.toml.example` is a commented example.",
        "",
        "`controller.limit_download` and `limit_upload` hold for each pull, and once more for all repositories across a network together; what is on this machine has",
        "no limit. What binds what, and what the sums are: [docs/backup.md](backup.md#what-limit_download-and-limit_upload-hold).",
        "",
    ]
    return "\n".join(lines)


def test_the_reference_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == render()


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


if __name__ == "__main__":
    print(render(), end="")
