"""One connection at a time to one address of one server: several looks may be under way in this process, but no server sees two of us at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from failsafe.adapters.sockets import Deadline

_taken: set[str] = set()
_changed = threading.Condition()


@contextmanager
def turn(place: str, deadline: Deadline) -> Iterator[bool]:
    """Waits until nobody else is connected to `place`; False where that did not come in time, and then the caller must not connect."""
    with _changed:
        mine = _changed.wait_for(lambda: place not in _taken, deadline.left)
        if mine:
            _taken.add(place)
    try:
        yield mine
    finally:
        if mine:
            with _changed:
                _taken.discard(place)
                _changed.notify_all()
