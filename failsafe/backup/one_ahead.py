"""The next portion is fetched while the present one is worked on: two programs that wait for each other use two processors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

P = TypeVar("P")
R = TypeVar("R")


def one_ahead(
    portions: Sequence[P], fetch: Callable[[P], R], stop: Callable[[], None], meanwhile: Callable[[], None] = lambda: None
) -> Iterator[tuple[P, R]]:
    """Each portion, in order, with what `fetch` gave for it. `fetch` runs in a thread of its own, one portion at a time.

    What it raises comes when its portion is due, after those before were given. Left early, `stop` ends the fetch under way.
    `meanwhile` is called once, when there is nothing to do yet but to wait for the first portion.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
        coming = [pool.submit(fetch, portion) for portion in portions[:1]]
        try:
            meanwhile()
            for place, portion in enumerate(portions):
                fetched = coming.pop().result()
                coming = [pool.submit(fetch, following) for following in portions[place + 1 : place + 2]]
                yield portion, fetched
        except BaseException:
            stop()
            raise
