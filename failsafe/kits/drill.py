"""Proves a recovery kit: opens each repository by the commands that it prints, in an empty home, and drills a restore from the kit alone.

Needs no configuration, so that it can be done on any machine with restic. Where the controller itself does it, the doctor remembers.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from failsafe.adapters.process import Command, base_environment, run
from failsafe.adapters.restic import ResticRepository
from failsafe.adapters.restic.escrow import prove
from failsafe.app import App
from failsafe.backup.drill import FAR, NEAR
from failsafe.backup.drill_report import DrillReport, Fault, ServerDrill
from failsafe.backup.drill_words import PASSED
from failsafe.backup.kit import Kit, KitRepository
from failsafe.backup.kit_commands import FOLDER, open_block, sftp_path
from failsafe.drills import DrillPlace, run_drill, workroom
from failsafe.errors import FailsafeError, Interrupted, ResticError
from failsafe.events import Event
from failsafe.kits.gather import DRILL
from failsafe.ports import Clock, Progress
from failsafe.secrets import Secret

OPENING = timedelta(minutes=20)  # newer restics ask a backend that does not answer for a quarter of an hour
WORDS = 300  # of what the commands said


def drill_kit(
    kit: Kit, name: str, folder: Path, before: Sequence[dict[str, object]], clock: Clock, progress: Progress
) -> DrillReport:
    """One repository of the kit. `folder` is emptied before and afterwards; `before`: reports of earlier drills, which choose what is drilled now."""
    each = next(one for one in kit.repositories if one.name == name)
    with workroom(folder) as room, _at_home(room / "home") as home:
        progress.stage(f"opening {name} by the commands of the kit")
        key_fault, command_fault = _key_fault(each, room), _command_fault(each, home)
        place = DrillPlace(
            repository_of(each, home / FOLDER / name, room / "cache"),
            tuple(server.name for server in kit.servers),
            frozenset(),
            frozenset(),
            room / "work",
            NEAR if each.kind == "local" else FAR,
        )
        report = run_drill(place, before, clock, progress)
    faults = [text for text in (key_fault, command_fault) if text]
    if (
        key_fault and report.trouble is not None
    ):  # with another password nobody can be asked: that is the kit's fault, not the line's
        faults.append(report.trouble.text)
        report = replace(report, trouble=None)
    return replace(report, servers=(*report.servers, _own(faults))) if faults else report


def repository_of(each: KitRepository, here: Path, cache: Path) -> ResticRepository:
    """The repository as the kit alone knows it; `here`: where its first block wrote its files."""
    attached = {file.path for file in each.attached}
    environment = {name: Secret(str(here / name) if name in attached else value) for name, value in each.environment.items()}
    files = () if each.ssh is None else [file.path for file in each.ssh.files]
    return ResticRepository(
        each.name,
        _url(each),
        password=lambda: Secret(each.password),
        environment=lambda: environment,
        cache_dir=cache,
        expected_id=each.restic_id or None,
        ssh_key=here / "ssh_key" if "ssh_key" in files else None,
        known_hosts=here / "known_hosts" if "known_hosts" in files else None,
    )


def keep_proof(app: App, kit: Kit, reports: Sequence[DrillReport]) -> None:
    """For the doctor, and an event; of a kit of this controller alone. Where a repository could not be asked, nothing was proved or disproved."""
    failed = [f"{report.repository}: {report.first_fault}" for report in reports if report.was_tried and report.result != PASSED]
    if kit.controller != app.config.controller.id or (not failed and not all(report.was_tried for report in reports)):
        return
    now = app.clock.now()
    tried = [report.repository for report in reports]
    details = {"made_at": kit.made_at.isoformat(), "repositories": tried, "failed": failed}
    app.duties.ended(DRILL.format(kit.controller), now, ok=not failed, result="failed" if failed else PASSED, details=details)
    name, made = ("kit.failed", "; ".join(failed)) if failed else ("kit.proved", f"mail came back from {', '.join(tried)}")
    text = f"the recovery kit of {kit.made_at:%Y-%m-%d %H:%M} UTC alone: {made}"
    app.record(Event(name, kit.controller, text, now, {"repositories": [report.to_json() for report in reports]}))


@contextmanager
def _at_home(home: Path) -> Iterator[Path]:
    """What is started meanwhile finds nothing of ours in its home: no keys, no credentials, no cache."""
    home.mkdir(mode=0o700)
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(home)
    try:
        yield home
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before


def _key_fault(each: KitRepository, room: Path) -> str:
    """Whether the kit's own keys/ and config open with its password, without the repository; "" where they do."""
    if not each.files:
        return f"the kit does not hold its keys/ and config: {each.lacking or 'no reason known'}"

    def open_alone(folder: Path) -> str:
        return ResticRepository(each.name, str(folder), password=lambda: Secret(each.password), cache_dir=room / "alone").open()

    try:
        prove({file.path: file.content for file in each.files}, each.restic_id, open_alone)
    except ResticError as error:
        return f"the kit's own keys/ and config do not open: {error}"
    return ""


def _command_fault(each: KitRepository, home: Path) -> str:
    """Whether the first block that the kit prints opens the repository; "" where it does. Through a file: a command line can be read by others."""
    script = home.parent / "open.sh"
    script.touch(mode=0o600)
    script.write_text(open_block(each).commands)
    try:
        finished = run(Command(("sh", str(script)), base_environment(), cwd=home, deadline=OPENING))
    except Interrupted:
        raise
    except FailsafeError as error:
        return f"the commands of the kit could not be run: {error}"
    finally:
        script.unlink(missing_ok=True)
        shutil.rmtree(home / ".cache", ignore_errors=True)
    if finished.code == 0:
        return ""
    said = " ".join(finished.stderr)[-WORDS:]
    for secret in sorted((each.password, *each.environment.values()), key=len, reverse=True):
        said = said.replace(secret, "***") if len(secret) > len("***") else said
    return f"the commands of the kit do not open it: {said or f'exit {finished.code}'}"


def _own(faults: Sequence[str]) -> ServerDrill:
    """The kit's own part of a report."""
    return ServerDrill("the kit itself", faults=tuple(Fault(text) for text in faults), fault_count=len(faults))


def _url(each: KitRepository) -> str:
    """As `each.address`, with the real name of an SSH host in place of an alias."""
    ssh = each.ssh
    if ssh is None:
        return each.url if each.kind == "rest" else each.address
    host = f"[{ssh.host}]" if ":" in ssh.host else ssh.host
    login = f"{ssh.user}@" if ssh.user else ""
    return f"sftp://{login}{host}:{ssh.port}/{sftp_path(each.url)}"
