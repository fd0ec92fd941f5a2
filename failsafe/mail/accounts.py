"""Who has a mailbox and where aliases lead, read from the files in which mail servers keep it. Never a password, not even its hash."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

FORMAT = 1
LIMIT = 1_000_000  # lines of one source
Kind = Literal["address", "catch-all", "domain", "pattern", "local"]


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """Somebody who may log in and has a mailbox."""

    address: str
    active: bool = True


@dataclass(frozen=True, slots=True, order=True)
class Alias:
    """`kind`: an address; catch-all (@domain); domain (all of @domain leads to the same names of another); pattern (a regular expression or
    wildcard); local (a name without a domain)."""

    address: str
    targets: tuple[str, ...]
    kind: Kind = "address"
    active: bool = True


@dataclass(frozen=True, slots=True)
class Accounts:
    """All that a mail server accepts mail for."""

    mailboxes: tuple[Account, ...] = ()
    aliases: tuple[Alias, ...] = ()
    domains: tuple[str, ...] = ()
    delimiters: str = ""  # what an address's extension begins with, as the server's settings say it; "" where they do not

    def joined(self, other: Accounts) -> Accounts:
        """Both, each once; the first one counts where they differ."""
        mailboxes = {account.address: account for account in (*other.mailboxes, *self.mailboxes)}
        aliases = {(alias.kind, alias.address): alias for alias in (*other.aliases, *self.aliases)}
        return Accounts(
            tuple(sorted(mailboxes.values())),
            tuple(sorted(aliases.values())),
            tuple(sorted({*self.domains, *other.domains})),
            self.delimiters or other.delimiters,
        )

    def without_mailbox(self, present: Iterable[str]) -> tuple[str, ...]:
        """Accounts that have no mailbox on disk (yet): it is made when the first message comes."""
        there = {name.lower() for name in present}
        return tuple(account.address for account in self.mailboxes if account.address.lower() not in there)

    def without_account(self, present: Iterable[str]) -> tuple[str, ...]:
        """Mailboxes on disk that nobody can log in to."""
        known = {account.address.lower() for account in self.mailboxes}
        return tuple(sorted(name for name in present if name.lower() not in known))


def encode_accounts(accounts: Accounts, sources: Sequence[str]) -> bytes:
    """The file accounts.json of a snapshot."""
    value = {
        "format": FORMAT,
        "sources": list(sources),
        "domains": list(accounts.domains),
        "mailboxes": [{"address": account.address, "active": account.active} for account in accounts.mailboxes],
        "aliases": [
            {"address": alias.address, "targets": list(alias.targets), "kind": alias.kind, "active": alias.active}
            for alias in accounts.aliases
        ],
        **({"delimiters": accounts.delimiters} if accounts.delimiters else {}),
    }
    return json.dumps(value, indent=1).encode("ascii") + b"\n"


def decode_accounts(data: bytes) -> Accounts:
    """Raises ValueError, KeyError, TypeError for what is no accounts.json."""
    value = json.loads(data)
    if value["format"] != FORMAT:
        raise ValueError(f"accounts.json has format {value['format']}, this program knows {FORMAT}")
    return Accounts(
        tuple(Account(str(row["address"]), row["active"] is True) for row in value["mailboxes"]),
        tuple(
            Alias(str(row["address"]), tuple(str(target) for target in row["targets"]), row["kind"], row["active"] is True)
            for row in value["aliases"]
        ),
        tuple(str(name) for name in value["domains"]),
        str(value.get("delimiters", "")),
    )


# ---------------------------------------------------------------- one parser for each kind of file


def parse_docker_mailserver_accounts(data: bytes) -> Accounts:
    """postfix-accounts.cf: ADDRESS|HASH[|user attributes]."""
    return _accounts(line.split("|", 1)[0] for line in _lines(data) if "|" in line)


def parse_passwd_file(data: bytes) -> Accounts:
    """Dovecot's passwd-file: USER:PASSWORD:…; users without a domain are the system's."""
    return _accounts(line.split(":", 1)[0] for line in _lines(data) if ":" in line)


def parse_virtual_mailboxes(data: bytes) -> Accounts:
    """Postfix's virtual_mailbox_maps: ADDRESS WHERE."""
    return _accounts(key for key, value in _table(data) if value)


