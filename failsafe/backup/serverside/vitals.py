"""What its owner wants to know of the machine: room, queue, services, certificates, log."""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import glob
import json
import os
import re
import select
import shlex
import signal
import subprocess
import tempfile
import time

from failsafe.backup.serverside.engines import containers, engine
from failsafe.backup.serverside.ground import CHILDREN, CHUNK, Refusal, text

TOOLS = "/usr/sbin:/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin:/bin:/snap/bin"
SPOOL = b"/var/spool/postfix"
QUEUE_BYTES = 8 << 20  # of what `postqueue -j` says: some 20,000 messages; of a longer queue the rest is not looked at
PLAIN = 300  # characters of a line that are read
REASONS = 5  # why mail is deferred, the most frequent first
CERTIFICATES = 30
CERTIFICATE_BYTES = 65536
LOG_BYTES = 2 << 20  # of the mail log at one look; of more, the newest
LOG_LINES = 20000
KINDS = 40  # of lines that are counted apart at one look
SENDING = ("smtp_bind_address", "smtp_bind_address6", "smtp_helo_name", "inet_interfaces", "relayhost")
SETTINGS_TOLD = 100  # lines
MAIL_LOGS = (b"/var/log/mail.log", b"/var/log/maillog", b"/var/log/mail/mail.log")
SERVICES = {  # names of processes, and what they are called; Postfix's own is known by its arguments
    "dovecot": "dovecot",
    "exim4": "exim",
    "exim": "exim",
    "rspamd": "rspamd",
    "opendkim": "opendkim",
    "amavisd": "amavis",
    "amavisd-new": "amavis",
    "clamd": "clamd",
    "fail2ban-server": "fail2ban",
    "redis-server": "redis",
    "mariadbd": "mariadb",
    "mysqld": "mariadb",
    "nginx": "nginx",
    "stalwart": "stalwart",
    "stalwart-mail": "stalwart",
}
OWN_DELIVERY = re.compile(
    r"lmtp|dovecot|\[private/|\[127\.|\[::1\]|maildrop|temporary failure|quota|unable to (?:lock|create)", re.IGNORECASE
)
ADDRESS = re.compile(r"[^\s<>\"'(),:;=\[\]]+@[^\s<>\"'(),:;=\[\]]+")
HOST = re.compile(r"(?<![/\w.-])(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?![\w/.])")
LOGGED = re.compile(
    r"(?:^|\s)(postfix(?:-[\w.-]+)?/[\w./-]+|dovecot|exim4?|rspamd|opendkim|opendmarc|amavis|clamd|freshclam|spamd|policyd-spf)(?:\[\d+\])?: (.*)"
)
LEVEL = re.compile(r"\b(warning|error|fatal|panic): (.*)", re.IGNORECASE)
RECIPIENT = re.compile(r"\b(?:orig_)?to=<([^>]{1,320})>")
REFUSED = re.compile(r"\bNOQUEUE\b|\breject:")
FLOW = re.compile(r"\bstatus=(sent|deferred|bounced|expired)\b|\b(NOQUEUE): reject")


def space(path):
    info = os.statvfs(path)
    return {
        "path": text(path),
        "bytes": info.f_blocks * info.f_frsize,
        "bytes_free": info.f_bavail * info.f_frsize,
        "inodes": info.f_files,
        "inodes_free": info.f_favail,
    }


def tool_environment():
    return dict(os.environ, PATH=os.environ.get("PATH", "") + ":" + TOOLS, LC_ALL="C")


def said_by(words, seconds=20, limit=LOG_BYTES):
    """What a program says on stdout, at most `limit` bytes of it; None where it cannot be run, fails or takes too long."""
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=tool_environment(),
            start_new_session=True,
        )
    except OSError:
        return None
    CHILDREN.add(child.pid)
    blocks, size, ends, whole = [], 0, time.time() + seconds, False
    try:
        while time.time() < ends and size < limit:
            if select.select([child.stdout], [], [], max(0.01, ends - time.time()))[0]:
                block = os.read(child.stdout.fileno(), CHUNK)
                if not block:
                    whole = True
                    break
                blocks.append(block)
                size += len(block)
        if whole:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.1, ends - time.time()))
        ended = child.poll() == 0 or size >= limit
    finally:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        CHILDREN.discard(child.pid)
    return b"".join(blocks)[:limit] if ended else None


def queue_length():
    """Messages in Postfix's queue; None where there is no Postfix to ask."""
    shown = said_by(["postqueue", "-p"])
    found = re.search(rb"in (\d+) Requests?\.\s*$", shown or b"")
    return int(found.group(1)) if found else 0 if b"queue is empty" in (shown or b"") else None


def in_container(container, line):
    return [engine(), "exec", container, "sh", "-c", line] if container else ["/bin/sh", "-c", line]


