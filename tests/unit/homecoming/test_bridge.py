"""What Proton's Bridge adds is taken away, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

from failsafe.homecoming.bridge import clean_head, is_placeholder, without_additions
from failsafe.mail.fingerprint import fingerprint
from tests.contract.bridge_rebuild import failed_to_build, internal_id, rebuilt
from tests.corpus import corpus
from tests.corpus.ordinary import ordinary

AT = datetime(2026, 11, 16, 9, tzinfo=UTC)


def without(message: bytes) -> bytes:
    return b"".join(without_additions([message]))


def test_nothing_of_bridge_is_left_in_a_message_and_it_is_still_the_same() -> None:
    for odd in ordinary():
        built = rebuilt(odd.data, AT, "anna@example.org")

        clean = without(built)

        head, _, body = clean.partition(b"\r\n\r\n")
        assert internal_id(odd.data, AT).encode() not in head
        assert b"internalid" not in head
        assert b"x-pm-" not in head.lower()
        assert body == built.partition(b"\r\n\r\n")[2]
        assert fingerprint([clean]) == fingerprint([built])
        assert without(clean) == clean


def test_references_of_others_stay_and_the_order_of_fields_too() -> None:
    head = (
        b"X-Pm-Internal-Id: Ab+c==\r\nSubject: a: b\r\nX-Pm-Message-ID: theirs\r\n"
        b"References: <x@y>\r\n <other==@protonmail.internalid> <Ab+c==@protonmail.internalid>\r\n"
        b"Message-Id: <m@x>\r\nX-PM-Date: now,\r\n and then\r\nTo: a@b\r\n"
    )

    assert clean_head(head) == (
        b"Subject: a: b\r\nX-Pm-Message-ID: theirs\r\nReferences: <x@y>\r\n <other==@protonmail.internalid>\r\nMessage-Id: <m@x>\r\nTo: a@b\r\n"
    )


def test_a_made_up_message_id_and_empty_references_go() -> None:
    head = b"X-Pm-Internal-Id: Q\nMessage-Id: <Q@protonmail.internalid>\nReferences:  <Q@protonmail.internalid>\nTo: a@b\n"

    assert clean_head(head) == b"To: a@b\n"


def test_other_messages_pass_unchanged_in_pieces_of_any_size() -> None:
    for odd in corpus():
        size = max(7, len(odd.data) // 50)
        pieces = (odd.data[start : start + size] for start in range(0, len(odd.data), size))
        assert b"".join(without_additions(pieces)) == odd.data, odd.name


def test_what_stands_for_a_message_that_bridge_could_not_build_is_known() -> None:
    assert is_placeholder(failed_to_build("Hello", AT, "abc=="))
    assert not is_placeholder(b"From: a@b\r\nSubject: Message failed to build\r\n\r\n")
    assert not is_placeholder(b"Subject: Hello\r\n\r\n")
