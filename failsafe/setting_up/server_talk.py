"""The questions about the mail server: how it is reached, whether it is the one that is meant, where its mail lies. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from failsafe.config.types import SshTarget, parse_host_port, parse_ssh
from failsafe.errors import Refused, UsageError
from failsafe.setting_up.choice import HostKeyChoice, ServerChoice
from failsafe.setting_up.facts import Facts
from failsafe.setting_up.layouts import LABELS, LAYOUTS, WITH_PLACE, explain_master
from failsafe.setting_up.places import MAILCOW, Place, describe, find_places, size_at
from failsafe.setting_up.questions import NONE, Question, Talk, ask, choose, demand
from failsafe.setting_up.sight import ServerSight, shown_size

LOCAL = "local"
CONTAINER = "container:"
FILE = "file:"
ON_THE_CONSOLE = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"


def ask_server(facts: Facts, name: str, primary: str) -> Talk[ServerChoice]:
    """`primary`: the first of the server's names in the MX records."""
    target = yield from _ask_ssh(primary)
    key, look_as, sight = None, "", ServerSight()
    if isinstance(target, SshTarget):
        key = yield from _ask_host_key(facts, target)
        look_as, sight = yield from _look(facts, target, key)
    elif target == LOCAL:
        sight = facts.look("", (), None)
    places = find_places(sight)
    layout = "imap" if target == NONE else (yield from _ask_layout(places, sight))
    where = (yield from _ask_place(layout, places)) if layout != "imap" else ""
    size = size_at(sight, layout, where)
    if size is None and where.startswith("/") and (look_as or target == LOCAL):
        login = look_as if target != LOCAL else ""
        sight = facts.look(login, (where, f"{where}/mail-data", f"{where}/mail"), key)
        size = size_at(sight, layout, where)
    endpoint = yield from _ask_imap(layout, primary, _findings(where, sight, size))
    mailboxes, accounts = (yield from _ask_logins(facts)) if layout == "imap" else ((), "")
    return ServerChoice(
        name=name,
        layout=layout,
        path=where if where.startswith("/") else "",
        container=where.removeprefix(CONTAINER) if where.startswith(CONTAINER) else "",
        ssh=str(target) if isinstance(target, SshTarget) and layout != "imap" else "",
        host_key=key if layout != "imap" else None,
        look_as=look_as,
        imap=endpoint,
        mailboxes=mailboxes,
        accounts_file=accounts,
        size=size,
    )


def _ask_ssh(primary: str) -> Talk[SshTarget | str]:
    def read(text: str) -> SshTarget | str:
        return text if text in (LOCAL, NONE) else parse_ssh(demand(text))

    return (
        yield from ask(
            Question(
                "--ssh",
                "How this machine logs in to the mail server (USER@HOST, local, none)",
                default=f"failsafe@{primary}",
                help=(
                    "USER@HOST[:PORT]  the login of every night. The user need not be there yet: the command that makes it, with a key that",
                    "                  can read mail and nothing else, is printed at the end.",
                    "local             the mail lies on this machine.",
                    "none              no SSH: mail is read over IMAP alone.",
                ),
            ),
            read,
        )
    )


# -- is it the server that is meant? -------------------------------------------------------------------------------------


def _ask_host_key(facts: Facts, target: SshTarget) -> Talk[HostKeyChoice]:
    """Never taken unasked, unless it is pinned already. Raises Refused where a person, or the flag, says that it is another one."""
    shown = facts.host_key(target.host, target.port)
    if isinstance(shown, str):
        return HostKeyChoice(target.host if target.port == 22 else f"[{target.host}]:{target.port}")
    pinned = facts.pinned(shown.name)
    if shown.fingerprint in pinned:
        return HostKeyChoice(shown.name, "", shown.fingerprint)
    if pinned:
        raise Refused(
            f"{shown.name} shows the host key {shown.fingerprint}; known is {', '.join(pinned)}",
            mend=f"compare it on the server's console ({ON_THE_CONSOLE}); if it is the right one, take the old line out of known_hosts",
        )
    lines = [f"{shown.name} shows this host key:", f"  {shown.line.partition(' ')[0]} {shown.fingerprint}"]
    if facts.known_elsewhere(shown.name, shown.fingerprint):
        lines.append("Your own ~/.ssh/known_hosts has the same key.")
    lines.append(f"Compare it with what the server's own console says: {ON_THE_CONSOLE}")

    def read(text: str) -> bool:
        if text.startswith("SHA256:"):
            return text == shown.fingerprint
        if text.lower() not in ("y", "yes", "n", "no"):
            raise ValueError("answer y or n, or type the fingerprint that the server's console shows")
        return text.lower() in ("y", "yes")

    right = yield from ask(
        Question(
            "--host-key",
            "Is that the server's key? (y, n, or the fingerprint itself)",
            tuple(lines),
            help=(
                "Who takes a wrong key here lets whoever stands in between read all mail. With --host-key SHA256:… nobody is asked.",
            ),
            explicit=True,
        ),
        read,
    )
    if not right:
        raise Refused(
            f"{shown.name} shows the host key {shown.fingerprint}, and it is not the one that you expect",
            mend="find out who answers there: another port, an old DNS record, or somebody in between. Nothing was written",
        )
    return shown