def queue_of(settings, awaited):
    """Postfix's queue by `postqueue -j`: no address of it leaves this machine. None where there is no Postfix to ask."""
    shown = said_by(in_container(settings["postfix"], "exec postqueue -j"), seconds=30, limit=QUEUE_BYTES)
    if shown is None:
        return None
    queues, reasons, own, mine, read = {}, {}, 0, 0, {}
    for line in shown.splitlines():
        try:
            row = json.loads(line.decode("utf-8", "replace"))
            queue, arrived = row["queue_name"], int(row["arrival_time"])
            recipients = row.get("recipients") or []
        except (ValueError, KeyError, TypeError):
            continue  # the last line of one that was cut
        entry = queues.setdefault(queue, {"count": 0, "oldest": arrived})
        entry["count"] += 1
        entry["oldest"] = min(entry["oldest"], arrived)
        raw = {str(each["delay_reason"])[:1000] for each in recipients if each.get("delay_reason")}
        for each in raw - read.keys():
            read[each] = plain(each)
        said = {read[each] for each in raw}
        own += any(OWN_DELIVERY.search(each) for each in raw)
        mine += any(str(each.get("address", "")).lower() in awaited for each in recipients)
        for each in said:
            reasons[each] = reasons.get(each, 0) + 1
    worst = sorted(reasons.items(), key=lambda pair: -pair[1])[:REASONS]
    return {"queues": queues, "own": own, "awaited": mine, "reasons": worst, "cut": len(shown) >= QUEUE_BYTES}


def plain(words):
    """Without addresses and numbers, so that alike lines are one kind, and nobody's name is in it."""
    if len(words) > PLAIN:  # at a space: half an address must not stay; and a line of one long word would take long
        words = words[:PLAIN].rpartition(" ")[0]
    words = HOST.sub("…", ADDRESS.sub("…", words) if "@" in words else words)
    words = re.sub(r"<[^<>]*>", "<…>", words)
    words = re.sub(r"(?<!\w)(/[\w.-]+/[\w.-]+)/[^\s:)]+", r"\1/…", words)
    words = re.sub(r"\b[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,}\b|\b\d+\.\d+\.\d+\.\d+\b", "…", words)
    words = re.sub(r"\b(?=\w*\d)\w{10,}\b|\d+(?:\.\d+)*", "N", words)
    words = re.sub(r"(user|mailbox|lip|rip|session|sasl_username|helo|from|to)=[^\s,]+", r"\1=…", words)
    return " ".join(words.split())[:120]


def services():
    """Which of the usual programs of a mail server run here, in containers too."""
    found = set()
    for place in glob.glob("/proc/[0-9]*/comm"):
        with contextlib.suppress(OSError), open(place) as file:
            name = file.read().strip()
            if name == "master":
                with open(place[:-4] + "cmdline", "rb") as line:
                    found |= {"postfix"} if b"postfix" in line.read(500) else set()
            elif name in SERVICES:
                found.add(SERVICES[name])
    return sorted(found)


def failed_units():
    shown = said_by(["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"], seconds=10, limit=65536)
    return sorted(line.split()[0] for line in text(shown or b"").splitlines() if line.split())[:10]


def containers_seen(settings):
    names = sorted({settings["postfix"], *settings["look"].get("containers", []), *settings["stock"].values()} - {""})
    try:
        return (
            [{"name": row["container"], "status": row["status"]} for row in containers(names) if "container" in row]
            if names
            else []
        )
    except (Refusal, OSError, ValueError):
        return []


def certificates(settings):
    """When each certificate that Postfix shows or that lies where they usually lie ends, and for which names it is."""
    found = [
        certificate(os.fsencode(place), None)
        for place in sorted(glob.glob("/etc/letsencrypt/live/*/fullchain.pem"))[:CERTIFICATES]
    ]
    line = "postconf -h smtpd_tls_chain_files smtpd_tls_cert_file"
    told = said_by(in_container(settings["postfix"], line), limit=CERTIFICATE_BYTES) or b""
    for place in list(dict.fromkeys(part for part in re.split(rb"[\s,]+", told) if part.startswith(b"/")))[:3]:
        words = in_container(settings["postfix"], "cat " + shlex.quote(text(place)))
        found.append(certificate(place, said_by(words, limit=CERTIFICATE_BYTES) or b"" if settings["postfix"] else None))
    return list({row["path"]: row for row in found if row is not None}.values())


def sending(settings):
    """What Postfix's settings say of how mail leaves, by their names (`smtp/unix/…` for one service's own); None where there is no Postfix to ask."""
    line = "postconf -x %s; postconf -xP %s || :" % (" ".join(SENDING), " ".join("'*/unix/%s'" % name for name in SENDING[:3]))
    told = said_by(in_container(settings["postfix"], line), limit=CERTIFICATE_BYTES) or b""
    pairs = [shown.partition("=") for shown in text(told).splitlines()[:SETTINGS_TOLD]]
    found = {name.strip()[:PLAIN]: value.strip()[:PLAIN] for name, equals, value in pairs if equals}
    return found if SENDING[0] in found else None


