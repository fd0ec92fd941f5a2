"""Each sick server is told for what it is by the first look at it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.mail_servers import PASSWORD
from tests.contract.sick_servers import sick_servers
from tests.contract.sickness import ROWS, table

PAGE = Path(__file__).parents[2] / "docs" / "probes.md"


@pytest.mark.first
def test_the_first_look_at_each_sick_server_says_what_the_table_says(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    with sick_servers() as sick, ThreadPoolExecutor(len(ROWS)) as pool:
        sick.mail.dovecot.kill()
        looks = [pool.submit(row.look, sick, password) for row in ROWS]
        found = [look.result() for look in looks]

    wrong = [fault for row, evidence in zip(ROWS, found, strict=True) if (fault := row.fault(evidence))]
    assert not wrong, "\n\n".join(wrong)


def test_the_page_has_this_table() -> None:
    assert "\n".join(table()) in PAGE.read_text(), f"write this into {PAGE.name}:\n" + "\n".join(table())
