"""Lays out mail servers of each kind on disk as their handbooks and compose files do, with an engine that knows their containers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failsafe.adapters.local import LocalHost
from failsafe.ports import Channel, MailHost
from tests.contract.mailstore import LONG_AGO, Store

SECRET = "s3cret-of-the-database"
HASH = "{SHA512-CRYPT}$6$saltsalt$neverinmetadata"
ANNA, BOB = "anna@example.org", "bob@example.org"
LABEL = "com.docker.compose."


@dataclass
class WithPath:
    """A host whose programs are found in `folder` first, or there alone."""

    folder: Path
    inner: MailHost = field(default_factory=LocalHost)
    alone: bool = False

    @property
    def name(self) -> str:
        return self.inner.name

    def open(self, command: Sequence[str]) -> Channel:
        usual = "" if self.alone else ":/usr/sbin:/usr/bin:/sbin:/bin"
        return self.inner.open(["env", f"PATH={self.folder}{usual}", *command])


@dataclass
class Engine:
    """Containers as `docker inspect` shows them."""

    folder: Path
    containers: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, dict[str, str]] = field(default_factory=dict)
    denied: str = ""

    def add(self, name: str, mounts: dict[str, Path | tuple[str, Path]], *, project: str = "", service: str = "", folder: Path | None = None,
            files: Sequence[Path] = (), running: bool = True, environment: dict[str, str] | None = None) -> None:  # fmt: skip
        shown = []
        for destination, source in mounts.items():
            if isinstance(source, tuple):
                shown.append({"Type": "volume", "Name": source[0], "Source": str(source[1]), "Destination": destination, "Driver": "local",
                              "Mode": "z", "RW": True, "Propagation": ""})  # fmt: skip
            else:
                shown.append(
                    {
                        "Type": "bind",
                        "Source": str(source),
                        "Destination": destination,
                        "Mode": "",
                        "RW": True,
                        "Propagation": "rprivate",
                    }
                )
        labels = {"maintainer": "somebody"}
        if project:
            labels |= {f"{LABEL}project": project, f"{LABEL}service": service, f"{LABEL}project.working_dir": str(folder),
                       f"{LABEL}project.config_files": ",".join(str(path) for path in files)}  # fmt: skip
        values = environment or {}
        self.containers.append({
            "Id": hashlib.sha256(name.encode()).hexdigest(), "Name": f"/{name}", "Created": "2026-01-01T10:00:00.000000000Z",
            "State": {"Status": "running" if running else "exited", "Running": running, "Pid": 4242 if running else 0},
            "Config": {"Image": f"{service or name}:latest", "Env": [f"{key}={value}" for key, value in values.items()], "Labels": labels},
            "Mounts": shown,
        })  # fmt: skip
        self.environment[name] = values

    def install(self) -> Path:
        """Writes everything down; gives the folder for PATH."""
        tools = self.folder / "tools"
        tools.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).with_name("docker_standin.py"), self.folder / "docker")
        (self.folder / "docker").chmod(0o755)
        state = {"containers": self.containers, "environment": self.environment, "denied": self.denied, "tools": str(tools)}
        (self.folder / "engine.json").write_text(json.dumps(state))
        for name, text in TOOLS.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        return self.folder

    def calls(self) -> str:
        """Every program's words, as `ps` would have shown them."""
        return (self.folder / "calls.log").read_text()


LOGGED = '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"\n'
TOOLS = {
    "mariadb-dump": LOGGED
    + f"""case "$1" in --help) echo "  --ignore-table-data=name"; exit 0;; esac
[ "$MYSQL_PWD" = "{SECRET}" ] || {{ echo "Access denied for user 'root'@'localhost' (using password: YES)" >&2; exit 2; }}
echo "-- MariaDB dump"; echo "INSERT INTO mailbox VALUES ('{ANNA}','{HASH}');"
""",
    "mariadb": LOGGED
    + f"""[ "$MYSQL_PWD" = "{SECRET}" ] || exit 1
echo '["domain", "example.org", 1]'
echo '["mailbox", "{ANNA}", 1, 1073741824]'
echo '["mailbox", "late@example.org", 1, 0]'
echo '["alias", "info@example.org", "{ANNA},{BOB}", 1]'
echo '["alias-domain", "example.net", "example.org", 1]'
""",
    "redis-cli": LOGGED
    + f"""[ "$REDISCLI_AUTH" = "{SECRET}" ] || {{ echo "NOAUTH Authentication required."; exit 0; }}
case "$*" in
ping) echo PONG;;
save) echo OK;;
"--no-raw hgetall DKIM_PRIV_KEYS") printf '1) "dkim.example.org"\\n2) "-----BEGIN RSA PRIVATE KEY-----"\\n';;
"--no-raw hgetall "*) echo "(empty array)";;
*) echo "ERR unknown command"; exit 1;;
esac
""",
}


