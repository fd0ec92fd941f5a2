"""Mail that comes in while the probes see the primary down keeps the MX where it is; read with the real server's side, over real SSH."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.clock import SystemClock
from failsafe.config.load import parse_config
from failsafe.proof_of_life import newest_proof
from tests.contract.configs import mail_over_ssh
from tests.contract.conftest import Sshd
from tests.contract.mailstore import Store

STRANGER = "from mx.sender.example (mx.sender.example [198.51.100.7])\n\tby mail.example.org (Postfix) with ESMTPS id 4F1"
FROM_HERE = "by mail.example.org (Postfix, from userid 0)\n\tid 4F2"


def configured(folder: Path, store: Store, sshd: Sshd) -> App:
    text = mail_over_ssh(folder, store.root, sshd, "failsafe-probe@example.org")
    return App(parse_config(text.encode(), "failsafe.toml"), folder / "failsafe.toml")


def letter(received: str, at: datetime, to: str = "anna@example.org") -> bytes:
    return f"Received: {received};\n\t{format_datetime(at)}\nFrom: x@sender.example\nTo: {to}\nSubject: hello\n\nbody\n".encode()


class Primary:
    """A server with old mail, which is looked at for what has come since ten minutes."""

    def __init__(self, folder: Path, sshd: Sshd) -> None:
        self.store = Store(folder)
        self.store.put("anna@example.org", "", "old.host:2,S", letter(STRANGER, SystemClock().now() - timedelta(days=1)))
        self.store.put("failsafe-probe@example.org", "", "first.host:2,S", b"x")
        self.app = configured(folder, self.store, sshd)
        self.since = self.app.clock.now() - timedelta(minutes=10)

    def receives(self, received: str, ago: float, *, mailbox: str = "anna@example.org", to: str = "anna@example.org") -> datetime:
        at = (SystemClock().now() - timedelta(minutes=ago)).replace(microsecond=0)
        name = f"{time.time_ns()}.host"
        self.store.put(mailbox, "", name, letter(received, at, to), sub="new", date=int(at.timestamp()))
        return at

    def proof(self) -> datetime | None:
        return newest_proof(self.app, "vps", self.since)


@pytest.fixture
def primary(tmp_path: Path, sshd: Sshd) -> Primary:
    return Primary(tmp_path, sshd)


def test_a_strangers_message_is_found_and_the_newest_one_counts(primary: Primary) -> None:
    assert primary.proof() is None
    primary.receives(STRANGER, ago=8)
    at = primary.receives(STRANGER, ago=3)
    found = primary.proof()
    assert found is not None
    assert abs(found - at) < timedelta(seconds=5)  # the two clocks are one


def test_local_mail_canaries_and_old_mail_that_was_put_there_now_are_none(primary: Primary) -> None:
    primary.receives(FROM_HERE, ago=1)
    primary.receives(STRANGER, ago=1, to="failsafe-probe@example.org")
    primary.receives(STRANGER, ago=1, mailbox="failsafe-probe@example.org")
    brought_back = letter(STRANGER, SystemClock().now() - timedelta(days=1))
    primary.store.put("anna@example.org", "", "back.host", brought_back, sub="new", date=int(time.time()))
    assert primary.proof() is None


def test_a_server_that_cannot_be_reached_proves_nothing(tmp_path: Path, sshd: Sshd) -> None:
    primary = Primary(tmp_path, sshd)
    primary.receives(STRANGER, ago=1)
    away = sshd.key.rename(sshd.key.with_suffix(".away"))
    try:
        assert primary.proof() is None
    finally:
        away.rename(sshd.key)
