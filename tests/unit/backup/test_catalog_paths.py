"""By whatever index an answer is reached, it is the same answer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import pytest

from failsafe.backup import catalog_paths
from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_search import Query, folders_that_hold, headers_of, search
from tests.unit.backup.mailboxes import World, mail, moment

ANN, BOB = "ann@example.org", "bob@example.org"
WORDS = ("alpha", "beta", "gamma", "ab", "日本", "x")
QUERIES = [
    Query(**{**text, **place, **when})  # type: ignore[arg-type]
    for text, place, when in itertools.product(
        (
            {},
            {"subject": "alpha"},
            {"words": ("beta", "alpha")},
            {"subject": "ab"},
            {"subject": "x"},
            {"subject": "本"},
            {"sender": "a"},
            {"words": ("nowhere",)},
            {"words": ("zq",)},
        ),
        ({}, {"mailbox": ANN}, {"folder": "INBOX"}, {"mailbox": "*@none"}),
        ({}, {"gone": True}, {"gone_since": moment(9)}, {"since": moment(0), "until": moment(10)}, {"at": moment(8)}),
    )
]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """300 messages in four folders; in a second state a third is gone and a tenth has moved."""
    chance = random.Random(5)
    world = World(tmp_path_factory.mktemp("paths") / "staging")
    held = [
        mail(number, subject=" ".join(chance.choices(WORDS, k=3)), sender=f"{chance.choice('abc')}@x.example")
        for number in range(300)
    ]
    world.commit(
        moment(8), {ANN: {"INBOX": held[:100], "Sent": held[100:180]}, BOB: {"INBOX": held[180:290], "Sent": held[280:]}}
    )
    left = {ANN: {"INBOX": held[:60:2], "Sent": held[100:180] + held[61:80:2]}, BOB: {"INBOX": held[200:290], "Sent": held[285:]}}
    world.commit(moment(9), left)
    with Catalog.open(tmp_path_factory.mktemp("paths") / "catalog.sqlite") as opened:
        opened.catch_up(world.staging.archive, "vps")
        yield opened


@pytest.mark.parametrize("enough", [1, 40, 10**9], ids=["walked", "walked until it is too far", "looked up"])
def test_the_newest_rows_are_those_of_the_whole_answer(enough: int, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_paths, "_enough", lambda _catalog, _limit: enough)
    monkeypatch.setattr(catalog_paths, "WALKED", 100_000 if enough == 1 else 1)
    answers = 0
    for query in QUERIES:
        whole = list(search(catalog, query))
        assert whole == sorted(whole, key=lambda row: row.internal_date, reverse=True)
        for limit in (1, 7, 1000):
            assert list(search(catalog, query, limit=limit)) == whole[:limit], query
        answers += len(whole)
    assert answers > 1000


@pytest.mark.parametrize("text", ["a", "ab", "本", "日本", "x", "alpha", "a a", "%", "_", '"', "*", "ß"])
def test_a_short_word_finds_what_a_look_at_each_subject_finds(text: str, catalog: Catalog) -> None:
    everything = list(search(catalog, Query()))
    found = list(search(catalog, Query(subject=text)))
    assert found == [row for row in everything if text.casefold() in row.subject.casefold()]


def test_more_folders_than_are_walked_side_by_side_give_the_same(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    few = list(search(catalog, Query(mailbox=ANN), limit=50))
    monkeypatch.setattr(catalog_paths, "MERGED", 1)
    assert list(search(catalog, Query(mailbox=ANN), limit=50)) == few
    assert len(few) == 50


@pytest.mark.parametrize(
    "ask", [lambda catalog, ids: folders_that_hold(catalog, "vps", ANN, ids), headers_of], ids=["folders", "headers"]
)
def test_what_is_asked_of_many_messages_does_not_go_through_all_of_them_for_each(
    ask: Callable[[Catalog, list[str]], dict[str, object]], catalog: Catalog
) -> None:
    ids = sorted({row.id for row in search(catalog, Query(mailbox=ANN))})
    assert len(ids) > 100
    assert steps(catalog, lambda: ask(catalog, ids)) < 200 * len(ids)


def steps(catalog: Catalog, ask: Callable[[], object]) -> int:
    """Instructions that SQLite carried out, to the next ten."""
    count = itertools.count()
    catalog.connection.set_progress_handler(lambda: next(count) and None, 10)
    try:
        ask()
    finally:
        catalog.connection.set_progress_handler(None, 0)
    return 10 * next(count)