# -- where does its mail lie? --------------------------------------------------------------------------------------------


def _look(facts: Facts, target: SshTarget, key: HostKeyChoice) -> Talk[tuple[str, ServerSight]]:
    def read(text: str) -> str:
        return NONE if text == NONE else str(parse_ssh(text if "@" in text else f"{text}@{target.host}:{target.port}"))

    shown = ("The server does not show a host key now: it cannot be looked at.",) if not key.fingerprint else ()
    login = yield from ask(
        Question(
            "--look-as",
            "Who may look at it once, now, to find where its mail lies? (USER@HOST, none)",
            shown,
            default=str(SshTarget("root", target.host, target.port)) if key.fingerprint else NONE,
            help=(
                "One command that reads names and sizes and changes nothing, with your own SSH keys (agent, ~/.ssh, --look-key). Nothing of it is kept.",
                "none: you say yourself where the mail lies.",
            ),
        ),
        read,
    )
    return ("", ServerSight()) if login == NONE else (login, facts.look(login, (), key))


def _ask_layout(places: Sequence[Place], sight: ServerSight) -> Talk[str]:
    lines = []
    if sight.trouble:
        lines.append(f"It could not be looked at, or not wholly: {sight.trouble}")
        lines += [sight.mend] if sight.mend else []
    lines += [f"Found: {describe(place, sight)}" for place in places]
    if sight.python and not places:
        lines.append("No mail was found in the places where it usually lies.")
    return (
        yield from choose(
            Question(
                "--layout",
                "Which kind of mail server is it?",
                tuple(lines),
                places[0].layout if places else "",
                ("docs/layouts.md says what is read of each.",),
            ),
            LAYOUTS,
            [LABELS[each] for each in LAYOUTS],
        )
    )


def _ask_place(layout: str, places: Sequence[Place]) -> Talk[str]:
    """A folder, or "container:NAME"; "" where the layout finds it by itself."""
    found = next((place.where for place in places if place.layout == layout), "")
    if layout == "mailcow":
        return (
            yield from ask(
                Question("--path", "mailcow's own folder", default=found or MAILCOW),
                lambda text: "" if text == MAILCOW else _whole(text),
            )
        )
    prompts = {
        "docker-mailserver": "The folder with mail-data/ config/ mail-state/, or container:NAME",
        "mailu": "Mailu's folder, with mail/ data/ dkim/, or container:NAME",
        "maildir": "The folder that holds DOMAIN/USER/ Maildirs",
    }
    assert layout in WITH_PLACE
    return (
        yield from ask(
            Question("--path", prompts[layout], default=found),
            lambda text: (
                text if text.startswith(CONTAINER) and layout != "maildir" and len(text) > len(CONTAINER) else _whole(text)
            ),
        )
    )


def _whole(text: str) -> str:
    if not text.startswith("/") or any(letter in text for letter in '"\\\n'):
        raise ValueError(f"“{text}” is no whole path on the server, such as /var/vmail")
    return text.rstrip("/") or "/"


def _findings(where: str, sight: ServerSight, size: object) -> tuple[str, ...]:
    """What the second look says of a folder that a person named."""
    if size is not None or not where.startswith("/") or not sight.python:
        return ()
    return (f"No mailboxes were seen in {where} on the server: is it the right folder? `failsafe doctor` will tell.",)


# -- logins --------------------------------------------------------------------------------------------------------------


def _ask_imap(layout: str, host: str, shown: tuple[str, ...]) -> Talk[tuple[str, int] | None]:
    def read(text: str) -> tuple[str, int] | None:
        if text == NONE and layout != "imap":
            return None
        found = parse_host_port(text if ":" in text else f"{demand(text)}:993")
        return found.host, found.port

    why = (
        "Its IMAP server, from which mail is read" if layout == "imap" else "Its IMAP server, where restores go (HOST:PORT, none)"
    )
    more = explain_master(layout)
    return (yield from ask(Question("--imap", why, (*shown, *more), f"{host}:993", more), read))


def _ask_logins(facts: Facts) -> Talk[tuple[tuple[str, ...], str]]:
    def read(text: str) -> tuple[tuple[str, ...], str]:
        if text.startswith(FILE):
            fault = facts.accounts_fault(text.removeprefix(FILE))
            if fault:
                raise ValueError(fault)
            return (), text.removeprefix(FILE)
        names = tuple(dict.fromkeys(demand(text).replace(",", " ").split()))
        wrong = [name for name in names if "@" not in name or any(bad in name for bad in "/\\'\"") or name.startswith("-")]
        if wrong:
            raise UsageError(f"{wrong[0]} is no mailbox", mend="write them as a@example.org b@example.org")
        return names, ""

    return (
        yield from ask(
            Question(
                "--mailbox",
                "The mailboxes, for a master user to open (a@example.org b@example.org …), or file:ACCOUNTS",
                help=(
                    "With a master user one password opens all of them; it is made here, and the step that makes the user is printed at the end.",
                    "file:/etc/failsafe/accounts names a file with lines MAILBOX:PASSWORD_FILE, mode 0600, for a server without master users.",
                ),
            ),
            read,
        )
    )


def tell_size(choice: ServerChoice) -> str:
    return "" if choice.size is None else f"{shown_size(choice.size.bytes)} of mail in {choice.size.files} files"
