"""Makes docs/status.svg anew: what `failsafe status` says in the demo's world, in peace and while mail goes to the secondary.

`python -m tests.tools.screenshot [FILE]`, as root (it needs network namespaces); two minutes. Real servers, real words; only the world is small.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.demo import __main__ as story
from tests.demo import archive, outage
from tests.demo.stage import Stage
from tests.demo.telling import Teller

FILE = Path(__file__).parents[2] / "docs" / "status.svg"
COLUMNS = 118
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # of an address in the internet: a picture needs none


def main(file: Path) -> None:
    chapters = [story.the_world, archive.a_mailbox, archive.into_two_repositories, outage.watching]
    stage = Stage(Teller(len(chapters) + 2), web=False)
    try:
        for chapter in chapters:
            chapter(stage)
        screens = [_status(stage)]
        for chapter in (outage.the_power_goes, outage.the_mx_moves):
            chapter(stage)
        screens.append(_status(stage))
    finally:
        stage.close()
    file.write_text(drawn(screens), encoding="utf-8")


def _status(stage: Stage) -> str:
    return stage.failsafe("status", status=(0, 1)).stdout.rstrip()


def drawn(screens: list[str]) -> str:
    """The SVG of a terminal in which `failsafe status` was typed once for each screen."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), legacy_windows=False)
    for said in screens:
        console.print(Text.assemble(("$ ", "bold green"), ("failsafe status", "bold")))
        console.print(Text.from_ansi(said), soft_wrap=False)
        console.print()
    return FONT.sub("", console.export_svg(title="failsafe, in the demo: in peace, and a minute after the power went"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
