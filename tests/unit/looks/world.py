"""A configuration whose one server is looked at on three axes, with nothing behind its addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.looks.every import looks_of
from failsafe.looks.look import Look
from failsafe.model import Axis, Evidence, ProbeClass, Sign
from tests.contract.configs import MAIL_HERE

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CONFIG = (
    MAIL_HERE
    + """
[probe.vps]
smtp = ["127.0.0.1:{port}"]
recipient = "probe@example.test"
imap = {{ host = "127.0.0.1", port = 1, tls = "none", user = "probe@example.test", password_file = "{folder}/password" }}
submission = [{{ host = "127.0.0.1", port = 1, tls = "none" }}]
{more}
"""
)


@contextmanager
def configured(folder: Path, *, port: int = 1, more: str = "") -> Iterator[App]:
    (folder / "password").touch(0o600)
    (folder / "password").write_text("correct horse")
    file = folder / "failsafe.toml"
    file.write_text(CONFIG.format(folder=folder, port=port, more=more))
    app = App(load_config(file), file)
    yield app
    app.store.close()


def look_at(app: App, axis: Axis) -> Look:
    return next(look for look in looks_of(app, "vps") if look.axis is axis)


def remember(
    app: App, axis: Axis, seen: ProbeClass, text: str, at: datetime, *signs: Sign, transcript: str = "", tls_fault: str = ""
) -> None:
    target = look_at(app, axis).target
    evidence = Evidence("vps", "here", axis, seen, at, text, target, 0.5, transcript, frozenset(signs), tls_fault)
    app.history.record(evidence, MINUTE)
