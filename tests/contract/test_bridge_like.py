"""The stand-in for Bridge, looked at by a program of another kind: what it shows is what is documented, and it can renumber all of it."""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes

import pytest

from tests.contract.bridge_like import BridgeLike, bridge_like
from tests.contract.bridge_rebuild import INTERNAL
from tests.contract.dovecot import PASSWORD
from tests.corpus.ordinary import ordinary

ANN = "ann@example.org"
AT = datetime(2026, 11, 16, 9, tzinfo=UTC)
LETTERS = {odd.name: odd.data for odd in ordinary()}


@pytest.fixture(scope="module")
def bridge() -> Iterator[BridgeLike]:
    with bridge_like([ANN]) as made:
        for name in ("text", "alternative", "no-id-a"):
            made.deliver(ANN, LETTERS[name], AT, labels=["work"] if name == "text" else ())
        yield made


def client(bridge: BridgeLike) -> imaplib.IMAP4:
    trust = ssl.create_default_context(cafile=str(bridge.certificate))
    imap = imaplib.IMAP4("127.0.0.1", bridge.port, timeout=20)
    imap.starttls(trust)
    imap.login(ANN, PASSWORD)
    return imap


def shown(imap: imaplib.IMAP4, folder: str) -> dict[str, tuple[int, bytes]]:
    """Subject -> UID and bytes."""
    imap.select(f'"{folder}"', readonly=True)
    found = {}
    for part in imap.fetch("1:*", "(UID BODY.PEEK[])")[1]:
        if isinstance(part, tuple):
            uid = int(part[0].split(b"UID ")[1].split()[0])
            found[str(message_from_bytes(part[1])["Subject"])] = (uid, part[1])
    return found


def test_each_message_lies_in_all_mail_too_and_under_its_labels(bridge: BridgeLike) -> None:
    with client(bridge) as imap:
        assert set(shown(imap, "INBOX")) == set(shown(imap, "All Mail")) == {"text", "alternative", "no-id-a"}
        assert set(shown(imap, "Labels/work")) == {"text"}


def test_a_message_is_built_anew_with_marks_of_its_own(bridge: BridgeLike) -> None:
    with client(bridge) as imap:
        found = {name: message_from_bytes(data) for name, (_, data) in shown(imap, "INBOX").items()}
    assert found["text"]["Message-Id"] == "<text@ordinary.test>"
    assert found["no-id-a"]["Message-Id"].endswith(f"@{INTERNAL}>")
    assert all(each["References"].endswith(f"@{INTERNAL}>") for each in found.values())
    assert all(each["X-Pm-Internal-Id"] for each in found.values())
    assert found["alternative"].get_content_type() == "text/html"


def test_after_a_repair_all_is_there_under_other_numbers(bridge: BridgeLike) -> None:
    with client(bridge) as imap:
        before, valid = shown(imap, "INBOX"), imap.response("UIDVALIDITY")[1]
    bridge.renumber(ANN)
    with client(bridge) as imap:
        after, again = shown(imap, "INBOX"), imap.response("UIDVALIDITY")[1]

    assert again != valid
    assert {name: data.partition(b"\n")[2] for name, (_, data) in after.items()} == {
        name: data.partition(b"\n")[2] for name, (_, data) in before.items()
    }
    assert {name: uid for name, (uid, _) in after.items()} != {name: uid for name, (uid, _) in before.items()}
