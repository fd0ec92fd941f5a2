"""A person says "this change was mine": lifts the guard they mean, and no other. Used by the verb `accept`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from failsafe.adapters.lock import FileLock
from failsafe.app import App
from failsafe.backup.clocks import accept_clocks
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.guards import ABOUT, REPOSITORY
from failsafe.backup.inventory import Inventory
from failsafe.backups import HEAVY_LOCK
from failsafe.errors import Refused, UsageError
from failsafe.repositories import keep_guards

LOCK_WAIT_SECONDS = 10.0  # for a backup or check that is about to end
HOST_KEY, UNKNOWN = "host-key-changed", "repository-unknown"
# A key. In the text of a guard that an earlier version raised, the first one is the new one.
FINGERPRINT = re.compile(r"(\S+) (SHA256:[A-Za-z0-9+/]+)")


def accept(app: App, server: str, what: str, mailbox: str | None, tell: Callable[[str], None]) -> str:
    """Lifts what stands; gives a sentence. `tell` is told what a person should see before anything is changed."""
    if mailbox is not None and what not in ("loss", "tampering"):
        raise UsageError(
            f"--mailbox does not go with --what {what}", mend=f"failsafe accept {server} --what {what} --reason TEXT"
        )
    with _inventory(app, server) as inventory:
        before = inventory.standing()
        deeds: dict[str, Callable[[], str]] = {
            "loss": lambda: _accept_content(inventory, mailbox, tampering=False),
            "tampering": lambda: _accept_content(inventory, mailbox, tampering=True),
            "host-key": lambda: _accept_host_key(app, server, inventory, tell),
            "repository": lambda: _accept_repositories(app, inventory),
            "clock": lambda: _accept_clocks(inventory),
        }
        text = deeds[what]()
        left = inventory.standing()
    still = {(one.place, one.code) for one in left}
    lifted = sorted({one.code for one in before if (one.place, one.code) not in still})
    book = GuardBook(app.inventory_file(server), server)
    book.note_told()
    keep_guards(app, server, book.guards())
    words = [f"lifted {', '.join(lifted)}" if lifted else "no such guard stands", text]
    if left:
        words.append(f"{', '.join(sorted({one.code for one in left}))} still stands")
    return "; ".join(word for word in words if word)


@contextmanager
def _inventory(app: App, server: str) -> Iterator[Inventory]:
    file = app.inventory_file(server)
    if not file.exists():
        raise UsageError(f"{server} was never backed up, so there is nothing to accept", mend=f"failsafe backup {server}")
    lock = FileLock(app.lock_file(HEAVY_LOCK), f"accept {server}")  # a pull at work has judged by what was there before
    with lock.hold(wait_seconds=LOCK_WAIT_SECONDS), Inventory.open(file) as inventory:
        yield inventory


def _accept_content(inventory: Inventory, mailbox: str | None, *, tampering: bool) -> str:
    """Messages that vanished, or their old content, leave the manifests with the next backup; earlier snapshots keep them."""
    gone = inventory.accept(mailbox, tampering=tampering)
    return f"{gone} vanished messages leave the next snapshot, earlier ones keep them" if gone else ""


def _accept_clocks(inventory: Inventory) -> str:
    accept_clocks(inventory)
    return ""


def _accept_repositories(app: App, inventory: Inventory) -> str:
    """Forgets the ids of those that were not the known ones (or failed otherwise); each is known again by its id at the next backup."""
    guarded = {one.place.removeprefix(REPOSITORY) for one in inventory.standing() if one.code == UNKNOWN}
    known = {name: state for name, state in app.duties.repositories().items() if state.restic_id}
    names = sorted(guarded & set(known) or (name for name, state in known.items() if state.last_result == "failed"))
    for name in names:
        app.duties.change_repository(name, restic_id="")
    with inventory.db:
        inventory.lift(UNKNOWN)
    return f"the next backup takes {', '.join(names)} as it finds it" if names else ""


def _accept_host_key(app: App, server: str, inventory: Inventory, tell: Callable[[str], None]) -> str:
    """Only the key that the guard named, and that the server still shows, takes the place of the known one."""
    from failsafe.adapters.host_keys import known_keys, replace_key, shown_key

    standing = next((one for one in inventory.standing() if one.code == HOST_KEY), None)
    if standing is None:
        return ""
    host, file = app.ssh_place(server)
    named = FINGERPRINT.search(inventory.get(ABOUT.format(HOST_KEY)) or standing.text)
    shown = shown_key(*host, kinds=(named[1],) if named else ())
    old = ", ".join(f"{key.kind} {key.fingerprint}" for key in known_keys(file, *host)) or "none"
    tell(f"known until now: {old}")
    tell(f"shown now:       {shown.kind} {shown.fingerprint}")
    if named is None or shown.fingerprint != named[2]:
        raise Refused(
            f"{server} now shows {shown.kind} {shown.fingerprint}, which is not the key that the guard told of",
            mend=f"failsafe backup {server} tells of the present one; a key that changes again and again is somebody in between",
        )
    kept = replace_key(file, *host, shown)
    with inventory.db:
        inventory.lift(HOST_KEY)
    return f"{file} now has {shown.kind} {shown.fingerprint} in place of {old}; the file as it was: {kept}"