def parse_virtual_aliases(data: bytes) -> Accounts:
    """Postfix's virtual_alias_maps (docker-mailserver's postfix-virtual.cf): ADDRESS TARGET[, TARGET…]; @DOMAIN catches all."""
    aliases, domains = [], []
    for key, value in _table(data):
        targets = _targets(value)
        if "@" not in key and "." in key:
            domains.append(key.lower())  # virtual(5): a domain that has aliases only; the value means nothing
        elif key.startswith("@"):
            kind: Kind = "domain" if targets and all(target.startswith("@") for target in targets) else "catch-all"
            aliases.append(Alias(key.lower(), targets, kind))
        else:
            aliases.append(Alias(key.lower(), targets, "address" if "@" in key else "local"))
    return _of(aliases=aliases, domains=domains)


def parse_patterns(data: bytes) -> Accounts:
    """Postfix's regexp tables (docker-mailserver's postfix-regexp.cf): /PATTERN/FLAGS TARGET. if…endif blocks are their patterns alone."""
    aliases = []
    for line in _folded(data):
        found = re.match(
            r"(?P<pattern>!?(?P<mark>[/|%#~,;!\"'^])(?:\\.|(?!(?P=mark)).)+(?P=mark)[a-zA-Z]*)\s+(?P<value>\S.*)$", line
        )
        if found is not None:
            aliases.append(Alias(found["pattern"], _targets(found["value"]), "pattern"))
    return _of(aliases=aliases)


def parse_local_aliases(data: bytes) -> Accounts:
    """aliases(5): NAME: TARGET[, TARGET…]; commands and files a mail goes to are told by their first letter alone."""
    aliases = []
    for line in _folded(data):
        name, colon, value = line.partition(":")
        if colon and name.strip():
            aliases.append(Alias(name.strip().strip('"').lower(), _targets(value), "local"))
    return _of(aliases=aliases)


def parse_mailcow(data: bytes) -> Accounts:
    """The rows that failsafe's own query prints: a JSON list each."""
    mailboxes, aliases, domains = [], [], []
    for line in _lines(data):
        row = json.loads(line)
        if row[0] == "domain":
            domains.append(str(row[1]))
        elif row[0] == "mailbox":
            mailboxes.append(Account(str(row[1]).lower(), _is_on(row[2])))
        elif row[0] == "alias":
            address = str(row[1]).lower()
            aliases.append(
                Alias(address, _targets(str(row[2])), "catch-all" if address.startswith("@") else "address", _is_on(row[3]))
            )
        elif row[0] == "alias-domain":
            domains.append(str(row[1]))
            aliases.append(Alias(f"@{row[1]}", (f"@{row[2]}",), "domain", _is_on(row[3])))
    return _of(mailboxes, aliases, domains)


def read_mailu_rows(rows: Mapping[str, Iterable[Sequence[Any]]]) -> Accounts:
    """Rows of Mailu's tables: user (email, enabled), alias (email, wildcard, destination), domain (name), alternative (name, domain)."""
    mailboxes = [Account(str(email).lower(), _is_on(enabled)) for email, enabled in rows.get("user", ())]
    aliases = [
        Alias(str(email).lower(), _targets(str(destination or "")), "pattern" if _is_on(wildcard) else "address")
        for email, wildcard, destination in rows.get("alias", ())
    ]
    aliases += [Alias(f"@{name}", (f"@{domain}",), "domain") for name, domain in rows.get("alternative", ())]
    domains = [str(row[0]) for table in ("domain", "alternative") for row in rows.get(table, ())]
    return _of(mailboxes, aliases, domains)


def parse_postfix_settings(data: bytes) -> Accounts:
    """main.cf, or what is added to it: recipient_delimiter alone, of which the last one counts."""
    return Accounts(delimiters=_delimiters(rb"^recipient_delimiter[ \t]*=[ \t]*([!-/:-@\[-`{-~]{1,8})[ \t\r]*$", data))


