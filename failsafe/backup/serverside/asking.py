"""What is asked on others' behalf: names, and bans."""

# mypy: ignore-errors
# ruff: noqa: UP022, UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import ipaddress
import os
import re
import socket
import subprocess
import time

from failsafe.backup.serverside.engines import ask_engine, inside, of_a_project
from failsafe.backup.serverside.ground import Refusal, reason, text
from failsafe.backup.serverside.vitals import tool_environment

LOOKUPS, LOOKUP_SECONDS = 64, 20  # names for one request, and how long it may take to begin with one


def lookups(names):
    """A records of names through this machine's own resolver: [addresses, error] of each. No such record: neither."""
    found, end = {}, time.monotonic() + LOOKUP_SECONDS
    for name in [text(each) for each in names[:LOOKUPS]]:
        found[name] = lookup(name) if time.monotonic() < end else [[], "no time was left to look it up"]
    return found


def lookup(name):
    if not re.match(r"[A-Za-z0-9_.-]{1,253}\Z", name):
        return [[], "not a name"]
    try:
        rows = socket.getaddrinfo(name.rstrip(".") + ".", None, socket.AF_INET, socket.SOCK_STREAM)
    except socket.gaierror as error:
        absent = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return [[], "" if error.errno in absent else reason(error)]
    except (OSError, UnicodeError) as error:
        return [[], reason(error)]
    return [sorted({row[4][0] for row in rows}), ""]


JAILS = 30  # of fail2ban that are looked at


def bans(settings, asked):
    """What fail2ban says of the addresses in `asked` and of the one that we are called from. The first of `asked` names a container, or is empty.

    "service=redis-mailcow" there: mailcow's own list, in its Redis. Installed, we look into no container that our settings do not name.
    """
    container, addresses = text(asked[0]) if asked else "", [text(address) for address in asked[1:20]]
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    wanted = {client, *addresses} - {""}
    found = {"client": client, "jails": [], "error": ""}
    try:
        if container and not settings.get("sent") and container not in containers_named(settings):
            raise Refusal("the settings here do not name the container %s" % ascii(container[:80]))
        if container == MAILCOW_BANS:
            found["jails"] = [mailcow_bans(wanted)]
            return found
        prefix = inside(container) if container else []
        names = after(ask_fail2ban(prefix, "status"), "Jail list:").replace(",", " ").split()
        for name in names[:JAILS]:
            banned = after(ask_fail2ban(prefix, "status", name), "Banned IP list:").split()
            ignored = [
                line[2:].strip()
                for line in ask_fail2ban(prefix, "get", name, "ignoreip").splitlines()
                if line[:2] in ("|-", "`-")
            ]
            found["jails"].append({"name": name, "banned": sorted(wanted & set(banned)), "ignored": ignored[:200]})
    except (Refusal, OSError, subprocess.SubprocessError) as error:
        found["error"] = reason(error)
    return found


def containers_named(settings):
    looked = settings["look"]
    services = {"service=" + name for name in looked.get("services", [])}
    return {settings["postfix"], settings.get("bans", ""), *looked.get("containers", []), *settings["stock"].values(), *services}


MAILCOW_BANS = "service=redis-mailcow"
READ_MAILCOW_BANS = """
    export REDISCLI_AUTH="$REDISPASS"
    said=$(redis-cli ping) ; [ "$said" = PONG ] || { echo "redis does not answer: $said" >&2; exit 1; }
    for key in F2B_ACTIVE_BANS F2B_PERM_BANS F2B_WHITELIST; do echo "= $key"; redis-cli --raw hkeys "$key" || exit 1; done
"""


def mailcow_bans(wanted):
    """Its netfilter container keeps networks in Redis: those that it bans for now and for good, and those that it never bans."""
    names = of_a_project(MAILCOW_BANS)
    if len(names) != 1:
        raise Refusal("%s containers have the service redis-mailcow" % (len(names) or "no"))
    shown, trouble = ask_engine("exec", names[0], "sh", "-c", READ_MAILCOW_BANS)
    if trouble:
        raise Refusal("mailcow's Redis cannot be asked: %s" % trouble[-300:])
    lists, key = {}, ""
    for line in shown.splitlines():
        if line.startswith("= "):
            key = line[2:]
        elif line.strip():
            lists.setdefault(key, []).append(line.strip())
    banned = lists.get("F2B_ACTIVE_BANS", []) + lists.get("F2B_PERM_BANS", [])
    return {
        "name": "netfilter",
        "banned": sorted(address for address in wanted if any(lies_in(address, network) for network in banned)),
        "ignored": lists.get("F2B_WHITELIST", [])[:200],
    }


def lies_in(address, network):
    """False too where one of them is none: a name, or rubbish."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def ask_fail2ban(prefix, *words):
    """Only reads: its client's `status` and `get` change nothing."""
    child = subprocess.run(
        [*prefix, "fail2ban-client", *words],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=30,
        env=tool_environment(),
    )
    if child.returncode:
        said = (child.stderr or child.stdout).decode("utf-8", "replace").strip()
        said = re.sub(r"^\S+ \S+ fail2ban\s+\[\d+\]: [A-Z]+\s+", "", said)  # it speaks as in its log
        raise Refusal("fail2ban-client: %s" % (said[-300:] or "it ended with status %d" % child.returncode))
    return child.stdout.decode("utf-8", "replace")


def after(shown, label):
    """What stands behind a label in one of its lines; "" where it is nowhere."""
    for line in shown.splitlines():
        if label in line:
            return line.split(label, 1)[1]
    return ""
