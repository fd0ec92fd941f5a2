"""Mailu: everything below one folder, as its compose file mounts it; found by path, or by the mounts of its containers."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.backup.layouts.common import (
    CLAMAV_LEFT_OUT,
    DAILY,
    QUEUE_LEFT_OUT,
    REDIS_LEFT_OUT,
    RSPAMD_LEFT_OUT,
    compose_files,
    compose_patterns,
    distinct,
    found_files,
    missing,
    no_container,
    tell,
)
from failsafe.backup.layouts.values import Mount, Sight, Source, Wanted
from failsafe.backup.reach import Look, Reach, Tree
from failsafe.mail.manifest import Missing

NAMING = "user@domain"
FLAVOR = ("docker-compose.yml", "mailu.env")


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of Mailu's: below its root, and where which service mounts it."""

    folder: str
    service: str
    destination: str
    leave_out: tuple[str, ...] = ()
    every: int = 0
    needs: tuple[str, ...] = ()
    required: str = ""  # what is lost without it


DATABASE = "the accounts are not in the snapshot; a Mailu on PostgreSQL or MySQL needs `commands` with a dump of its database"
PARTS = (
    Part("data", "admin", "/data", needs=("main.db",), required="accounts and aliases"),
    Part("dkim", "admin", "/dkim", required="DKIM keys"),
    Part("certs", "front", "/certs", required="certificates"),
    Part("overrides", "", ""),
    Part("filter", "antispam", "/var/lib/rspamd", (*RSPAMD_LEFT_OUT, *CLAMAV_LEFT_OUT)),
    Part("redis", "redis", "/data", REDIS_LEFT_OUT, DAILY),
    Part("mailqueue", "smtp", "/queue", QUEUE_LEFT_OUT),
    Part("dav", "webdav", "/data"),
    Part("webmail", "webmail", "/data", ("*/cache/*", "cache/*", "*/logs/*", "logs/*", "*.log")),
)
LEFT_OUT = ("virus signatures, filter caches and indexes: made or fetched anew",)


def look_for_mailu(wanted: Wanted) -> Look:
    path = wanted.path.rstrip("/")
    own = tuple(f"{path}/{part.folder}" for part in PARTS) if path else ()
    return Look(
        containers=(wanted.container,) if wanted.container else (),
        siblings=bool(wanted.container),
        paths=(*own, *(compose_patterns((path,)) if path else ())),
    )


def judge_mailu(wanted: Wanted, sight: Sight) -> Source:
    if wanted.path:
        return _from_path(wanted.path.rstrip("/"), wanted, sight)
    if sight.named(wanted.container) is None:
        fault, mend = no_container(wanted.container, sight)
        return Source(Reach("", naming=NAMING), (missing("/data", fault),), fault=fault, mend=mend)
    return _from_containers(wanted, sight)


def _from_path(path: str, wanted: Wanted, sight: Sight) -> Source:
    trees = [_tree(part, f"{path}/{part.folder}", optional=not part.required) for part in PARTS]
    beside = found_files(sight, (path,))
    known = {tree.path for tree in beside} | {tree.path for tree in compose_files(sight.containers)}
    lacking = [missing(f"{path}/{name}", "it is not there; name it in extra_paths") for name in FLAVOR if not _has(known, name)]
    shown = [f"mail from {path}/mail, accounts from {path}/data"]
    if wanted.container and not sight.containers:
        shown.append(f"{no_container(wanted.container, sight)[0]}; {path} is read all the same")
    trees += [*beside, *compose_files(sight.containers)]
    smtp = sight.service("smtp") if sight.containers else None
    reach = Reach(f"{path}/mail", distinct(trees), naming=NAMING, postfix=smtp.name if smtp is not None else "")
    return Source(reach, tuple(lacking), tuple(shown), LEFT_OUT)


def _from_containers(wanted: Wanted, sight: Sight) -> Source:
    imap = sight.service("imap") or sight.named(wanted.container)
    mail = imap.mount("/mail") if imap is not None else None
    if imap is None or mail is None:
        fault = f"no container of the project of {wanted.container} mounts mail at /mail"
        return Source(Reach("", naming=NAMING), fault=fault, mend="is it one of Mailu's containers? `docker ps --all` shows them")
    shown, lacking, trees = tell(imap, [mail]), list[Missing](), list[Tree]()
    for part in PARTS:
        container = sight.service(part.service)
        mount: Mount | None = container.mount(part.destination) if container is not None else None
        if container is not None and mount is not None:
            trees.append(_tree(part, mount.source, optional=not part.required))
            shown += tell(container, [mount])
        elif part.required:
            lacking.append(
                missing(part.destination, f"no container of service {part.service} mounts it: {part.required} are lost with it")
            )
    overrides = {mount.source for one in sight.containers for mount in one.mounts if mount.destination == "/overrides"}
    trees += [Tree(path, optional=True) for path in sorted(overrides)]
    files = compose_files(sight.containers)
    if not files:
        lacking.append(
            missing("docker-compose.yml", "the containers say of no compose file that it made them; name it in extra_paths")
        )
    folders = sorted({one.folder for one in sight.containers if one.folder})
    trees += [*files, *(Tree(f"{folder}/mailu.env", optional=True) for folder in folders)]
    smtp = sight.service("smtp")
    reach = Reach(mail.source, distinct(trees), naming=NAMING, postfix=smtp.name if smtp is not None else "")
    return Source(reach, tuple(lacking), tuple(shown), LEFT_OUT)


def _tree(part: Part, path: str, *, optional: bool) -> Tree:
    return Tree(path, part.leave_out, optional, part.needs, DATABASE if part.needs else "", part.every)


def _has(paths: set[str], name: str) -> bool:
    ends = (".env",) if name.endswith(".env") else ("compose.yml", "compose.yaml")
    return any(path.endswith(ends) for path in paths)
