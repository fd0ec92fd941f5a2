#!/usr/bin/env python3
"""failsafe's look at a mail server before anything is set up: one file, Python 3.5 or newer, standard library only.

It is sent along and run once, reads names and sizes, no message and no file's content, and changes nothing. One argument, JSON: {"folders": [PATH…]},
places where mail may lie besides the usual ones. Answers are JSON, a line each; what a container is, is told as the backup's own program tells it.
"""

# mypy: ignore-errors
# ruff: noqa: UP022, UP031, PTH112, PTH116, PTH118, PTH119, PTH208, RUF005
# Old Pythons run this file as it stands; tests run it, types are not checked.
import json
import os
import pwd
import shutil
import subprocess
import sys
import time

SECONDS = 40  # for sizes, all together
MOST_DOMAINS = 200
MOST_MAILBOXES = 5000
LABEL = "com.docker.compose."
LABELS = ("project", "service", "project.working_dir", "project.config_files", "project.environment_file")
MAIL = ("/var/mail", "/var/vmail", "/mail")  # where containers of mail servers mount their mail
USUAL = (
    "/var/vmail",
    "/var/mail/vhosts",
    "/var/mail/vmail",
    "/var/lib/vmail",
    "/home/vmail",
    "/srv/vmail",
    "/srv/mail",
    "/var/spool/vmail",
    "/mailu/mail",
    "/srv/docker-data/dms/mail-data",
    "/srv/dms/mail-data",
    "/opt/docker-mailserver/docker-data/dms/mail-data",
)


def say(row):
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def engine():
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/bin:/usr/bin:/snap/bin"
    return shutil.which("docker", path=path) or shutil.which("podman", path=path)


def ask(words):
    child = subprocess.run(
        words, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30
    )
    said = child.stderr.decode("utf-8", "replace").strip()
    return child.stdout.decode("utf-8", "replace"), (said or "status %d" % child.returncode) if child.returncode else ""


def containers():
    """Names, labels and mounts, never the environment, which holds passwords."""
    program = engine()
    if program is None:
        return
    shown, trouble = ask([program, "ps", "--all", "--quiet", "--no-trunc"])
    names = shown.split()[:500]
    if not trouble and names:
        shown, trouble = ask([program, "inspect", "--type", "container"] + names)
        for row in json.loads(shown or "[]"):
            config, state = row.get("Config") or {}, row.get("State") or {}
            labels = config.get("Labels") or {}
            mounts = row.get("Mounts") or []
            yield {
                "container": (row.get("Name") or "").lstrip("/"),
                "status": state.get("Status") or "",
                "image": config.get("Image") or "",
                "labels": {key: labels.get(LABEL + key) or "" for key in LABELS},
                "mounts": [
                    [each.get("Type"), each.get("Name") or "", each.get("Source") or "", each.get("Destination") or ""]
                    for each in mounts
                ],
            }
    if trouble:
        yield {"trouble": "%s: %s" % (os.path.basename(program), trouble)}


def folders_in(path, most):
    try:
        with os.scandir(path) as entries:
            found = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[:1] != ".")
    except OSError:
        return []
    return found[:most]


def is_maildir(path):
    return any(os.path.isdir(os.path.join(path, *tail)) for tail in (("cur",), ("new",), ("Maildir", "cur"), ("mail", "cur")))


def mailboxes(root):
    count = 0
    for domain in folders_in(root, MOST_DOMAINS):
        if "@" in os.path.basename(domain):
            count += 1 if is_maildir(domain) else 0
        else:
            count += sum(1 for user in folders_in(domain, MOST_MAILBOXES) if is_maildir(user))
    return count


def owner(path):
    try:
        number = os.stat(path).st_uid
    except OSError:
        return ""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def size(root, until):
    total = files = 0
    for folder, _below, names in os.walk(root):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
                files += 1
            except OSError:
                continue
        if time.monotonic() > until:
            return {"size": root, "bytes": total, "files": files, "whole": False}
    return {"size": root, "bytes": total, "files": files, "whole": True}


def refused(path):
    """Why a folder that is there cannot be looked into; "" where it can."""
    try:
        os.listdir(path)
    except OSError as error:
        return "" if isinstance(error, FileNotFoundError) else error.strerror
    return ""


def main():
    wanted = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    say({"look": 1, "python": "%d.%d" % sys.version_info[:2], "dovecot": os.path.isdir("/etc/dovecot")})
    places = list(wanted.get("folders", [])) + list(USUAL)
    try:
        for row in containers():
            say(row)
            places += [source for _kind, _name, source, inside in row.get("mounts", []) if inside.rstrip("/") in MAIL]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        say({"trouble": "the container engine cannot be asked: %s" % error})
    until = time.monotonic() + SECONDS
    for path in dict.fromkeys(place.rstrip("/") for place in places if place.startswith("/")):
        why = refused(path)
        if why:
            say({"closed": path, "why": why})
        elif os.path.isdir(path):
            count = mailboxes(path)
            if count or path in wanted.get("folders", []):
                say({"mail": path, "mailboxes": count, "owner": owner(path)})
            if count:
                say(size(path, until))
    say({"end": True})


main()
