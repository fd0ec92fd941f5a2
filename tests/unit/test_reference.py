"""The reference page says what the code says. To write it anew: python -m tests.unit.test_reference > docs/reference.md"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from failsafe import errors
from failsafe.backup.guards import CODES as BACKUP_CODES
from failsafe.backup.guards import KINDS
from failsafe.cli import VERBS
from failsafe.events import NAMES
from failsafe.failover.guards import BY_HAND, CODES, FORCEABLE

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
EXIT_CODES = {
    errors.EXIT_OK: "done",
    errors.EXIT_FINDINGS: "done, with findings (`backup`: incomplete or guarded; `status`, `doctor`, `verify`: any finding; `search`, `restore`: nothing found)",
    errors.EXIT_CONFIGURATION: "usage or configuration; also a question that nobody is there to answer",
    errors.EXIT_REFUSED: "refused; every guard is listed",
    errors.EXIT_EXTERNAL: "something outside failed (`backup`: any server or repository; `restore`: messages are missing)",
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


if __name__ == "__main__":
    print(render(), end="")
