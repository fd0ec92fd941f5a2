"""Who at the primary gets mail for an address: mailboxes, aliases, domain aliases, patterns and what catches all, as the newest snapshot has them. Pure.

As Postfix does it (virtual(5)): an alias comes before the mailbox of its name; the whole address before the one without its extension; what
catches all comes last. Unlike Postfix a mailbox comes before patterns and what catches all: many servers add to their tables what makes it so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from failsafe.mail.accounts import Accounts, Alias
from failsafe.mail.addresses import is_address

USUAL_DELIMITER = "+"  # between a name and its extension
DEEPEST = 10  # aliases of aliases
MOST = 1_000  # addresses that one leads to
LONGEST = 254  # characters of an address (RFC 5321 4.5.3.1)
_PATTERN = re.compile(r"(?P<mark>[/|%#~,;!\"'^])(?P<body>(?:\\.|(?!(?P=mark)).)+)(?P=mark)(?P<flags>[a-zA-Z]*)")
_BACK = re.compile(r"\$(?:\{(\d)\}|\((\d)\)|(\d))")
_ENDLESS = re.compile(r"[+*}]\)+[+*{]")  # a repetition of repetitions can take longer than anybody waits


@dataclass(frozen=True, slots=True)
class Reached:
    """Where mail for an address ends. All three empty: nobody at the primary has it."""

    mailboxes: tuple[str, ...] = ()  # as the primary names them
    outside: tuple[str, ...] = ()  # addresses elsewhere that an alias leads to
    programs: tuple[str, ...] = ()  # what an alias hands mail to that is no address


@dataclass(frozen=True)
class Addresses:
    """All that the primary takes mail for in a domain, and in those that it has beside it."""

    domain: str
    mailboxes: tuple[str, ...] = ()  # of the snapshot; one without a domain is of this domain
    accounts: Accounts = field(default_factory=Accounts)

    @cached_property
    def domains(self) -> frozenset[str]:
        named = [name.rpartition("@")[2] for name in self._mailboxes]
        return frozenset({self.domain.lower(), *named, *(name.lower() for name in self.accounts.domains)})

    def is_ours(self, address: str) -> bool:
        return address.rpartition("@")[2] in self.domains

    def reach(self, address: str) -> Reached:
        """`address` in lower case."""
        found = _Search(self)
        found.follow(address, 0)
        return Reached(tuple(found.mailboxes), tuple(found.outside), tuple(found.programs))

    @cached_property
    def _mailboxes(self) -> Mapping[str, str]:
        """Address -> the mailbox's name."""
        names = [*(account.address for account in self.accounts.mailboxes), *self.mailboxes]
        return {(name if "@" in name else f"{name}@{self.domain}").lower(): name for name in names}

    @cached_property
    def _aliases(self) -> Mapping[tuple[str, str], Alias]:
        return {(alias.kind, alias.address.lower()): alias for alias in self.accounts.aliases if alias.active}

    @cached_property
    def _patterns(self) -> tuple[tuple[re.Pattern[str], bool, tuple[str, ...]], ...]:
        """(pattern, whether it takes what does not match, targets) of those that can be understood."""
        patterns = (alias for alias in self.accounts.aliases if alias.kind == "pattern" and alias.active)
        return tuple((*compiled, alias.targets) for alias in patterns if (compiled := _compiled(alias.address)) is not None)

    def mailbox_of(self, address: str) -> str | None:
        return self._mailboxes.get(address)

    def targets_of(self, address: str) -> tuple[str, ...] | None:
        """Where the aliases of exactly this address lead; None where it is none."""
        local, _, domain = address.rpartition("@")
        alias = self._aliases.get(("address", address))
        if alias is None and (whole := self._aliases.get(("domain", f"@{domain}"))) is not None:
            return tuple(f"{local}{target}" for target in whole.targets)
        return None if alias is None else alias.targets

    def last_resort(self, address: str) -> tuple[str, ...] | None:
        """For an address that has neither mailbox nor alias of its own."""
        for pattern, turned, targets in self._patterns:
            match = pattern.search(address[:LONGEST])
            if (match is None) is turned:
                return tuple(_filled(target, match) for target in targets)
        local, _, domain = address.rpartition("@")
        alias = self._aliases.get(("local", local)) if domain in self.domains else None
        alias = alias or self._aliases.get(("catch-all", f"@{domain}"))
        return None if alias is None else alias.targets

    def without_extension(self, address: str) -> str | None:
        local, _, domain = address.rpartition("@")
        delimiters = self.accounts.delimiters or USUAL_DELIMITER
        places = [place for each in delimiters if (place := local.find(each, 1)) > 0]
        return f"{local[: min(places)]}@{domain}" if places else None


@dataclass(slots=True)
class _Search:
    table: Addresses
    mailboxes: dict[str, None] = field(default_factory=dict)
    outside: dict[str, None] = field(default_factory=dict)
    programs: dict[str, None] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def follow(self, target: str, depth: int, *, came_from: str = "") -> None:
        if depth > DEEPEST or len(self.seen) >= MOST:
            return
        if target.startswith(("|", "/", ":")):
            self.programs[target] = None
            return
        address = (target if "@" in target else f"{target}@{self.table.domain}").lower().removeprefix("\\")
        if address == came_from or target.startswith("\\"):  # an alias that leads to its own name means the mailbox
            self._end_at(address)
            return
        if address in self.seen:
            return
        self.seen.add(address)
        self._expand(address, depth)

    def _expand(self, address: str, depth: int) -> None:
        base = self.table.without_extension(address)
        for name in (address, base):
            if name is None:
                continue
            targets = self.table.targets_of(name)
            if targets is None and self.table.mailbox_of(name) is None:
                continue
            if targets is None:
                self._end_at(name)
            else:
                self._follow_all(targets, depth, name)
            return
        targets = self.table.last_resort(address)
        if targets is not None:
            self._follow_all(targets, depth, address)
        elif is_address(address) and not self.table.is_ours(address):
            self.outside[address] = None

    def _follow_all(self, targets: Iterable[str], depth: int, came_from: str) -> None:
        for target in targets:
            self.follow(target, depth + 1, came_from=came_from)

    def _end_at(self, address: str) -> None:
        mailbox = self.table.mailbox_of(address)
        if mailbox is not None:
            self.mailboxes[mailbox] = None
        elif not self.table.is_ours(address):
            self.outside[address] = None


def _compiled(text: str) -> tuple[re.Pattern[str], bool] | None:
    """A pattern of Postfix's regexp tables ("/…/", "!/…/"), or of SQL's LIKE ("sales-%@example.org"); None for what Python cannot say."""
    turned = text.startswith("!") and len(text) > 1 and not text[1].isalnum()
    parsed = _PATTERN.fullmatch(text[1:] if turned else text)
    if parsed is None:
        if "%" not in text or "@" not in text:
            return None
        like = "".join(".*" if letter == "%" else "." if letter == "_" else re.escape(letter) for letter in text.lower())
        return re.compile(rf"\A{like}\Z"), False
    if _ENDLESS.search(parsed["body"]):
        return None
    try:
        return re.compile(parsed["body"], 0 if "i" in parsed["flags"] else re.IGNORECASE), turned  # there the flag turns it off
    except (re.error, RecursionError, OverflowError):
        return None


def _filled(target: str, match: re.Match[str] | None) -> str:
    """A target with what its pattern's groups matched."""
    if match is None or "$" not in target:
        return target

    def group(found: re.Match[str]) -> str:
        number = int(next(each for each in found.groups() if each is not None))
        return (match.group(number) or "") if number <= (match.re.groups) else ""

    return _BACK.sub(group, target)
