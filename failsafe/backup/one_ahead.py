"""The next portion is fetched while the present one is worked on: two programs that wait for each other use two processors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

STOP_EVERY = 0.2  # seconds
P = TypeVar("P")
R = TypeVar("R")


def one_ahead(
    portions: Sequence[P], fetch: Callable[[P], R], stop: Callable[[], None], meanwhile: Callable[[], None] = lambda: None
) -> Generator[tuple[P, R], None, None]:
    """Each portion, in order, with what `fetch` gave for it. `fetch` runs in a thread of its own, one portion at a time.

    What it raises comes when its portion is due, after those before were given. Left early, `stop` ends the fetch under way.
    `meanwhile` is called once, when there is nothing to do yet but to wait for the first portion.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
        coming = [pool.submit(fetch, portion) for portion in portions[:1]]
        try:
            meanwhile()
            for place, portion in enumerate(portions):
                fetched = coming[0].result()
                coming = [pool.submit(fetch, following) for following in portions[place + 1 : place + 2]]
                yield portion, fetched
        except BaseException:
            while wait(coming, 0).not_done:  # again and again: it ends what runs, not what is about to begin
                stop()
                wait(coming, STOP_EVERY)
            raise
