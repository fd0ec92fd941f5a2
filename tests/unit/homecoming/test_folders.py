"""Which folders come home, and what the primary calls them."""

from __future__ import annotations

import pytest

from failsafe.homecoming.folders import Place, comes_home, folder_at, home_name, place_of, views_in


@pytest.mark.parametrize(
    ("folder", "attributes", "place"),
    [
        ("INBOX", (), Place.INBOX),
        ("Inbox", (), Place.INBOX),
        ("Spam", (), Place.JUNK),
        ("INBOX/Junk", (), Place.JUNK),
        ("[Gmail]/Spam", ("\\HasNoChildren", "\\Junk"), Place.JUNK),
        ("Anything", ("\\JUNK",), Place.JUNK),
        ("Gesendete Elemente", (), Place.SENT),
        ("Envoyés", (), Place.SENT),
        ("送信済み", (), Place.SENT),
        ("Papierkorb", (), Place.TRASH),
        ("Archive", (), Place.ARCHIVE),
        ("Entwürfe", (), Place.DRAFTS),
        ("All Mail", (), Place.VIEW),
        ("[Gmail]/All Mail", (), Place.VIEW),
        ("Alles", ("\\All",), Place.VIEW),
        ("Labels/work", (), Place.OTHER),
        ("Sent", ("\\Junk",), Place.JUNK),
        ("[Gmail]/Todos", (), Place.VIEW),
        ("Starred", ("\\Flagged",), Place.VIEW),
        ("Starred", (), Place.OTHER),
        ("Important", (), Place.OTHER),
        ("Todos", (), Place.OTHER),
        ("Projects", (), Place.OTHER),
        ("Projects/Sent", (), Place.OTHER),
        ("Folders/Work", (), Place.OTHER),
    ],
)
def test_a_folder_is_told_by_its_attributes_and_else_by_its_name(folder: str, attributes: tuple[str, ...], place: Place) -> None:
    assert place_of(folder, attributes) is place


def test_views_and_drafts_stay() -> None:
    assert [folder for folder in ("INBOX", "All Mail", "Drafts", "Trash", "Mine") if comes_home(folder)] == [
        "INBOX",
        "Trash",
        "Mine",
    ]


def test_what_shows_other_folders_mail_is_not_read_and_labels_only_where_proton_s_bridge_answers() -> None:
    names = ("INBOX", "Drafts", "Labels/work", "Folders/Work", "Mine")
    bridge = dict.fromkeys((*names, "All Mail"), ())

    assert views_in(dict.fromkeys(names, ())) == frozenset()
    assert views_in(bridge) == {"All Mail", "Labels/work"}
    assert views_in({**dict.fromkeys(names, ()), "Starred": ("\\flagged",)}) == {"Starred", "Labels/work"}
    assert views_in({"INBOX": (), "Alles": ("\\all",)}) == {"Alles"}


def test_a_folder_that_a_person_made_keeps_its_name_and_proton_tells_it_with_one_more() -> None:
    assert [home_name(folder) for folder in ("Projects/2026", "Folders/Work/A", "Correo no deseado")] == [
        "Projects/2026",
        "Work/A",
        "Junk",
    ]


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ({"INBOX": (), "Junk": ()}, "Junk"),
        ({"Spam": ("\\Junk",), "Junk": ()}, "Spam"),
        ({"INBOX/Spam": ()}, "INBOX/Spam"),
        ({"INBOX": ()}, "Junk"),
    ],
)
def test_junk_goes_to_what_the_primary_has_for_it(listing: dict[str, tuple[str, ...]], expected: str) -> None:
    assert folder_at("Junk", listing) == expected


def test_other_names_stay_as_they_are() -> None:
    assert folder_at("Projects", {"Projects": ("\\Junk",)}) == "Projects"
    assert folder_at("INBOX", {"INBOX": ()}) == "INBOX"
