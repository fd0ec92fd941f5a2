"""`failsafe init`, step by step: what is there, the questions, the files, what is left to do."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failsafe.cli.common import answer, answer_json, confirm, say
from failsafe.cli.init_ask import Holder
from failsafe.cli.init_facts import World
from failsafe.cli.init_standing import standing_of
from failsafe.cli.init_write import append, demand_sound, make_missing, pin, write_new
from failsafe.config.find import default_paths, named_config
from failsafe.errors import UsageError
from failsafe.setting_up.files import of_dns, of_homecoming, secret_files
from failsafe.setting_up.sight import DomainSight
from failsafe.setting_up.steps import Step, render_steps, steps_left
from failsafe.setting_up.talk import GREETING, Defaults, converse, converse_more
from failsafe.setting_up.text import KNOWN_HOSTS, configuration, dns_table, domain_table

if TYPE_CHECKING:
    from failsafe.checkup.run import Diagnosis
    from failsafe.config.schema import Config


@dataclass(frozen=True, slots=True)
class Options:
    """`given`: flag -> value, of the questions."""

    given: Mapping[str, str]
    server: str
    controller: str | None
    resolver: str
    look_key: Path | None
    doctor: bool
    yes: bool
    as_json: bool


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    config: Path
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seen: dict[str, DomainSight] = field(default_factory=dict)
    root: str = ""
    look_key: str = ""


class Remembering(World):
    """The world, and which domains were looked up."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: dict[str, DomainSight] = {}

    def domain(self, domain: str) -> DomainSight:
        self.seen[domain] = super().domain(domain)
        return self.seen[domain]


def run_init(options: Options) -> None:
    """Raises UsageError, ConfigError, Refused, Interrupted; nothing is then half written."""
    file = config_place()
    outcome = Outcome(file)
    world = Remembering(file.parent / KNOWN_HOSTS, options.resolver, options.look_key)
    holder = Holder(options.given, yes=options.yes)
    if not file.exists():
        _begin(options, outcome, world, holder)
    else:
        _again(options, outcome, world, holder)
    outcome.seen = world.seen
    _end(options, outcome)


def config_place() -> Path:
    """--config, $FAILSAFE_CONFIG, one that is there, else the first place that this user may write."""
    named = named_config()
    if named is not None:
        return named.absolute()
    there = next((path for path in default_paths() if path.exists()), None)
    return there or default_paths()[0 if os.geteuid() == 0 else 1]


# -- the first time ------------------------------------------------------------------------------------------------------


def _begin(options: Options, outcome: Outcome, world: World, holder: Holder) -> None:
    file = outcome.config
    for line in GREETING:
        say(line)
    defaults = Defaults(
        folder=str(file.parent),
        controller=options.controller or _own_name(),
        time_zone=_time_zone(),
        state_dir="/var/lib/failsafe" if os.geteuid() == 0 else str(Path("~/.local/share/failsafe").expanduser()),
        server=_server_name(options.server),
        resolver=options.resolver,
    )
    choice = holder.hold(converse(world, defaults))
    data = configuration(choice).encode()
    demand_sound(data, file)
    wanted = secret_files(choice)
    say("To be written, open to nobody but this user; what is there already stays as it is:")
    for place, what in (*((each.path, f"{each.kind.value}, {each.what}") for each in wanted), (str(file), "the configuration")):
        say(f"  {place}{' (there already)' if os.path.lexists(place) else ''}: {what}")
    if holder.asked:
        confirm("Write this?", yes=options.yes)
    made, kept = make_missing(wanted, f"failsafe {choice.controller}")
    if pin(file.parent / KNOWN_HOSTS, choice.server.host_key):
        made.append(file.parent / KNOWN_HOSTS)
    write_new(file, data)
    outcome.written, outcome.kept = [*made, file], kept
    outcome.look_key = "" if options.look_key is None else str(options.look_key.absolute())
    outcome.root = choice.server.look_as.rpartition(":")[0] or choice.server.look_as
    if choice.server.host_key is not None and not choice.server.host_key.fingerprint:
        outcome.remarks.append(f"{choice.server.host_key.name} did not show its host key: it is not pinned yet")


def _own_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63] or "nas"


def _server_name(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name) is None:
        raise UsageError(f"--server: {name!r} is no name", mend="take letters, digits, - and _")
    return name


def _time_zone() -> str:
    """The system's, by its name; "" where it has none."""
    from zoneinfo import available_timezones

    named = os.environ.get("TZ", "").lstrip(":") or str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")[2]
    return named if named in available_timezones() else ""


# -- there is a configuration --------------------------------------------------------------------------------------------


