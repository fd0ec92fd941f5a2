"""The UIDs that a part of a pull tells belong to the UIDVALIDITY that it tells, whatever the server did meanwhile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.adapters.local import LocalChannel, LocalHost
from failsafe.backup import fetch
from failsafe.backup.stretch import Care
from failsafe.mail.manifest import Generation
from tests.contract.mailstore import Store

ANNA = "anna@example.org"
FIRST, ANEW = 1_700_000_000, 1_800_000_000  # UIDVALIDITY


class Restless:
    """This machine, with a folder that changes at each word that is said to it."""

    name = "vps"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, command: Sequence[str]) -> LocalChannel:
        channel, folder = LocalHost("vps").open(command), self._folder

        class Touching(LocalChannel):
            def send(self, data: bytes) -> None:
                os.utime(folder)
                super().send(data)

        channel.__class__ = Touching
        return channel


def number(store: Store, validity: int, names: Sequence[str]) -> None:
    lines = "".join(f"{uid} :{name}\n" for uid, name in enumerate(names, 1))
    head = f"3 V{validity} N{len(names) + 1} Ge3b0c44298fc1c149afbf4c8996fb924\n"
    (store.folder(ANNA) / "dovecot-uidlist").write_text(head + lines)


def test_a_part_of_a_folder_that_was_numbered_anew_has_one_numbering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BATCH", 5)
    store, parts = Store(tmp_path), list[Generation]()
    store.fill(ANNA, "", 10, prefix="a")
    old, new = ([f"{letter}{count}.host" for count in range(many)] for letter, many in (("a", 10), ("b", 20)))
    number(store, FIRST, old)
    store.pull()
    store.fill(ANNA, "", 20, prefix="b")
    number(store, ANEW, [*new, *old])
    host = Restless(store.folder(ANNA) / "cur")
    store.pull(calm=False, host=host, care=Care(every=timedelta(), stored=parts.append))

    assert len(parts) > 1
    with store.open_staging() as opened:
        for part in [made for made in parts if made.number in opened.numbers()]:
            (folder,) = opened.archive.mailbox(part, ANNA).folders
            told = {entry.name: entry.uid for entry in opened.archive.entries(folder)}
            assert folder.uid_validity == ANEW
            assert told == {name: uid for uid, name in enumerate([*new, *old], 1) if name in told}
