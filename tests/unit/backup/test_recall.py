"""What a source gives."""

from failsafe.backup.recall import Messages, _each_once
from failsafe.model import Body


def test_a_message_that_lies_in_two_segments_is_given_once() -> None:
    def given() -> Messages:
        for id_ in ("a", "b", "a", "c"):
            yield id_, Body.of(id_.encode())

    left = dict.fromkeys("abd")
    assert [id_ for id_, _ in _each_once(given(), left)] == ["a", "b"]
    assert list(left) == ["d"]