def _again(options: Options, outcome: Outcome, world: World, holder: Holder) -> None:
    """Changes nothing, but for a domain that is added."""
    from failsafe.config.load import parse_config

    before = outcome.config.read_bytes()
    config = parse_config(before, str(outcome.config))
    domain = options.given.get("--domain", "").rstrip(".").lower()
    if not domain or domain in config.domain:
        outcome.kept.append(outcome.config)
        outcome.remarks += [f'[domain."{domain}"] is there already, and stays as it is'] if domain else []
        if options.doctor:
            for name in config.domain:
                world.domain(name)
        ignored = sorted(set(options.given) - {"--domain"})
        if ignored:
            outcome.remarks.append(f"not used, since {outcome.config} is yours to change: {', '.join(ignored)}")
        return
    if not config.mail_server:
        raise UsageError(f"{outcome.config} has no mail server yet", mend="add a [mail_server.NAME] first: docs/layouts.md")
    tables = [(name, table.provider) for name, table in config.dns.items()]
    folder = str(outcome.config.parent)
    chosen, dns = holder.hold(converse_more(world, domain, list(config.mail_server), tables, folder))
    if chosen.homecoming is not None:  # secondary.password is the first domain's
        home = replace(chosen.homecoming, password_file=f"{folder}/secondary.{domain}.password")
        chosen = replace(chosen, homecoming=home)
    more = f"\n{dns_table(dns)}" if dns is not None else ""
    added = ("" if before.endswith(b"\n") else "\n").encode() + f"{more}\n{domain_table(chosen)}".encode()
    demand_sound(before + added, outcome.config)
    say(f"To be added at the end of {outcome.config}; everything before it stays byte for byte:")
    say(added.decode())
    if holder.asked:
        confirm("Add this?", yes=options.yes)
    made, kept = make_missing([*of_homecoming(chosen.homecoming), *of_dns(dns)], "failsafe")
    append(outcome.config, before, added)
    outcome.written, outcome.kept = [*made, outcome.config], kept


# -- what is left --------------------------------------------------------------------------------------------------------


def _end(options: Options, outcome: Outcome) -> None:
    from failsafe.config.files import file_faults
    from failsafe.config.load import load_config

    config = load_config(outcome.config)
    faults, warnings = file_faults(config)
    steps = steps_left(standing_of(config, outcome.config, outcome.seen, (outcome.root, outcome.look_key)))
    diagnosis = _ask_doctor(config, outcome) if options.doctor else None
    if options.as_json:
        answer_json(_json(outcome, steps, faults, warnings, diagnosis))
        return
    for path in outcome.kept:
        answer(f"there already, and as it was: {path}")
    for path in outcome.written:
        answer(f"written: {path}")
    for text in outcome.remarks:
        answer(text)
    for key, text in (*faults, *warnings):
        answer(f"missing: {key}: {text}")
    if diagnosis is not None:
        _tell(diagnosis)
    answer()
    answer("What is left, in this order:")
    for line in render_steps(steps):
        answer(line)


def _ask_doctor(config: Config, outcome: Outcome) -> Diagnosis | None:
    """What keeps the doctor from looking is a remark: the configuration stands all the same."""
    from failsafe.app import App
    from failsafe.checkup.run import run_checkup
    from failsafe.errors import FailsafeError

    say("Asking the doctor …")
    try:
        return run_checkup(App(config, outcome.config))
    except FailsafeError as error:
        outcome.remarks.append(f"the doctor could not look: {error}")
        return None


def _tell(diagnosis: Diagnosis) -> None:
    from failsafe.model import Severity

    wrong = [each for each in diagnosis.findings if each.severity in (Severity.FAIL, Severity.WARN)]
    answer()
    answer(
        f"The doctor finds {len(wrong)} thing(s) that are not yet as they should be; `failsafe doctor` tells how each is mended:"
    )
    for finding in wrong:
        answer(f"  {finding.severity:<5}{finding.code:<22}{finding.subject}: {finding.text}")


def _json(
    outcome: Outcome,
    steps: tuple[Step, ...],
    faults: list[tuple[str, str]],
    warnings: list[tuple[str, str]],
    diagnosis: Diagnosis | None,
) -> dict[str, Any]:
    return {
        "config": str(outcome.config),
        "written": [str(path) for path in outcome.written],
        "kept": [str(path) for path in outcome.kept],
        "remarks": list(outcome.remarks),
        "missing": [{"key": key, "text": text} for key, text in (*faults, *warnings)],
        "steps": [{"what": step.what, "why": step.why, "command": step.command} for step in steps],
        "findings": None if diagnosis is None else diagnosis.to_json()["findings"],
    }
