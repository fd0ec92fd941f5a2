"""Gathers for the doctor whether the homecoming's credential opens the primary's mailboxes. It logs in and looks; nothing is written. Judges nothing itself."""

from __future__ import annotations

from collections.abc import Iterable

from failsafe.app import App
from failsafe.errors import ConfigError, MailError, SecretError
from failsafe.failover.doctor_homecoming import DeliveryCheckup, FilterSight
from failsafe.failover.doctor_secondary import HomecomingLogin
from failsafe.model import ProbeClass

MOST_LOGINS = 20  # in one run


def look_at_delivery(app: App, domain: str) -> DeliveryCheckup:
    """Never raises for anything that a server or a network can do."""
    home = app.domain(domain).homecoming
    if home is None or home.deliver is None:
        return DeliveryCheckup(has_homecoming=home is not None)
    from failsafe.adapters.imap_room import RoomSight, look_at_room
    from failsafe.deliveries import addresses_of
    from failsafe.homecoming_primary import login_memory, login_of

    mailboxes = addresses_of(app, domain).mailboxes
    tried = (
        mailboxes[:1] if home.deliver.accounts_file is None else mailboxes[:MOST_LOGINS]
    )  # a master user opens one as the other
    memory, now, logins = login_memory(app, domain, home.deliver), app.clock.now(), []
    try:
        for mailbox in tried:
            user, password_file = login_of(home.deliver, mailbox)
            held = memory.held(user, password_file, now)
            sight = RoomSight(ProbeClass.UNKNOWN, held) if held else look_at_room(home.deliver.endpoint(), user, password_file)
            if not held and (sight.seen is ProbeClass.UP or sight.login_refused):
                memory.note(user, password_file, now, refused=sight.login_refused)
            logins.append(HomecomingLogin(mailbox, sight.seen, sight.text, sight.quota))
    except (ConfigError, MailError, SecretError) as error:
        return DeliveryCheckup(configured=True, has_homecoming=True, logins=tuple(logins), error=str(error))
    filters = () if home.filter is None else tuple(_filters(app, domain, mailboxes[:MOST_LOGINS]))
    return DeliveryCheckup(configured=True, has_homecoming=True, logins=tuple(logins), filters=filters)


def _filters(app: App, domain: str, mailboxes: Iterable[str]) -> Iterable[FilterSight]:
    from failsafe.homecoming_primary import scripts
    from failsafe.mail.sieve.judge import not_understood

    read = scripts(app, domain)
    for mailbox in mailboxes:
        script = read(mailbox)
        yield FilterSight(mailbox, script.why, not_understood(script.commands))
        if script.why:
            return  # the others would say the same, each after its deadline
