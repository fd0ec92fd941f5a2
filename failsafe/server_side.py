"""failsafe's side on a mail server, as a person asks for it: whose key is let in there, where its layout's mail lies, what is installed there now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.app import App
from failsafe.config.servers import MailServer
from failsafe.config.types import SshTarget, parse_ssh
from failsafe.errors import FailsafeError, LoginRefused, ProcessError, UsageError

if TYPE_CHECKING:
    from failsafe.backup.layouts import Source
    from failsafe.ports import MailHost
    from failsafe.server_install.judge import Shown

PATIENCE = timedelta(seconds=20)
KEY_BYTES = 32768


def public_key_of(server: MailServer, name: str, file: Path | None = None) -> str:
    """The line that stands in a .pub file: of `file`, or of the server's own key. Raises UsageError."""
    if file is None and server.ssh_key is None:
        raise UsageError(
            f"[mail_server.{name}] names no ssh_key, so nobody knows which key is to be let in",
            mend="set ssh_key, or say --public-key FILE.pub",
        )
    if file is not None:
        return _first_line(file)
    assert server.ssh_key is not None
    beside = server.ssh_key.with_name(f"{server.ssh_key.name}.pub")
    return _first_line(beside) if beside.is_file() else _reckoned(server.ssh_key)


def _first_line(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            return lines.readline(KEY_BYTES).strip()
    except OSError as error:
        raise UsageError(f"the public key cannot be read: {file}: {error.strerror}") from error


def _reckoned(key: Path) -> str:
    """A private key tells its public one, if it has no passphrase."""
    from failsafe.adapters.process import Command, base_environment, run

    mend = f"make it: ssh-keygen -y -f {key} > {key}.pub; or say --public-key FILE.pub"
    try:
        finished = run(Command(("ssh-keygen", "-y", "-P", "", "-f", str(key)), base_environment(), deadline=PATIENCE))
    except ProcessError as error:
        raise UsageError(f"there is no {key}.pub, and ssh-keygen cannot be asked: {error}", mend=mend) from error
    if finished.code != 0:
        raise UsageError(f"there is no {key}.pub, and ssh-keygen says: {' '.join(finished.stderr)[-200:]}", mend=mend)
    return finished.stdout[0] if finished.stdout else ""


def host_for_a_look(app: App, name: str, look_as: str | None, look_key: Path | None) -> MailHost:
    """The server with a login of a person's own, for this once; without one, with the login of every night. Raises UsageError."""
    if look_as is None:
        return app.mail_host(name)
    table = app.server(name)
    if table.ssh is None:
        raise UsageError(f"the mail of {name} lies on this machine: nobody has to log in")
    place = _login(look_as, table.ssh)
    changed = table.model_copy(update={"ssh": place, "ssh_key": look_key})
    return App(
        app.config.model_copy(update={"mail_server": {**app.config.mail_server, name: changed}}), app.config_file
    ).mail_host(name)


def _login(look_as: str, known: SshTarget) -> SshTarget:
    """ "root" or "root@host:port"."""
    try:
        return parse_ssh(look_as if "@" in look_as else f"{look_as}@{known.host}:{known.port}")
    except ValueError as error:
        raise UsageError(str(error)) from None


def find_source(host: MailHost, server: MailServer) -> Source:
    """Where a layout's mail and files lie, as the server shows it. Raises what a session raises."""
    from failsafe.backup.layouts import judge_source, plan_look
    from failsafe.backup.protocol import ServerSession
    from failsafe.backup.reach import Look, Reach
    from failsafe.backup.source import parse_sight
    from failsafe.config.wanted import whole_wanted_of

    wanted = whole_wanted_of(server)
    with ServerSession(host, Reach("", look=plan_look(wanted) or Look())) as session:
        return judge_source(wanted, parse_sight(session.inspect()))


def ask_server(app: App, name: str) -> Shown:
    """One login with the key of every night. Raises no FailsafeError: `error` says why nobody knows."""
    from failsafe.backup.layouts import judge_source, plan_look
    from failsafe.backup.protocol import ServerSession
    from failsafe.backup.reach import Look, Reach
    from failsafe.backup.source import ALLOW, parse_sight, within
    from failsafe.config.wanted import whole_wanted_of
    from failsafe.server_install.judge import Shown

    wanted = whole_wanted_of(app.server(name))
    try:
        with ServerSession(app.mail_host(name), Reach("", look=plan_look(wanted) or Look())) as session:
            hello = session.hello
            shown = Shown(str(hello["mode"]), str(hello.get("program", "")), str(hello.get("python", "")))
            if shown.mode == "sent":
                return shown
            source = judge_source(wanted, parse_sight(session.inspect()))
            found = within(source, session.permitted(), reads_mail=wanted.reads_mail)
            lacking = tuple(each.name for each in found.missing if each.why == ALLOW)
            root = "" if found.reach.root or not wanted.reads_mail else "the mail itself"
            return replace(shown, lacking=(*((root,) if root else ()), *lacking))
    except FailsafeError as error:
        return Shown(error=str(error), mend=error.mend, refused=isinstance(error, LoginRefused))