def write(path: Path, text: str | bytes, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def own(root: Path, number: int) -> None:
    """Everything below belongs to a container's user; where only root may do that."""
    if os.geteuid() == 0:
        for path in (root, *root.rglob("*")):
            os.chown(path, number, number, follow_symlinks=False)


@dataclass
class DockerMailserver(Store):
    """docker-data/dms with compose.yaml two folders above, as its documentation has it."""

    @property
    def path(self) -> Path:
        return self.base / "srv" / "docker-data" / "dms"

    @property
    def root(self) -> Path:
        return self.path / "mail-data"

    def build(self) -> None:
        self.fill(ANNA, "", 3)
        self.fill(ANNA, ".Sent", 1)
        write(self.folder(ANNA) / "home" / "sieve" / "filter.sieve", "keep;\n")
        config = self.path / "config"
        write(config / "postfix-accounts.cf", f"# accounts\n{ANNA}|{HASH}\n{BOB}|{HASH}\n", 0o600)
        write(config / "postfix-virtual.cf", f"postmaster@example.org {ANNA}\n@example.net {ANNA}, other@example.com\n")
        write(config / "postfix-regexp.cf", f"/^test[0-9]+@example\\.org/ {ANNA}\n")
        write(config / "dovecot-quotas.cf", f"{ANNA}:1G\n")
        write(config / "dovecot-masters.cf", f"master|{HASH}\n", 0o600)
        write(config / "opendkim" / "keys" / "example.org" / "mail.private", "-----BEGIN RSA PRIVATE KEY-----\n", 0o600)
        write(config / "ssl" / "mail.example.org-key.pem", "key\n", 0o600)
        write(config / "before.dovecot.sieve", "keep;\n")
        write(config / "user-patches.sh", "#!/bin/bash\n", 0o755)
        state = self.path / "mail-state"
        write(state / "lib-clamav" / "main.cvd", b"\0" * 5000)
        write(state / "lib-fail2ban" / "fail2ban.sqlite3", b"SQLite format 3\0" + b"\0" * 84)
        write(state / "lib-rspamd" / "0a1b.hs", b"\0" * 500)
        write(state / "lib-rspamd" / "stats.ucl", "{}\n")
        write(state / "lib-redis" / "dump.rdb", b"REDIS0011", 0o640)
        write(state / "lib-postgrey" / "postgrey.db", b"\0\1\2")
        write(state / "spool-postfix" / "deferred" / "A" / "A1B2C3", "a message that waits\n", 0o700)
        write(state / "spool-postfix" / "pid" / "master.pid", "42\n")
        os.mkfifo(state / "spool-postfix" / "public")
        write(self.base / "srv" / "compose.yaml", "services:\n  mailserver: {}\n")
        write(self.base / "srv" / "mailserver.env", "SSL_TYPE=letsencrypt\n", 0o600)
        live = self.base / "srv" / "docker-data" / "certbot" / "certs" / "live" / "mail.example.org"
        write(live.parents[1] / "archive" / "mail.example.org" / "privkey1.pem", "certificate key\n", 0o600)
        live.mkdir(parents=True)
        (live / "privkey.pem").symlink_to("../../archive/mail.example.org/privkey1.pem")
        own(self.path / "mail-data", 5000)

    def engine(self, **options: Any) -> Engine:
        engine = Engine(self.base / "bin")
        mounts: dict[str, Path | tuple[str, Path]] = {
            "/var/mail": self.root, "/var/mail-state": self.path / "mail-state", "/tmp/docker-mailserver": self.path / "config",
            "/etc/letsencrypt": self.base / "srv" / "docker-data" / "certbot" / "certs", "/etc/localtime": Path("/etc/localtime"),
            "/srv/filters": self.base / "srv" / "filters",
        }  # fmt: skip
        for destination in options.pop("without", ()):
            del mounts[destination]
        engine.add("mailserver", mounts, project="srv", service="mailserver", folder=self.base / "srv",
                   files=[self.base / "srv" / "compose.yaml"], **options)  # fmt: skip
        return engine


@dataclass
class Mailcow(Store):
    """/opt/mailcow-dockerized and its volumes. Messages are as mailcow stores them: opaque."""

    @property
    def path(self) -> Path:
        return self.base / "opt" / "mailcow-dockerized"

    def volume(self, name: str) -> Path:
        return self.base / "volumes" / f"mailcowdockerized_{name}-vol-1" / "_data"

    @property
    def root(self) -> Path:
        return self.volume("vmail")

    def folder(self, mailbox: str, directory: str = "") -> Path:
        user, _, domain = mailbox.partition("@")
        folder = self.root / domain / user / "Maildir" / directory
        for sub in ("cur", "new", "tmp"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        return folder

    def build(self) -> None:
        for number in range(4):
            self.put(ANNA, "", f"{number}.mail,S=900,W=920:2,S", b"CRYPTED\x03\x07" + os.urandom(200))
        self.folder(BOB)
        self.put(BOB, ".Sent", "9.mail,S=9,W=9:2,S", b"CRYPTED\x03\x07" + os.urandom(90))
        garbage = self.root / "_garbage" / "1700000000_example_orgold" / "Maildir" / "cur"
        garbage.mkdir(parents=True)
        write(garbage / "1.mail:2,", b"CRYPTED\x03\x07deleted")
        write(self.root / "sieve" / "global_sieve_before.sieve", "keep;\n")
        write(self.volume("crypt") / "ecprivkey.pem", "-----BEGIN EC PRIVATE KEY-----\n", 0o600)
        write(self.volume("crypt") / "ecpubkey.pem", "-----BEGIN PUBLIC KEY-----\n")
        write(self.volume("redis") / "dump.rdb", b"REDIS0011")
        write(self.volume("postfix") / "deferred" / "B" / "B1", "waiting\n", 0o700)
        write(self.path / "mailcow.conf", f"DBROOT={SECRET}\nDBPASS={SECRET}\nREDISPASS={SECRET}\n", 0o600)
        (self.path / ".env").symlink_to("mailcow.conf")
        write(self.path / "docker-compose.yml", "services: {}\n")
        write(self.path / "docker-compose.override.yml", "services: {}\n")
        write(self.path / "data" / "conf" / "rspamd" / "override.d" / "worker-proxy.inc", "enabled = true;\n")
        write(self.path / "data" / "assets" / "ssl" / "key.pem", "tls key\n", 0o600)
        own(self.root, 5000)

    def engine(self, *, crypt: bool = True, running: bool = True, password: str = SECRET) -> Engine:
        engine = Engine(self.base / "bin")
        common: dict[str, Any] = {
            "project": "mailcowdockerized",
            "folder": self.path,
            "files": [self.path / "docker-compose.yml"],
        }
        prefix = "mailcowdockerized-"

        def volume(name: str) -> tuple[str, Path]:
            return f"mailcowdockerized_{name}-vol-1", self.volume(name)

        mail: dict[str, Path | tuple[str, Path]] = {
            "/var/vmail": volume("vmail"),
            "/etc/dovecot": self.path / "data" / "conf" / "dovecot",
        }
        if crypt:
            mail["/mail_crypt/"] = volume("crypt")
        engine.add(f"{prefix}dovecot-mailcow-1", mail, service="dovecot-mailcow", **common)
        database = {
            "MYSQL_ROOT_PASSWORD": password,
            "MYSQL_USER": "mailcow",
            "MYSQL_PASSWORD": password,
            "MYSQL_DATABASE": "mailcow",
        }
        engine.add(
            f"{prefix}mysql-mailcow-1",
            {"/var/lib/mysql/": volume("mysql")},
            service="mysql-mailcow",
            running=running,
            environment=database,
            **common,
        )
        engine.add(
            f"{prefix}redis-mailcow-1",
            {"/data/": volume("redis")},
            service="redis-mailcow",
            environment={"REDISPASS": SECRET},
            **common,
        )
        engine.add(f"{prefix}postfix-mailcow-1", {"/var/spool/postfix": volume("postfix")}, service="postfix-mailcow", **common)
        return engine


@dataclass
class Mailu(Store):
    """/mailu, one level of mailboxes, and a live SQLite database."""

    @property
    def path(self) -> Path:
        return self.base / "mailu"

    @property
    def root(self) -> Path:
        return self.path / "mail"

    def folder(self, mailbox: str, directory: str = "") -> Path:
        folder = self.root / mailbox / directory
        for sub in ("cur", "new", "tmp"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        return folder

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path / "data" / "main.db")

    def build(self) -> None:
        self.fill(ANNA, "", 3)
        self.fill(ANNA, ".Sent", 1)
        write(self.folder(ANNA) / "sieve" / "filter.sieve", "keep;\n")
        (self.path / "data").mkdir()
        with self.database() as database:
            database.executescript(MAILU_TABLES)
        os.utime(self.path / "data" / "main.db", (LONG_AGO, LONG_AGO))
        write(self.path / "data" / "instance", "0123\n")
        write(self.path / "dkim" / "example.org.dkim.key", "-----BEGIN PRIVATE KEY-----\n", 0o600)
        write(self.path / "certs" / "key.pem", "tls key\n", 0o600)
        write(self.path / "overrides" / "postfix" / "postfix.cf", "message_size_limit = 1\n")
        write(self.path / "filter" / "main.cvd", b"\0" * 900)
        write(self.path / "filter" / "stats.ucl", "{}\n")
        write(self.path / "redis" / "dump.rdb", b"REDIS0011")
        write(self.path / "mailu.env", f"SECRET_KEY={SECRET}\n", 0o600)
        write(self.path / "docker-compose.yml", "services: {}\n")
        own(self.root, 8)

    def engine(self) -> Engine:
        engine = Engine(self.base / "bin")
        common: dict[str, Any] = {"project": "mailu", "folder": self.path, "files": [self.path / "docker-compose.yml"]}
        parts = {
            "imap": {"/mail": "mail", "/overrides": "overrides/dovecot"}, "admin": {"/data": "data", "/dkim": "dkim"},
            "front": {"/certs": "certs"}, "antispam": {"/var/lib/rspamd": "filter"}, "redis": {"/data": "redis"},
            "smtp": {"/queue": "mailqueue", "/overrides": "overrides/postfix"},
        }  # fmt: skip
        for service, mounts in parts.items():
            engine.add(
                f"mailu-{service}-1", {place: self.path / name for place, name in mounts.items()}, service=service, **common
            )
        return engine


MAILU_TABLES = f"""
CREATE TABLE domain (name VARCHAR(80) PRIMARY KEY);
CREATE TABLE alternative (name VARCHAR(80) PRIMARY KEY, domain_name VARCHAR(80));
CREATE TABLE user (localpart VARCHAR(80), domain_name VARCHAR(80), email VARCHAR(255) PRIMARY KEY, password VARCHAR(255), enabled BOOLEAN);
CREATE TABLE alias (localpart VARCHAR(80), domain_name VARCHAR(80), email VARCHAR(255) PRIMARY KEY, wildcard BOOLEAN, destination VARCHAR);
INSERT INTO domain VALUES ('example.org');
INSERT INTO alternative VALUES ('example.net', 'example.org');
INSERT INTO user VALUES ('anna', 'example.org', '{ANNA}', '{HASH}', 1), ('late', 'example.org', 'late@example.org', '{HASH}', 0);
INSERT INTO alias VALUES ('info', 'example.org', 'info@example.org', 0, '{ANNA},{BOB}'), ('%', 'example.org', '%@example.org', 1, '{ANNA}');
"""
