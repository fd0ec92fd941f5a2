"""Containers, and what is known to be run in them."""

# mypy: ignore-errors
# ruff: noqa: UP022, UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import glob
import json
import os
import re
import shutil
import subprocess

from failsafe.backup.serverside.ground import Refusal, reason, text


def inside(container):
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}\Z", container):
        raise Refusal("not the name of a container")
    return [engine(), "exec", container]


VOLATILE = "sasl_log sogo_sessions_folder sogo_cache_folder quota2 quota2replica"  # of mailcow's tables: rebuildable, and never the same twice
STOCK = {  # commands that are known here; each runs in one container by its own shell, with the secrets that lie in its environment
    "mailcow-database.sql": """
        export MYSQL_PWD="$MYSQL_ROOT_PASSWORD"
        dump=$(command -v mariadb-dump || command -v mysqldump) || { echo "no mariadb-dump in the container" >&2; exit 127; }
        skip=""
        if "$dump" --help 2>/dev/null | grep -q -e --ignore-table-data; then
            for table in %s; do skip="$skip --ignore-table-data=$MYSQL_DATABASE.$table"; done
        fi
        exec "$dump" --user=root --single-transaction --quick --hex-blob --routines --events --skip-dump-date \\
            --default-character-set=utf8mb4 $skip "$MYSQL_DATABASE"
    """
    % VOLATILE,
    "mailcow-accounts.jsonl": """
        export MYSQL_PWD="$MYSQL_PASSWORD"
        client=$(command -v mariadb || command -v mysql) || { echo "no mariadb client in the container" >&2; exit 127; }
        exec "$client" --user="$MYSQL_USER" --batch --skip-column-names --raw --default-character-set=utf8mb4 "$MYSQL_DATABASE" -e "
            SELECT JSON_ARRAY('domain', domain, active) FROM domain ORDER BY domain;
            SELECT JSON_ARRAY('mailbox', username, active, quota) FROM mailbox ORDER BY username;
            SELECT JSON_ARRAY('alias', address, goto, active) FROM alias WHERE address <> goto ORDER BY address;
            SELECT JSON_ARRAY('alias-domain', alias_domain, target_domain, active) FROM alias_domain ORDER BY alias_domain"
    """,
    "mailcow-dkim.txt": """
        export REDISCLI_AUTH="$REDISPASS"
        said=$(redis-cli ping) ; [ "$said" = PONG ] || { echo "redis does not answer: $said" >&2; exit 1; }
        for key in DKIM_SELECTORS DKIM_PUB_KEYS DKIM_PRIV_KEYS; do
            echo "$key"; redis-cli --no-raw hgetall "$key" || exit 1
        done
    """,
    "mailcow-redis.rdb": """
        export REDISCLI_AUTH="$REDISPASS"
        said=$(redis-cli save) ; [ "$said" = OK ] || { echo "redis did not save: $said" >&2; exit 1; }
        exec cat /data/dump.rdb
    """,
}
LABEL = "com.docker.compose."
LABELS = ("project", "service", "project.working_dir", "project.config_files", "project.environment_file")
FOUND = 500  # paths that one look may find


def engine():
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/bin:/usr/bin:/snap/bin"
    found = shutil.which("docker", path=path) or shutil.which("podman", path=path)
    if found is None:
        raise Refusal("neither docker nor podman is installed there")
    return found


def ask_engine(*words):
    """(output, what it complained about)."""
    try:
        child = subprocess.run(
            [engine(), *words],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        raise Refusal(f"{words[0]}: the container engine did not answer within 60 s") from None
    said = child.stderr.decode("utf-8", "replace").strip()
    return child.stdout.decode("utf-8", "replace"), said or f"it ended with status {child.returncode}" if child.returncode else ""


def containers(names):
    """What a backup must know of them, and no more: never their environment, which holds passwords."""
    shown, trouble = ask_engine("inspect", "--type", "container", *names) if names else ("[]", "")
    for row in json.loads(shown or "[]"):
        config, state = row.get("Config") or {}, row.get("State") or {}
        labels = config.get("Labels") or {}
        yield {
            "container": (row.get("Name") or "").lstrip("/"),
            "status": state.get("Status") or "",
            "image": config.get("Image") or "",
            "labels": {key: labels.get(LABEL + key) or "" for key in LABELS},
            "mounts": [
                [mount.get("Type"), mount.get("Name") or "", mount.get("Source") or "", mount.get("Destination") or ""]
                for mount in row.get("Mounts") or []
            ],
        }
    if trouble:
        yield {"trouble": trouble}


def of_a_project(label):
    shown, trouble = ask_engine("ps", "--all", "--quiet", "--no-trunc", "--filter", "label=" + LABEL + label)
    if trouble:
        raise Refusal(trouble)
    return shown.split()


def inspect(frames, wanted):
    """The containers and paths that the settings want looked at."""
    count = 0
    for pattern in wanted.get("paths", []):
        for path in sorted(glob.glob(os.fsencode(pattern))):
            count += 1
            if count <= FOUND:
                frames.say(b"J", {"path": text(path), "folder": os.path.isdir(path)})
    try:
        rows = list(containers(wanted.get("containers", [])))
        if wanted.get("services"):
            found = containers(of_a_project("service"))
            rows += [row for row in found if "trouble" in row or row["labels"]["service"] in wanted["services"]]
        if wanted.get("siblings"):
            projects = {row["labels"]["project"] for row in rows if "labels" in row} - {""}
            rows = [row for project in sorted(projects) for row in containers(of_a_project("project=" + project))] or rows
    except (Refusal, OSError, ValueError) as error:
        rows = [{"trouble": reason(error)}]
    for row in rows:
        frames.say(b"J", row)
