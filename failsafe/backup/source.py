"""Opens a session with a mail server and finds out what is to be read there, for every layout of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from failsafe.backup.layouts import Container, Mount, Sight, Source, Wanted, judge_source, plan_look
from failsafe.backup.protocol import ServerSession
from failsafe.backup.reach import Reach, Stock, Tree
from failsafe.errors import ServerSideError
from failsafe.mail.manifest import Missing
from failsafe.ports import MailHost

ALLOW = "the program installed there is not allowed to read it: add it to /etc/failsafe-server.json there"


@contextmanager
def open_source(host: MailHost, wanted: Wanted) -> Iterator[tuple[ServerSession, Source]]:
    """Raises what the session raises, and ServerSideError where the mail itself cannot be found."""
    look = plan_look(wanted)
    first = Reach("", look=look) if look is not None else judge_source(wanted, Sight()).reach
    with ServerSession(host, first) as session:
        source = find_source(session, wanted)
        if source.fault:
            raise ServerSideError(f"{host.name}: {source.fault}", mend=source.mend, transient=False)
        yield session, source


def find_source(session: ServerSession, wanted: Wanted) -> Source:
    """Looks, judges, and lets the program there see what is needed. Where it is installed there, its own settings are the limit."""
    look = plan_look(wanted)
    source = judge_source(wanted, parse_sight(session.inspect()) if look is not None else Sight())
    if session.hello["mode"] != "sent":
        return within(source, session.permitted(), reads_mail=wanted.reads_mail)
    if look is not None and not source.fault:
        session.widen(source.reach)
    return source


def within(source: Source, permitted: Mapping[str, Any], *, reads_mail: bool) -> Source:
    """What the server's own settings allow of it; what they lack is missing, what they add comes along."""
    wanted = {tree.path: tree for tree in source.reach.trees}
    trees = tuple(
        replace(wanted.get(path, Tree(path)), leave_out=tuple(str(pattern) for pattern in row.get("leave_out", ())))
        for row in permitted["files"]
        if (path := str(row["path"]))
    )
    allowed = {tree.path for tree in trees}
    lacking = [Missing("", "", tree.path, ALLOW) for tree in source.reach.trees if tree.path not in allowed and not tree.optional]
    stock = {stock.name: stock for stock in source.reach.stock}
    names = permitted["stock"]
    lacking += [
        Missing("", "", f"commands/{name}", ALLOW)
        for name in (*stock, *source.reach.commands)
        if name not in {**names, **_named(permitted)}
    ]
    reach = replace(
        source.reach,
        root=str(permitted["root"]) if reads_mail else "",
        naming=str(permitted["naming"]),
        trees=trees,
        commands=dict.fromkeys(_named(permitted), ""),
        stock=tuple(replace(stock.get(name, Stock(name, "")), container=str(names[name])) for name in sorted(names)),
    )
    has_root = bool(permitted["root"])
    return replace(source, reach=reach, missing=(*source.missing, *lacking), fault="" if has_root else source.fault)


def _named(permitted: Mapping[str, Any]) -> dict[str, str]:
    return dict.fromkeys((str(name) for name in permitted["commands"]), "")


def parse_sight(rows: list[dict[str, Any]]) -> Sight:
    """The program's answers to `inspect`."""
    containers = tuple(_container(row) for row in rows if "container" in row)
    paths = {str(row["path"]): row.get("folder") is True for row in rows if "path" in row}
    troubles = [str(row["trouble"]) for row in rows if "trouble" in row]
    return Sight(containers, paths, "; ".join(troubles))


def _container(row: Mapping[str, Any]) -> Container:
    labels = {str(key): str(value) for key, value in dict(row.get("labels") or {}).items()}
    folder = labels.get("project.working_dir", "").rstrip("/")
    names = [*labels.get("project.config_files", "").split(","), *labels.get("project.environment_file", "").split(",")]
    files = [name if name.startswith("/") else f"{folder}/{name}" for name in names if name and (folder or name.startswith("/"))]
    mounts = tuple(
        Mount(str(kind), str(volume), str(source), str(destination).rstrip("/"))
        for kind, volume, source, destination in row.get("mounts") or ()
        if source and destination
    )
    return Container(
        name=str(row["container"]),
        status=str(row.get("status", "")),
        image=str(row.get("image", "")),
        project=labels.get("project", ""),
        service=labels.get("service", ""),
        folder=folder,
        files=tuple(dict.fromkeys(files)),
        mounts=mounts,
    )