def certificate(place, content):
    """The first certificate of a PEM file. None where there is none to read."""
    import ssl

    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if decode is None:
        return None
    try:
        if content is None:
            with open(place, "rb") as file:
                content = file.read(CERTIFICATE_BYTES)
        first = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", content, re.DOTALL)
        if first is None:
            return None
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(first.group(0) + b"\n")
            copy.flush()
            shown = decode(copy.name)
        names = [name for kind, name in shown.get("subjectAltName", ()) if kind == "DNS"][:20]
        return {"path": text(place), "until": int(ssl.cert_time_to_seconds(shown["notAfter"])), "names": names}
    except (OSError, ValueError, KeyError):
        return None


def log_places(settings):
    root = [os.path.dirname(settings["root"].rstrip(b"/")) + b"/mail-logs/mail.log"] if settings["root"] else []
    return [*root, *MAIL_LOGS]


def log_lines(settings, position):
    """(lines since `position`, the next position); None where no mail log can be read. At the first look there is nothing to tell."""
    for place in log_places(settings):
        with contextlib.suppress(OSError), open(place, "rb") as file:
            info = os.fstat(file.fileno())
            here = "%s:%d:%d" % (text(place), info.st_ino, info.st_size)
            before = position.rsplit(":", 2)
            if position and len(before) == 3:
                start = int(before[2]) if before[:2] == here.rsplit(":", 2)[:2] and int(before[2]) <= info.st_size else 0
                file.seek(max(start, info.st_size - LOG_BYTES))
                return file.read(LOG_BYTES).splitlines(), here
            return [], here
    since = position[1:] if re.match(r"@\d{1,12}\Z", position) else str(int(time.time()))
    units = [word for name in ("postfix", "dovecot", "rspamd", "opendkim", "exim4") for word in ("-u", name + "*")]
    if settings["postfix"]:
        words = [engine(), "logs", "--since", since, "--tail", str(LOG_LINES), settings["postfix"]]
    else:
        words = ["journalctl", "--quiet", "--no-pager", "-o", "short", "-n", str(LOG_LINES), "--since", "@" + since, *units]
    shown, now = said_by(words, seconds=20), "@%d" % time.time()
    return None if shown is None else (shown.splitlines() if position else [], now)


def log_seen(settings, position, awaited):
    """Warnings and errors since the last look, counted by kind; no line of it leaves this machine as it stands. `taken`: lines about mail for those."""
    try:
        found = log_lines(settings, position)
    except (Refusal, ValueError):
        found = None
    if found is None:
        return None
    kinds, flow, taken = {}, {}, 0
    for raw in found[0][-LOG_LINES:]:
        logged = LOGGED.search(raw[:2000].decode("utf-8", "replace"))
        if logged is None:
            continue
        named = {address.lower() for address in RECIPIENT.findall(logged.group(2))}
        taken += bool(named & awaited) and REFUSED.search(logged.group(2)) is None
        moved, level = FLOW.search(logged.group(2)), LEVEL.search(logged.group(2))
        if moved is not None:
            name = moved.group(1) or "rejected"
            flow[name] = flow.get(name, 0) + 1
        if level is not None:
            kind = "%s %s: %s" % (logged.group(1), level.group(1).lower(), plain(level.group(2)))
            kinds[kind] = kinds.get(kind, 0) + 1
    worst = sorted(kinds.items(), key=lambda pair: -pair[1])
    rest = sum(count for _, count in worst[KINDS:])
    return {"position": found[1], "kinds": worst[:KINDS], "rest": rest, "flow": flow, "taken": taken}


def spaces(settings):
    """One for each file system that mail lies on or passes through."""
    found = {}
    for place in (settings["root"], SPOOL, b"/var/log", b"/var/lib/docker", b"/"):
        with contextlib.suppress(OSError):
            if place:
                found.setdefault(os.stat(place).st_dev, space(place))
    return list(found.values())


def vitals(settings):
    return {
        "now": int(time.time() * 1e9),
        "load": list(os.getloadavg()),
        "roots": [space(settings["root"])] if settings["root"] else [],
        "spaces": spaces(settings),
        "queue": queue_length(),
    }


def all_vitals(frames, settings, asked):
    """What its owner wants to know of the machine. `asked`: {"log": position of the last look, "awaited": addresses}."""
    awaited = {str(address).lower() for address in asked.get("awaited", [])[:10]}
    parts = {
        "spaces": lambda: spaces(settings),
        "queue": lambda: queue_of(settings, awaited),
        "services": services,
        "failed_units": failed_units,
        "containers": lambda: containers_seen(settings),
        "certificates": lambda: certificates(settings),
        "sending": lambda: sending(settings),
        "log": lambda: log_seen(settings, str(asked.get("log", ""))[:500], awaited),
    }
    found = {"now": int(time.time() * 1e9), "load": list(os.getloadavg()), "cpus": os.cpu_count() or 1}
    for name, look in parts.items():
        frames.send(b"K", b"")
        frames.flush()
        try:
            found[name] = look()
        except (OSError, Refusal, ValueError):
            found[name] = None
    return found
