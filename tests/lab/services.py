"""The daemons a host can run: how each is started, where its process id is, and what shows that it is ready."""

from dataclasses import dataclass

from tests.lab.names import AUTHORITATIVE, RESOLVER


@dataclass(frozen=True, slots=True)
class Service:
    """One daemon, in shell words that run inside a host."""

    start: str
    pid_file: str
    ready: tuple[str, ...]
    """`ADDRESS/PORT` pairs that must accept a TCP connection before the service counts as started."""


# Postfix reads no file that was written less than two seconds ago: it waits.
AGED = "touch -d '1 minute ago' /etc/postfix/*"
RELOAD_POSTFIX = f"{AGED}; postfix reload"

SERVICES = {
    "sshd": Service("/usr/sbin/sshd -E /var/log/sshd.log", "/run/sshd.pid", ("127.0.0.1/22",)),
    # A process id file that a killed Dovecot left behind may name a process of today.
    "dovecot": Service("rm -rf /run/dovecot; dovecot", "/run/dovecot/master.pid", ("127.0.0.1/993",)),
    "postfix": Service(f"{AGED}; postfix start", "/var/spool/postfix/pid/master.pid", ("127.0.0.1/25",)),
    "knot": Service("install -d -o knot -g knot /run/knot; knotd -d", "/run/knot/knot.pid", (f"{AUTHORITATIVE}/53",)),
    "knot-secondary": Service("install -d -o knot -g knot /run/knot; knotd -d", "/run/knot/knot.pid", ("127.0.0.1/53",)),
    "unbound": Service("unbound -c /etc/unbound/unbound.conf", "/run/unbound.pid", (f"{RESOLVER}/53",)),
}

# Every process is stopped before its children are listed, so none can be born unseen.
TREE = """
tree() {
    kill -STOP "$1" 2>/dev/null || return 0
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
    echo "$1"
}
"""


def start_script(names: tuple[str, ...]) -> str:
    """A script that starts all the services at once, waits until each is ready, and names those that failed."""
    parts = []
    for name in names:
        service = SERVICES[name]
        checks = "".join(f"until (exec 3<>/dev/tcp/{at}) 2>/dev/null; do sleep 0.02; done\n" for at in service.ready)
        parts.append(
            f"{{ {{ {service.start}; }} >/var/log/start-{name}.log 2>&1 </dev/null && "
            f"timeout 30 bash -c '{checks}' || {{ echo {name}:; cat /var/log/start-{name}.log; }} >&2; }} &\n"
        )
    return "".join(parts) + "wait\n"


def kill_script(name: str) -> str:
    """A script that kills a service and all its descendants, and waits until none is left."""
    return f"""{TREE}
    all=$(tree "$(tr -dc 0-9 <{SERVICES[name].pid_file})")
    kill -KILL $all
    for one in $all; do while [ -d /proc/$one ]; do sleep 0.01; done; done
    """


def freeze_script(name: str) -> str:
    """A script that stops a service and all its descendants where they are."""
    return f'{TREE} tree "$(tr -dc 0-9 <{SERVICES[name].pid_file})" >/run/frozen-{name}'


def thaw_script(name: str) -> str:
    """A script that lets a frozen service go on. Does nothing if it is not frozen."""
    pids = f"/run/frozen-{name}"
    return f"[ ! -f {pids} ] || {{ kill -CONT $(cat {pids}) 2>/dev/null; rm {pids}; }}"
