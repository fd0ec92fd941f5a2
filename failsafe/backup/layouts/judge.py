"""From the configuration and what a server shows to what is read there, for every layout."""

from __future__ import annotations

from dataclasses import replace

from failsafe.backup.layouts.docker_mailserver import judge_docker_mailserver, look_for_docker_mailserver
from failsafe.backup.layouts.mailcow import judge_mailcow, look_for_mailcow
from failsafe.backup.layouts.mailu import judge_mailu, look_for_mailu
from failsafe.backup.layouts.values import Sight, Source, Wanted
from failsafe.backup.reach import Look, Reach, trees_of

_LOOKS = {"docker-mailserver": look_for_docker_mailserver, "mailcow": look_for_mailcow, "mailu": look_for_mailu}
_JUDGES = {"docker-mailserver": judge_docker_mailserver, "mailcow": judge_mailcow, "mailu": judge_mailu}


def plan_look(wanted: Wanted) -> Look | None:
    """What must be looked at first; None where the configuration says everything."""
    look = _LOOKS.get(wanted.layout)
    return None if look is None else look(wanted)


def judge_source(wanted: Wanted, sight: Sight) -> Source:
    """Where everything lies. Extra paths and commands of the configuration come along with every layout."""
    judge = _JUDGES.get(wanted.layout)
    source = judge(wanted, sight) if judge is not None else Source(Reach(wanted.path if wanted.reads_mail else ""))
    known = {tree.path for tree in source.reach.trees}
    more = tuple(tree for tree in trees_of(wanted.extra_paths) if tree.path not in known)
    reach = replace(
        source.reach,
        root=source.reach.root if wanted.reads_mail else "",
        trees=(*source.reach.trees, *more),
        commands=wanted.commands,
        command_seconds=wanted.command_seconds,
    )
    return replace(source, reach=reach, fault=source.fault if wanted.reads_mail else "")
