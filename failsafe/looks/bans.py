"""Asks a mail server's fail2ban, or mailcow's own list, over SSH, whether it bans us. Nothing is changed there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

from failsafe.adapters.sockets import CannotLook, Deadline, look_up
from failsafe.app import LOOK_SILENCE, App
from failsafe.config.vantages import looks_at, stack_of
from failsafe.errors import FailsafeError
from failsafe.failover.bans import BanList, Stack, parse_bans, unban_words
from failsafe.failover.doctor_vantages import BanCheckup

SECONDS = 20.0  # for the whole: logging in, and each of its jails
LOOK_UP_SECONDS = 5.0


def ask_bans(app: App, server: str, addresses: Sequence[str] = (), *, seconds: float = SECONDS) -> BanList:
    """What its fail2ban says of our address and of these. Never raises FailsafeError: `error` says why nobody knows."""
    if app.server(server).ssh is None:
        return BanList(error="ssh is not configured, so its fail2ban cannot be asked")
    stack = stack_of(app.server(server))
    if stack.layout == "mailu":
        return BanList(error="Mailu limits logins by address and keeps no list that could be asked")
    found: list[BanList] = []
    asker = threading.Thread(
        target=lambda: found.append(_ask(app, server, stack, addresses)), name=f"fail2ban at {server}", daemon=True
    )
    asker.start()
    asker.join(seconds)
    return found[0] if found else BanList(error=f"its fail2ban did not answer within {seconds:.0f} s")


def _ask(app: App, server: str, stack: Stack, addresses: Sequence[str]) -> BanList:
    from failsafe.backup.protocol import ServerSession
    from failsafe.backup.reach import Reach

    try:
        with ServerSession(app.mail_host(server, silence=LOOK_SILENCE), Reach("")) as session:
            return parse_bans(session.bans(stack.container, addresses))
    except FailsafeError as error:
        return BanList(error=str(error))


def banned_now(app: App, server: str) -> str:
    """A sentence where its fail2ban bans the address that we come from; "" where it does not, or nobody can say."""
    known = ask_bans(app, server)
    jails = known.banning(known.ours)
    if not jails:
        return ""
    again = unban_words(stack_of(app.server(server)), known.ours, jails[0])
    return f"fail2ban there bans {known.ours} (jail {', '.join(jails)}); to be let in again: {again}"


def look_at_bans(app: App, server: str) -> BanCheckup:
    """For the doctor: our address and those of the other machines that look at this server. Keeps our address, to notice a change. Raises StoreError."""
    stack = stack_of(app.server(server))
    if server not in app.config.probe:
        return BanCheckup(stack, BanList(error="no probe is configured"))
    others = tuple(_machines(app, server))
    known = ask_bans(app, server, [address for _, found in others for address in found])
    duty = f"address:{server}"
    row = app.duties.all().get(duty)
    before = "" if row is None else str(row.details.get("address", ""))
    if known.ours and known.ours != before:
        app.duties.ended(duty, app.clock.now(), ok=True, details={"address": known.ours})
    return BanCheckup(stack, known, others, before)


def _machines(app: App, server: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(vantage, addresses of its machine) as our resolver knows them; what it connects from is most often the same."""
    for name, table in sorted(app.config.vantage.items()):
        if table.ssh is not None and looks_at(app.config, table, server):
            with contextlib.suppress(CannotLook):
                yield name, tuple(address.ip for address in look_up(table.ssh.host, 22, Deadline(LOOK_UP_SECONDS)))
