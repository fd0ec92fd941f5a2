"""What a person is told when a whole server was restored: what clients will see, and what nobody but a person can do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

SHOWN = 5  # of a list of like things


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the words depend on."""

    server: str
    layout: str
    as_of: str  # local time of the restored state
    is_older: bool  # a newer state of the server is known
    newer_as_of: str = ""
    kept_uids: int = 0  # folders
    new_uids: tuple[str, ...] = ()
    unnumbered: int = 0
    in_two_parts: bool = False  # people could work before older mail was there
    work: str = ""  # our folder there
    by_hand: tuple[str, ...] = ()  # below work/by-hand
    replaced: str = ""  # folder there with what was moved aside; "" where there was nothing
    resynced: bool = False  # doveadm rebuilt indexes and quotas
    doveadm: str = "doveadm"
    new_address: str = ""  # of the machine, where it is another than the configuration's; "" where it is the same
    names: tuple[str, ...] = ()  # that people and senders use for the server
    elsewhere: tuple[str, ...] = ()  # those of them that do not lead to the new machine
    has_keys: bool = False  # DKIM keys were among the files
    has_certificates: bool = False
    started: bool = False
    container: str = ""


def client_words(outcome: Outcome) -> list[str]:
    """Sentences: what mail programs show when they connect again."""
    words = []
    if outcome.kept_uids:
        words.append(
            f"{_count(outcome.kept_uids, 'folder')}: mail programs keep what they have loaded; UIDs that the lost server may have given out "
            "after the backup are skipped, so none shows one message in place of another."
        )
    if outcome.is_older:
        words.append(
            f"Messages and changes after {outcome.as_of} disappear from mail programs when they connect (known here up to {outcome.newer_as_of}); "
            "flags and folders are those of then."
        )
    if outcome.new_uids:
        words.append(
            f"{_count(len(outcome.new_uids), 'folder')}: a new UIDVALIDITY, so mail programs load all of it once more: {_some(outcome.new_uids)}"
        )
    if outcome.unnumbered:
        words.append(
            f"{_count(outcome.unnumbered, 'folder')} never had UIDs: the server numbers them when they are opened first."
        )
    if outcome.in_two_parts:
        words.append(
            "Where somebody opened a folder before its older mail was back, that mail comes as new to their mail program, with its dates and "
            "flags, and is loaded once more; no message is shown twice."
        )
    words.append("Passwords, sieve rules and subscriptions are those of the restored state.")
    return words


def person_words(outcome: Outcome) -> list[str]:
    """What a person must still do, in the order in which it is done."""
    return [*_services(outcome), *_indexes(outcome), *_address(outcome), *_secrets(outcome), *_afterwards(outcome)]


def _services(outcome: Outcome) -> list[str]:
    steps = []
    if outcome.layout == "mailcow":
        steps += _mailcow(outcome)
    elif outcome.layout == "mailu":
        steps.append("docker compose up -d in Mailu's folder; accounts and aliases are in data/main.db, which is back (SQLite).")
    if not outcome.started and outcome.layout == "docker-mailserver":
        steps.append("Start it: docker compose up -d in the folder of compose.yaml; it sets owners of mail-state itself.")
    elif not outcome.started and outcome.layout == "maildir":
        steps.append("Start the mail server (such as systemctl start postfix dovecot).")
    hands = [path for path in outcome.by_hand if path.startswith("server/")]
    if hands:
        steps.append(
            f"{_count(len(hands), 'file')} that make a machine that machine (users, network, SSH, file systems) were not put into place; "
            f"take what you need from {outcome.work}/by-hand/server: {_some(hands)}"
        )
    outputs = [
        path.partition("/")[2]
        for path in outcome.by_hand
        if path.startswith("commands/") and not path.startswith("commands/mailcow-")
    ]
    if outputs:
        steps.append(
            f"Outputs of commands (database dumps) wait in {outcome.work}/by-hand/commands: {_some(outputs)}. Import what you need."
        )
    return steps


def _mailcow(outcome: Outcome) -> list[str]:
    """mailcow keeps accounts in a database; the order is that of its own helper script."""
    place = quote(f"{outcome.work}/by-hand/commands")
    return [
        "mailcow, in its folder: docker compose up --no-start && docker compose up -d mysql-mailcow, and wait until it is healthy.",
        (
            'Database: . ./mailcow.conf; docker compose exec -T -e MYSQL_PWD="$DBROOT" mysql-mailcow mariadb -uroot "$DBNAME" '
            f"< {place}/mailcow-database.sql"
        ),
        (
            "Redis (DKIM keys, bans, limits): with redis-mailcow stopped, copy "
            f"{place}/mailcow-redis.rdb to its volume as dump.rdb; the same keys in text: {place}/mailcow-dkim.txt"
        ),
        "The crypt volume is among the files that are back; without it mail is unreadable: compare ecpubkey.pem before you go on.",
        "docker compose up -d",
    ]


def _indexes(outcome: Outcome) -> list[str]:
    if outcome.resynced:
        return []
    return [
        (
            f"Once it runs, have indexes and quotas made anew: {outcome.doveadm} force-resync -A '*'; {outcome.doveadm} quota recalc -A "
            "(the latter only where quotas are in use)"
        )
    ]


def _address(outcome: Outcome) -> list[str]:
    if not outcome.new_address:
        return (
            [f"The names that do not lead there: {_some(outcome.elsewhere)}; correct their A and AAAA records."]
            if outcome.elsewhere
            else []
        )
    names = _some(outcome.elsewhere or outcome.names) or "the server's name"
    return [
        f"DNS: A and AAAA of {names} to {outcome.new_address}; MX stays, since it names the server and not its address.",
        f"PTR: the new machine's address must resolve back to the name that it says in HELO ({_some(outcome.names) or 'its own name'}); its provider sets that.",
        "SPF: where the record has ip4: or ip6: of the old machine, put the new address in.",
        "Firewall: ports 25, 465, 587 and 993 open to all, 22 to this machine; many providers open 25 only when they are asked.",
        f'Configuration: ssh = "…@{outcome.new_address}" in [mail_server.{outcome.server}], and this controller\'s key into authorized_keys there.',
    ]


def _secrets(outcome: Outcome) -> list[str]:
    steps = []
    if outcome.has_certificates:
        steps.append(
            "Certificates are back as they were; see that they are renewed on the new machine (certbot renew --dry-run)."
        )
    else:
        steps.append("Certificates were not among the files that were backed up: get new ones before people connect.")
    if not outcome.has_keys:
        steps.append("No DKIM key was among the files that were backed up: make one, and publish it, before mail is sent.")
    return steps


def _afterwards(outcome: Outcome) -> list[str]:
    server = quote(outcome.server)
    steps = []
    if outcome.is_older:
        steps.append(
            f"Messages after {outcome.as_of} are not lost: after the next backup `failsafe restore --server {server} --gone --to imap …` brings those "
            f"that you want. That backup may raise mass-loss; when you have what you want: failsafe accept {server} --reason 'restored'"
        )
    if outcome.replaced:
        steps.append(f"What stood in the way is kept in {outcome.replaced}: delete it when you are sure.")
    steps.append(f"failsafe backup {server}; failsafe doctor")
    return steps


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def _some(things: Sequence[str]) -> str:
    shown = ", ".join(things[:SHOWN])
    return f"{shown} and {len(things) - SHOWN} more" if len(things) > SHOWN else shown
