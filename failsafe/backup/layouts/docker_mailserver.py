"""docker-mailserver: mail-data, config, mail-state; compose file, environment and TLS folder beside them."""

from __future__ import annotations

from failsafe.backup.layouts.common import (
    CLAMAV_LEFT_OUT,
    QUEUE_LEFT_OUT,
    RSPAMD_LEFT_OUT,
    above,
    compose_files,
    compose_patterns,
    distinct,
    found_files,
    missing,
    no_container,
    tell,
)
from failsafe.backup.layouts.values import Container, Mount, Sight, Source, Wanted
from failsafe.backup.reach import Look, Reach, Tree
from failsafe.mail.manifest import Missing

MAIL, CONFIG, STATE = "/var/mail", "/tmp/docker-mailserver", "/var/mail-state"  # noqa: S108 - destinations in the container
TLS = ("/etc/letsencrypt", "/tmp/dms")  # noqa: S108
NOT_OURS = ("/etc/localtime", "/etc/timezone", "/var/log", "/var/run", "/run", "/dev", "/sys", "/proc", "/lib/modules")
TLS_FOLDERS = (
    "certbot/certs",
    "acme-companion/certs",
    "custom-certs",
    "certs",
    "letsencrypt",
)  # as its documentation places them
LEVELS = 2  # its documentation has compose.yaml two folders above docker-data/dms
# what is made or fetched anew: virus signatures, bans, rules, caches, logs' state, indexes
STATE_LEFT_OUT = (
    "lib-clamav",
    "lib-fail2ban",
    "lib-logrotate",
    "lib-mta-sts",
    "lib-spamassassin/[0-9]*",
    "lib-spamassassin/compiled",
    "lib-amavis/tmp",
    "*/dovecot.index*",
    "*/dovecot.list.index*",
    "lib-redis/temp-*",
    *(f"lib-rspamd/{name}" for name in RSPAMD_LEFT_OUT),
    *(f"spool-postfix/{name}" for name in QUEUE_LEFT_OUT),
    *CLAMAV_LEFT_OUT,
)
REDIS = "lib-redis"
NO_CONFIG = "accounts, aliases, DKIM keys and certificates are in it; to mend it: {0}"


def look_for_docker_mailserver(wanted: Wanted) -> Look:
    folders = above(wanted.path, LEVELS) if wanted.path else ()
    places = tuple(f"{folder}/{name}" for folder in folders for name in TLS_FOLDERS)
    own = tuple(f"{wanted.path.rstrip('/')}/{name}" for name in ("mail-data", "config", "mail-state")) if wanted.path else ()
    return Look(containers=(wanted.container,) if wanted.container else (), paths=(*own, *compose_patterns(folders), *places))


def judge_docker_mailserver(wanted: Wanted, sight: Sight) -> Source:
    container = sight.named(wanted.container)
    if wanted.path:
        return _from_path(wanted, sight, container)
    if container is None:
        fault, mend = no_container(wanted.container, sight)
        return Source(Reach(""), (missing(CONFIG, fault),), fault=fault, mend=mend)
    return _from_container(container)


def _from_path(wanted: Wanted, sight: Sight, container: Container | None) -> Source:
    path = wanted.path.rstrip("/")
    folders = above(path, LEVELS)
    trees = [
        Tree(f"{path}/config", needs=("postfix-accounts.cf",), lacks="the accounts are not in the snapshot; is `path` right?"),
        *_state(f"{path}/mail-state", optional=True),
        *(compose_files([container]) if container is not None else ()),
        *found_files(sight, folders),
        *(Tree(place, optional=True) for place in sorted(sight.paths) if sight.paths[place] and _is_tls(place)),
    ]
    shown = [f"mail from {path}/mail-data, configuration from {path}/config"]
    if not sight.paths.get(f"{path}/mail-state"):
        shown.append(f"there is no {path}/mail-state: the queue and what the spam filter learned are lost with the container")
    if container is not None:
        shown += tell(container, _own_mounts(container))
        trees += [Tree(mount.source, optional=True) for mount in container.mounts if mount.destination.startswith(TLS)]
    elif wanted.container:
        shown.append(f"{no_container(wanted.container, sight)[0]}; its mounts are not known, {path} is read all the same")
    reach = Reach(f"{path}/mail-data", distinct(trees), postfix=container.name if container is not None else "")
    return Source(reach, shown=tuple(shown), left_out=_left_out(f"{path}/mail-state"))


def _from_container(container: Container) -> Source:
    mail, config, state = (container.mount(place) for place in (MAIL, CONFIG, STATE))
    lost = f"mount a folder or volume there in the compose file of {container.name}"
    if mail is None:
        fault = f"container {container.name} mounts nothing at {MAIL}: its mail lies in the container's own layer"
        return Source(Reach(""), fault=fault, mend=f"{lost}, or set path")
    lacking: list[Missing] = []
    shown = tell(container, _own_mounts(container))
    trees: list[Tree] = []
    if config is None:
        why = f"container {container.name} mounts nothing at {CONFIG}; " + NO_CONFIG.format(lost)
        lacking.append(missing(CONFIG, why))
    else:
        words = "the accounts are not in the snapshot; is it the right container?"
        trees.append(Tree(config.source, needs=("postfix-accounts.cf",), lacks=words))
    if state is None:
        shown.append(
            f"container {container.name} mounts nothing at {STATE}: the queue and what the spam filter learned are lost with it"
        )
    else:
        trees += _state(state.source, optional=False)
    trees += [Tree(mount.source, optional=True) for mount in container.mounts if mount.destination.startswith(TLS)]
    trees += compose_files([container])
    if not container.files:
        shown.append(f"container {container.name} says of no compose file that it made it: name it in extra_paths")
    others = [f"{mount.destination} ({mount.source})" for mount in container.mounts if _is_other(mount)]
    if others:
        shown.append(
            f"container {container.name}: not taken along, name them in extra_paths if you need them: {', '.join(others)}"
        )
    reach = Reach(mail.source, distinct(trees), postfix=container.name)
    return Source(reach, tuple(lacking), tuple(shown), _left_out(state.source if state else ""))


def _state(path: str, *, optional: bool) -> list[Tree]:
    """Redis writes its whole memory anew every few minutes: once a day is enough for what the spam filter learned."""
    return [
        Tree(path, (*STATE_LEFT_OUT, REDIS), optional=optional),
        Tree(f"{path}/{REDIS}", ("temp-*",), optional=True, every=86400),
    ]


def _left_out(state: str) -> tuple[str, ...]:
    if not state:
        return ()
    return (f"{state}: virus signatures, bans, filter rules and caches, indexes: made or fetched anew",)


def _own_mounts(container: Container) -> list[Mount]:
    return [
        mount for mount in container.mounts if mount.destination in (MAIL, CONFIG, STATE) or mount.destination.startswith(TLS)
    ]


def _is_other(mount: Mount) -> bool:
    return mount.destination not in (MAIL, CONFIG, STATE) and not mount.destination.startswith((*TLS, *NOT_OURS))


def _is_tls(place: str) -> bool:
    return place.endswith(tuple(f"/{name}" for name in TLS_FOLDERS))
