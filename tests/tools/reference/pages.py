"""All pages of the reference, by name."""

from __future__ import annotations

import re
from pathlib import Path

from failsafe import errors
from failsafe.backup.guards import CODES as BACKUP_CODES
from failsafe.backup.guards import KINDS
from failsafe.doctor_codes import CODES as FINDINGS
from failsafe.events import ALARMS, NAMES
from failsafe.failover.guards import BY_HAND, CODES, FORCEABLE
from tests.tools.reference.commands import render_commands
from tests.tools.reference.configuration import render_configuration
from tests.tools.reference.metrics import render_metrics_page
from tests.tools.reference.tables import page, table

FOLDER = Path(__file__).parents[3] / "docs" / "reference"
DOCTORS_PAGE = FOLDER.parent / "doctor.md"
EXIT_CODES = {
    errors.EXIT_OK: "done",
    errors.EXIT_FINDINGS: "done, with findings (`backup`: incomplete or guarded; `status`, `doctor`, `verify`, `drill`: any finding; `search`, `restore`: nothing found; `erase`: something is still here, or a repository could not be asked)",
    errors.EXIT_CONFIGURATION: "usage or configuration; also a question that nobody is there to answer",
    errors.EXIT_REFUSED: "refused; every guard is listed",
    errors.EXIT_EXTERNAL: "something outside failed (`backup`: any server or repository; `restore`: messages are missing; `drill`: it could not be tried)",
    errors.EXIT_INTERRUPTED: "interrupted; running it again goes on",
}


def all_pages() -> dict[str, str]:
    return {
        "index.md": page(
            "Reference",
            "Printed from the code; a test keeps it so.",
            "- [Commands](commands.md)\n- [Configuration](configuration.md)\n- [Exit codes](exit-codes.md)\n- [Guards](guards.md): what stands against a flip, what a backup does not believe\n"
            "- [Findings of the doctor](findings.md)\n- [Events](events.md)\n- [Metrics](metrics.md)",
        ),
        "commands.md": render_commands(),
        "configuration.md": render_configuration(),
        "exit-codes.md": page(
            "Exit codes",
            table(("code", "means"), ((str(code), text) for code, text in EXIT_CODES.items())),
            "Any other code is a failure.",
        ),
        "guards.md": _guards(),
        "findings.md": page(
            "Findings of the doctor",
            "Only a finding of severity `fail` blocks. What each means and how it is mended: [doctor.md](../doctor.md).",
            table(
                ("code", "blocks a failover", "what is looked at"),
                (
                    (f"[`{code}`](../doctor.md#{_anchor(code)})", "yes" if blocks else "", text)
                    for code, (blocks, text) in FINDINGS.items()
                ),
            ),
        ),
        "events.md": page(
            "Events",
            "Names are never reworded. Those with a runbook can tell people; the others are rows and log lines.",
            table(
                ("event", "means", "runbook"),
                (
                    (f"`{name}`", text, f"[what to do](../runbooks/{name}.md)" if name in ALARMS else "")
                    for name, text in NAMES.items()
                ),
            ),
        ),
        "metrics.md": render_metrics_page(),
    }


def _anchor(code: str) -> str:
    """That of the code's heading in docs/doctor.md, in which more may stand."""
    found = re.search(rf"^### `{code}`(.*)$", DOCTORS_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return code if found is None else re.sub(r"[^\w-]", "", f"{code}{found[1]}".replace(" ", "-").lower())


def _guards() -> str:
    kinds = {code: kind for kind, codes in KINDS.items() for code in codes}
    return page(
        "Guards",
        "## Of a flip",
        "What each means: [failover.md](../failover.md#guards).",
        table(("guard", "against an order by hand it"), ((f"`{code}`", _by_hand(code)) for code in CODES)),
        "## Of a backup",
        "Each is lifted by `failsafe accept SERVER --what KIND --reason TEXT` and by no other kind; `loss` is the default.",
        table(("guard", "KIND", "raised when"), ((f"`{code}`", f"`{kinds[code]}`", text) for code, text in BACKUP_CODES.items())),
    )


def _by_hand(code: str) -> str:
    if code not in BY_HAND:
        return "is shown"
    return "refuses, unless `--force --reason TEXT`" if code in FORCEABLE else "refuses"
