"""The questions about this machine: where staging and backups lie, and whether there is room. Pure."""

from __future__ import annotations

import re

from failsafe.config.urls import holds_password
from failsafe.setting_up.facts import Facts
from failsafe.setting_up.questions import NONE, Question, Talk, ask, demand
from failsafe.setting_up.sight import Size, shown_size
from failsafe.setting_up.space import EXPOSURE, both_needed, estimate, tell_disk, tell_need

REMOTE = re.compile(r"(sftp|s3|rest|rclone|b2|azure|gs|swift):.+")


def ask_state_dir(facts: Facts, size: Size | None, usual: str) -> Talk[str]:
    disks = facts.roomiest()
    needed = estimate(size).state if size is not None else 0
    lines = [
        "The state folder holds the database and staging: every message once, ready for the next backup. It must be a local disk.",
        *tell_need(size),
        *(f"  {tell_disk(disk, needed)}" for disk in disks[:6]),
        *EXPOSURE,
    ]

    def read(text: str) -> str:
        path = _folder(facts, text)
        disk = facts.disk(path)
        if disk.is_network:
            raise ValueError(f"{disk.place} is a network file system ({disk.kind}), where the database would lose data")
        return path

    room = facts.disk(usual).free
    best = disks[0] if disks else None
    default = usual if best is None or room >= max(needed, best.free // 10) else f"{best.place.rstrip('/')}/failsafe/state"
    return (yield from ask(Question("--state-dir", "The state folder", tuple(lines), default), read))


def ask_repository(facts: Facts, size: Size | None, state_dir: str) -> Talk[str]:
    """A folder, or a restic URL."""
    state = facts.disk(state_dir)
    disks = [disk for disk in facts.roomiest() if disk.place != state.place] or list(facts.roomiest())
    default = (
        f"{disks[0].place.rstrip('/')}/failsafe/repository" if disks and disks[0].place != "/" else f"{state_dir}/repository"
    )
    lines = ["The first repository, encrypted: best on another disk of this machine than the state folder."]
    if size is not None:
        need = estimate(size)
        lines.append(f"About {shown_size(need.repository)} are needed for it.")
        lines += [f"  {tell_disk(disk, need.repository)}" for disk in disks[:6]]

    def read(text: str) -> str:
        return text if REMOTE.fullmatch(text) and _without_password(text) else _folder(facts, text)

    return (yield from ask(Question("--repository", "The repository (a folder, or a restic URL)", tuple(lines), default), read))


def ask_offsite(facts: Facts, size: Size | None, state_dir: str, repository: str) -> Talk[str]:
    """A second repository elsewhere; "" for none."""
    lines = [
        "A second repository, away from home, for the day the house burns: s3:…, sftp:user@host:/path, rest:https://…, or a folder."
    ]
    if not REMOTE.fullmatch(repository):
        lines = [*both_needed(facts.disk(state_dir), facts.disk(repository), size), *lines]

    def read(text: str) -> str:
        if text.lower() == NONE:
            return ""
        if text.rstrip("/") == repository.rstrip("/"):
            raise ValueError("that is the first repository")
        return text if REMOTE.fullmatch(text) and _without_password(text) else _folder(facts, text)

    return (yield from ask(Question("--offsite", "The second repository (none: later)", tuple(lines), NONE), read))


def ask_probe(domain: str) -> Talk[str]:
    """The mailbox that probes write to and log in to; "" for none."""

    def read(text: str) -> str:
        if text.lower() == NONE:
            return ""
        if re.fullmatch(r"[!-;=?A-~]+@[A-Za-z0-9.-]+", demand(text)) is None or any(bad in text for bad in "\"'\\"):
            raise ValueError(f"“{text}” is no address")
        return text

    lines = (
        "A mailbox of its own, for looking at the server as a sender and as a reader do. Its password is made here; how the mailbox is made is told at the end.",
    )
    return (
        yield from ask(
            Question("--probe", "The probe's address (none: the server is not watched)", lines, f"failsafe-probe@{domain}"), read
        )
    )


def _folder(facts: Facts, text: str) -> str:
    if not text.startswith("/") or any(bad in text for bad in '"\\\n'):
        raise ValueError(f"“{text}” is neither a whole path nor a restic URL")
    path = text.rstrip("/") or "/"
    if fault := facts.fault_of(path):
        raise ValueError(fault)
    return path


def _without_password(url: str) -> bool:
    if holds_password(url) or any(bad in url for bad in '"\\\n'):
        raise ValueError("the URL holds a password: leave it out, and put it into the environment file that is made for it")
    return True
