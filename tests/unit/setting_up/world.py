"""setting_up.Facts as values, and a person who answers by flag."""

# ruff: noqa: ARG002 - every answer stands in a field

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from failsafe.secondaries.known import known_providers
from failsafe.secondaries.provider import SecondaryProvider
from failsafe.setting_up.choice import HostKeyChoice
from failsafe.setting_up.questions import Question, Talk
from failsafe.setting_up.sight import Disk, DomainSight, SecondarySight, ServerSight
from failsafe.setting_up.talk import Defaults

T = TypeVar("T")
KEY = HostKeyChoice("mail.example.org", "ssh-ed25519 AAAAkey", "SHA256:right")
GB = 10**9
DEFAULTS = Defaults("/etc/failsafe", "nas", "Europe/Warsaw", "/var/lib/failsafe")


def seen(*mx: tuple[int, str], servers: Sequence[str] = ("ns1.example.net",), domain: str = "example.org") -> DomainSight:
    return DomainSight(domain, mx or ((10, "mail.example.org"),), tuple(servers))


@dataclass
class Given:
    sight: DomainSight = field(default_factory=seen)
    server: ServerSight = field(default_factory=ServerSight)
    key: HostKeyChoice | str = KEY
    known: tuple[str, ...] = ()
    elsewhere: bool = False
    kinds: Mapping[str, Disk] = field(default_factory=dict)
    secondary_sight: SecondarySight = field(default_factory=SecondarySight)
    zone: str = ""
    looks: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def domain(self, domain: str) -> DomainSight:
        return self.sight

    def providers(self) -> Sequence[SecondaryProvider]:
        return known_providers()

    def secondary(self, provider: SecondaryProvider, exchanges: Sequence[str], seen: DomainSight) -> SecondarySight:
        return self.secondary_sight

    def host_key(self, host: str, port: int) -> HostKeyChoice | str:
        return self.key

    def pinned(self, name: str) -> tuple[str, ...]:
        return self.known

    def known_elsewhere(self, name: str, fingerprint: str) -> bool:
        return self.elsewhere

    def look(self, login: str, folders: Sequence[str], key: HostKeyChoice | None) -> ServerSight:
        self.looks.append((login, tuple(folders)))
        return self.server

    def disk(self, path: str) -> Disk:
        place = next((place for place in self.kinds if path == place or path.startswith(f"{place}/")), None)
        return self.kinds[place] if place else Disk(path, "/", "ext4", 50 * GB, 100 * GB)

    def roomiest(self) -> Sequence[Disk]:
        return sorted(self.kinds.values(), key=lambda disk: -disk.free)

    def fault_of(self, path: str) -> str:
        return "/closed may not be written by this user" if path.startswith("/closed") else ""

    def accounts_fault(self, file: str) -> str:
        return "" if file == "/etc/failsafe/accounts" else f"cannot read {file}"

    def zone_id(self, token_file: str, domain: str) -> str:
        return self.zone

    def is_there(self, file: str) -> bool:
        return False


@dataclass
class Person:
    """Answers by flag, with what stands in [ ] where no answer is given; each answer once."""

    answers: dict[str, str | list[str]]
    asked: list[Question] = field(default_factory=list)

    def hold(self, talk: Talk[T]) -> T:
        try:
            question = next(talk)
            while True:
                self.asked.append(question)
                assert len(self.asked) < 60, [each.flag for each in self.asked]
                question = talk.send(self._answer(question))
        except StopIteration as end:
            decision: T = end.value
            return decision

    def _answer(self, question: Question) -> str:
        answer = self.answers.get(question.flag, question.default)
        if isinstance(answer, list):
            answer = answer.pop(0)
        assert answer or question.default, question
        return answer or question.default

    def shown(self, flag: str) -> str:
        return "\n".join(line for question in self.asked if question.flag == flag for line in (*question.shown, question.fault))

    @property
    def flags(self) -> list[str]:
        return [question.flag for question in self.asked]
