"""mailcow: the vmail and crypt volumes, the database, Redis, and what lies in mailcow's own folder."""

from __future__ import annotations

from failsafe.backup.layouts.common import (
    DAILY,
    QUEUE_LEFT_OUT,
    compose_files,
    compose_patterns,
    distinct,
    found_files,
    mend_of,
    missing,
    tell,
)
from failsafe.backup.layouts.values import Container, Mount, Sight, Source, Wanted
from failsafe.backup.reach import Look, Reach, Stock, Tree
from failsafe.mail.manifest import Missing

FOLDER = "/opt/mailcow-dockerized"
DOVECOT, MYSQL, REDIS, POSTFIX = (f"{name}-mailcow" for name in ("dovecot", "mysql", "redis", "postfix"))
VMAIL, CRYPT, QUEUE = "/var/vmail", "/mail_crypt", "/var/spool/postfix"
KEYS = ("ecprivkey.pem", "ecpubkey.pem")
SKIP = ("_garbage", "sieve")  # mailboxes that were deleted; global filters
STOCK = {MYSQL: ("mailcow-database.sql", "mailcow-accounts.jsonl"), REDIS: ("mailcow-dkim.txt", "mailcow-redis.rdb")}
UNREADABLE = "mailcow stores mail encrypted, and without these keys nobody can read it"
LEFT_OUT = (
    "vmail-index, rspamd, clamd-db, sogo-web and sogo-userdata-backup volumes: made anew, or copies of what is in the database",
    "mysql volume: its content is in commands/mailcow-database.sql, without counters and log-ins",
    f"{VMAIL}/_garbage: mailboxes that were deleted",
)


def look_for_mailcow(wanted: Wanted) -> Look:
    folder = (wanted.path or FOLDER).rstrip("/")
    own = (f"{folder}/mailcow.conf",)
    return Look(services=(DOVECOT, MYSQL, REDIS, POSTFIX), paths=(*own, *compose_patterns((folder,))))


def judge_mailcow(wanted: Wanted, sight: Sight) -> Source:
    sight = _one_project(wanted, sight)
    dovecot = sight.named(wanted.container) or sight.service(DOVECOT)
    folder = (wanted.path or (dovecot.folder if dovecot else "") or FOLDER).rstrip("/")
    trees = [*_folder(folder), *compose_files(sight.containers), *found_files(sight, (folder,))]
    if dovecot is None:
        said = sight.trouble or f"no container of a compose file has the service {DOVECOT}"
        fault = f"mailcow's containers cannot be looked at: {said}"
        lacking = [missing(CRYPT, f"{fault}; {UNREADABLE}; to mend it: {_mend(said)}")]
        lacking += [missing(f"commands/{name}", fault) for names in STOCK.values() for name in names]
        return Source(Reach("", distinct(trees)), tuple(lacking), left_out=LEFT_OUT, fault=fault, mend=_mend(said))
    vmail = dovecot.mount(VMAIL)
    lacking, shown, mounts = [], [], [mount for mount in (vmail, dovecot.mount(CRYPT)) if mount is not None]
    shown += tell(dovecot, mounts)
    crypt, lack = _crypt(dovecot)
    lacking += lack
    postfix = sight.service(POSTFIX)
    queue = postfix.mount(QUEUE) if postfix is not None else None
    if queue is not None:
        trees.append(Tree(queue.source, QUEUE_LEFT_OUT, optional=True))
        shown += tell(postfix, [queue]) if postfix is not None else []
    stock, lack = _stock(sight)
    reach = Reach(vmail.source if vmail else "", distinct([*crypt, *trees]), skip=SKIP, stock=stock, postfix=_name(postfix))
    fault = "" if vmail else f"container {dovecot.name} mounts nothing at {VMAIL}"
    return Source(reach, (*lacking, *lack), tuple(shown), LEFT_OUT, fault, _mend(fault))


def _name(container: Container | None) -> str:
    return "" if container is None else container.name


def _one_project(wanted: Wanted, sight: Sight) -> Sight:
    """Where several mailcows run on one machine: the one whose folder or container was named."""
    folders = {container.folder for container in sight.containers}
    named = sight.named(wanted.container)
    chosen = named.folder if named is not None else wanted.path.rstrip("/") if wanted.path.rstrip("/") in folders else ""
    if not chosen and len({container.project for container in sight.containers}) > 1:
        return Sight((), sight.paths, f"more than one mailcow runs there, in {', '.join(sorted(folders))}")
    kept = tuple(container for container in sight.containers if not chosen or container.folder == chosen)
    return Sight(kept, sight.paths, sight.trouble)


def _folder(folder: str) -> list[Tree]:
    words = "the passwords of database and Redis are in it; is `path` mailcow's folder?"
    return [
        Tree(f"{folder}/mailcow.conf", needs=("mailcow.conf",), lacks=words),
        Tree(f"{folder}/data/conf"),
        Tree(f"{folder}/data/assets/ssl"),
        *(
            Tree(f"{folder}/{name}", optional=True)
            for name in ("data/assets/templates", "data/hooks", "data/web/inc/vars.local.inc.php")
        ),
    ]


def _crypt(dovecot: Container) -> tuple[list[Tree], list[Missing]]:
    mount: Mount | None = dovecot.mount(CRYPT)
    if mount is None:
        how = f"let {DOVECOT} mount crypt-vol-1 at {CRYPT} again, as mailcow's docker-compose.yml does"
        return [], [missing(CRYPT, f"container {dovecot.name} mounts nothing at {CRYPT}; {UNREADABLE}; to mend it: {how}")]
    how = "find the volume that holds them (docker volume ls), or the backup of it, and put them back there with mode 0600"
    return [Tree(mount.source, needs=KEYS, lacks=f"{UNREADABLE}; to mend it: {how}")], []


def _stock(sight: Sight) -> tuple[tuple[Stock, ...], list[Missing]]:
    found: list[Stock] = []
    lacking: list[Missing] = []
    for service, names in STOCK.items():
        container = sight.service(service)
        for name in names:
            if container is None:
                lacking.append(missing(f"commands/{name}", f"there is no container of the service {service}; start mailcow"))
            else:
                found.append(Stock(name, container.name, DAILY if name.endswith(".rdb") else 0))
    return tuple(found), lacking


def _mend(said: str) -> str:
    if "service" in said:
        return "start mailcow (docker compose up -d in its folder), or check with `docker ps --all` that it is on this server"
    return "set path to the folder of the one that is meant" if "more than one" in said else mend_of(said)
