"""Which mail server lies on a machine, of what one look showed."""

from __future__ import annotations

from typing import Any

import pytest

from failsafe.adapters.server_look import parse_look
from failsafe.setting_up.places import Place, find_places, size_at
from failsafe.setting_up.sight import ServerSight


def sight(*rows: dict[str, Any]) -> ServerSight:
    return parse_look([{"look": 1, "python": "3.11"}, *rows, {"end": True}])


def container(name: str, mounts: dict[str, str], *, service: str = "", folder: str = "", kind: str = "bind") -> dict[str, Any]:
    labels = {"project": "p" if service else "", "service": service, "project.working_dir": folder}
    shown = [[kind, "", source, destination] for destination, source in mounts.items()]
    return {"container": name, "status": "running", "image": "x", "labels": labels, "mounts": shown}


DMS = {"/var/mail": "/srv/dms/mail-data", "/tmp/docker-mailserver": "/srv/dms/config", "/var/mail-state": "/srv/dms/mail-state"}


def test_a_docker_mailserver_laid_out_as_its_handbook_has_it_is_known_by_its_folder() -> None:
    (found,) = find_places(sight(container("mailserver", DMS)))
    assert (found.layout, found.where, found.mail) == ("docker-mailserver", "/srv/dms", "/srv/dms/mail-data")


def test_one_whose_mail_lies_elsewhere_is_known_by_its_container() -> None:
    (found,) = find_places(sight(container("mail", {**DMS, "/var/mail": "/big/mail"})))
    assert (found.layout, found.where) == ("docker-mailserver", "container:mail")


def test_mailcow_in_its_usual_folder_needs_no_path() -> None:
    vmail = {"/var/vmail": "/var/lib/docker/volumes/v/_data"}
    (usual,) = find_places(
        sight(container("d", vmail, service="dovecot-mailcow", folder="/opt/mailcow-dockerized", kind="volume"))
    )
    (moved,) = find_places(sight(container("d", vmail, service="dovecot-mailcow", folder="/srv/cow", kind="volume")))
    assert (usual.layout, usual.where, moved.where) == ("mailcow", "", "/srv/cow")


def test_mailu_is_known_by_its_siblings() -> None:
    rows = [
        container("mailu-imap-1", {"/mail": "/mailu/mail"}, service="imap"),
        container("a", {"/data": "/mailu/data"}, service="admin"),
    ]
    (found,) = find_places(sight(*rows))
    assert (found.layout, found.where) == ("mailu", "/mailu")
    assert find_places(sight(rows[0])) == ()


def test_maildirs_on_disk_are_found_with_their_owner_and_size() -> None:
    seen = sight(
        {"mail": "/var/vmail", "mailboxes": 4, "owner": "vmail"}, {"size": "/var/vmail", "bytes": 12, "files": 3, "whole": True}
    )
    assert find_places(seen) == (Place("maildir", "/var/vmail", "", "/var/vmail holds 4 mailbox(es)", "/var/vmail", "vmail"),)
    size = size_at(seen, "maildir", "/var/vmail")
    assert size is not None
    assert (size.bytes, size.whole) == (12, True)


def test_the_same_mail_seen_twice_is_one_place() -> None:
    rows = [container("mailserver", DMS), {"mail": "/srv/dms/mail-data", "mailboxes": 2, "owner": "5000"}]
    assert [place.layout for place in find_places(sight(*rows))] == ["docker-mailserver"]


def test_a_dovecot_without_maildirs_is_read_over_imap() -> None:
    seen = parse_look([{"look": 1, "python": "3.9", "dovecot": True}, {"end": True}])
    assert [place.layout for place in find_places(seen)] == ["imap"]


def test_what_could_not_be_seen_is_said() -> None:
    seen = sight({"trouble": "docker: permission denied"}, {"closed": "/var/vmail", "why": "Permission denied"})
    assert seen.trouble == "docker: permission denied; /var/vmail: Permission denied"


@pytest.mark.parametrize("rows", [[], [{"hello": 1}], [{"look": 1, "python": "3"}]])
def test_an_answer_that_is_cut_off_or_of_another_program_is_none(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="no answer"):
        parse_look(rows)