def parse_mailu_settings(data: bytes) -> Accounts:
    """mailu.env: RECIPIENT_DELIMITER alone."""
    return Accounts(delimiters=_delimiters(rb"^RECIPIENT_DELIMITER=[\"']?([!#-&(-/:-@\[-`{-~]{1,8})[\"']?[ \t\r]*$", data))


SETTINGS = (parse_postfix_settings, parse_mailu_settings)  # they say nothing of who has a mailbox


def _delimiters(setting: bytes, data: bytes) -> str:
    found = re.findall(setting, data, re.MULTILINE)
    return found[-1].decode("ascii") if found and b"$" not in found[-1] else ""


def parser_of(path: str) -> Any:
    """The parser for a file of this name, as mail servers and their handbooks call them; None for other files."""
    folder, _, name = path.rpartition("/")
    exact = {
        "postfix-accounts.cf": parse_docker_mailserver_accounts,
        "postfix-virtual.cf": parse_virtual_aliases,
        "postfix-regexp.cf": parse_patterns,
        "mailcow-accounts.jsonl": parse_mailcow,
        "postfix-main.cf": parse_postfix_settings,
        "mailu.env": parse_mailu_settings,
    }
    if name in exact:
        return exact[name]
    if "postfix" in folder and name in ("main.cf", "extra.cf"):
        return parse_postfix_settings
    if "dovecot" in folder and name in ("users", "passwd", "passwd-file", "userdb", "users.conf"):
        return parse_passwd_file
    if "postfix" in folder and name in (
        "virtual",
        "virtual_alias",
        "virtual_aliases",
        "virtual-aliases",
        "virtual_alias_maps",
        "valiases",
    ):
        return parse_virtual_aliases
    if "postfix" in folder and name in (
        "vmailbox",
        "virtual_mailbox",
        "virtual_mailboxes",
        "virtual-mailbox-maps",
        "virtual_mailbox_maps",
    ):
        return parse_virtual_mailboxes
    if name == "aliases" and folder.endswith(("etc", "postfix", "mail")):
        return parse_local_aliases
    return None


# ---------------------------------------------------------------- small things


def _of(mailboxes: Iterable[Account] = (), aliases: Iterable[Alias] = (), domains: Iterable[str] = ()) -> Accounts:
    found = Accounts().joined(Accounts(tuple(mailboxes), tuple(aliases), tuple(domains)))
    named = (
        *(account.address for account in found.mailboxes),
        *(a.address for a in found.aliases if a.kind not in ("local", "pattern")),
    )
    here = {name.rpartition("@")[2] for name in named if "@" in name}
    return replace(found, domains=tuple(sorted({*found.domains, *here})))


def _accounts(names: Iterable[str]) -> Accounts:
    return _of(Account(name.strip().lower()) for name in names if "@" in name.strip(" @"))


def _lines(data: bytes) -> Iterator[str]:
    for line in data.decode("utf-8", "replace").splitlines()[:LIMIT]:
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def _folded(data: bytes) -> Iterator[str]:
    """Logical lines of Postfix's tables: one that begins with white space goes on with the line before; comments begin a line."""
    whole = ""
    for line in data.decode("utf-8", "replace").splitlines()[:LIMIT]:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and whole:
            whole += f" {line.strip()}"
            continue
        if whole:
            yield whole
        whole = line.strip()
    if whole:
        yield whole


def _table(data: bytes) -> Iterator[tuple[str, str]]:
    for line in _folded(data):
        key, _, value = line.partition(" ") if "\t" not in line.split(" ", 1)[0] else line.partition("\t")
        yield key.strip(), value.strip()


def _targets(value: str) -> tuple[str, ...]:
    """Where mail goes. A command or file is named by what it is alone: its arguments may hold a secret."""
    found = []
    for part in re.split(r",\s*(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)|\s+(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", value.strip()):
        word = part.strip().strip('"')
        if word.startswith("|"):
            found.append("|command")
        elif word:
            found.append(word)
    return tuple(found)


def _is_on(value: object) -> bool:
    return str(value) not in ("0", "False", "None", "")
