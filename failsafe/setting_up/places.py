"""Which mail servers lie on a machine, of what one look showed of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from failsafe.backup.layouts import Container
from failsafe.setting_up.sight import ServerSight, Size, shown_size

DMS_MOUNTS = {"/var/mail": "mail-data", "/tmp/docker-mailserver": "config", "/var/mail-state": "mail-state"}  # noqa: S108 - in the container
MAILCOW = "/opt/mailcow-dockerized"


@dataclass(frozen=True, slots=True)
class Place:
    """A mail server that was found: its layout, and `path` or `container` as the configuration names them. `mail`: the folder of the messages."""

    layout: str
    path: str = ""
    container: str = ""
    why: str = ""
    mail: str = ""
    owner: str = ""

    @property
    def where(self) -> str:
        return self.path or (f"container:{self.container}" if self.container else "")


def find_places(sight: ServerSight) -> tuple[Place, ...]:
    """The surest first; none where nothing that is known was seen."""
    found = [*_in_containers(sight), *_on_disk(sight)]
    taken: dict[str, Place] = {}
    for place in found:
        taken.setdefault(place.mail or place.where, place)
    return tuple(taken.values())


def size_at(sight: ServerSight, layout: str, where: str) -> Size | None:
    """How much mail lies there; None where nobody counted it."""
    place = next((each for each in find_places(sight) if each.layout == layout and each.where == where), None)
    paths = ((place.mail,) if place else ()) + ((where, f"{where}/mail-data", f"{where}/mail") if where.startswith("/") else ())
    return next((size for path in paths if (size := sight.size_of(path)) is not None), None)


def describe(place: Place, sight: ServerSight) -> str:
    size = size_at(sight, place.layout, place.where)
    if size is None:
        return place.why
    more = "" if size.whole else "more than "
    return f"{place.why}; {more}{shown_size(size.bytes)} in {more}{size.files} files"


def _in_containers(sight: ServerSight) -> Iterator[Place]:
    for one in sight.containers.containers:
        if one.service == "dovecot-mailcow":
            vmail = one.mount("/var/vmail")
            path = "" if one.folder in ("", MAILCOW) else one.folder
            yield Place("mailcow", path, "", f"container {one.name} is mailcow's", vmail.source if vmail else "")
        elif one.mount("/tmp/docker-mailserver") is not None and one.mount("/var/mail") is not None:  # noqa: S108
            yield _docker_mailserver(one)
        elif one.service == "imap" and one.mount("/mail") is not None and _is_mailu(one, sight):
            mail = one.mount("/mail")
            assert mail is not None
            folder, name = mail.source.rpartition("/")[::2]
            path = folder if name == "mail" and mail.kind == "bind" else ""
            yield Place("mailu", path, "" if path else one.name, f"container {one.name} is Mailu's", mail.source)


def _docker_mailserver(one: Container) -> Place:
    """By its folder where all lies in one, as its handbook has it: that needs no right to run docker."""
    mounts = {destination: mount for destination in DMS_MOUNTS if (mount := one.mount(destination)) is not None}
    folders = {mount.source.rpartition("/")[0] for mount in mounts.values()}
    as_written = all(
        mount.kind == "bind" and mount.source.rpartition("/")[2] == DMS_MOUNTS[place] for place, mount in mounts.items()
    )
    path = folders.pop() if as_written and len(folders) == 1 and len(mounts) == len(DMS_MOUNTS) else ""
    why = f"container {one.name} is a docker-mailserver"
    return Place("docker-mailserver", path, "" if path else one.name, why, mounts["/var/mail"].source)


def _is_mailu(one: Container, sight: ServerSight) -> bool:
    return "mailu" in one.image or any(
        other.project == one.project and other.service == "admin" and other.mount("/data") is not None
        for other in sight.containers.containers
    )


def _on_disk(sight: ServerSight) -> Iterator[Place]:
    for folder in sight.folders:
        if not folder.mailboxes:
            continue
        above, _, name = folder.path.rpartition("/")
        why = f"{folder.path} holds {folder.mailboxes} mailbox(es)"
        if name == "mail-data":
            yield Place("docker-mailserver", above, "", why, folder.path, folder.owner)
        elif folder.path == "/mailu/mail":
            yield Place("mailu", above, "", why, folder.path, folder.owner)
        else:
            yield Place("maildir", folder.path, "", why, folder.path, folder.owner)
    if sight.dovecot and not any(folder.mailboxes for folder in sight.folders):
        yield Place("imap", "", "", "Dovecot is installed there, and no Maildirs were found in the usual places")
