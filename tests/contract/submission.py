"""A real Postfix where people hand in mail on two ports, with logins that a real Dovecot checks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from failsafe.model import Endpoint
from tests.contract import dovecot
from tests.contract.mail_servers import KNOWN_GOOD, Postfix, _require
from tests.ports import free_port

# The queue manager lets 100 messages in until it has looked around, which is when one comes; a probe brings none, so hundreds of them would be slowed down.
LOGINS = """\
in_flow_delay = 0s
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{auth}
"""
# A login service of its own for each user of this Postfix; Dovecot's settings, "{port}" filled in.
AUTH = """\
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""
PORTS: Mapping[str, tuple[str, ...]] = {
    "good": (),
    "submission": ("smtpd_tls_security_level=encrypt", "smtpd_sasl_auth_enable=yes"),
    "submissions": ("smtpd_tls_wrappermode=yes", "smtpd_sasl_auth_enable=yes"),
}


class Submission:
    """Both servers; KNOWN_GOOD logs in with PASSWORD on "submission" (STARTTLS) and "submissions" (TLS from the start), and over IMAP."""

    def __init__(self, folder: Path, logins: dovecot.Dovecot, auth: int, listeners: Mapping[str, tuple[str, ...]]) -> None:
        self.postfix = Postfix(folder, listeners, LOGINS.format(auth=auth))
        self.dovecot = logins

    def place(self, name: str, *, trusted: bool = True) -> Endpoint:
        tls = "implicit" if name == "submissions" else "starttls"
        authority = str(self.postfix.certificates.authority)
        return Endpoint("localhost", self.postfix.ports[name], tls, authority if trusted else None)

    def dovecot_log(self) -> str:
        return (self.dovecot.folder / "dovecot.log").read_text(errors="replace")

    def log(self) -> str:
        return (self.postfix.folder / "mail.log").read_text(errors="replace")


@contextmanager
def running(
    listeners: Mapping[str, tuple[str, ...]] = PORTS, *, prepare: Callable[[Path], None] = lambda _folder: None, more: str = ""
) -> Iterator[Submission]:
    """`prepare` is called with Postfix's folder before it starts; `more` are further settings of Dovecot."""
    _require("/usr/sbin/postfix")
    auth = free_port()
    with dovecot.running([KNOWN_GOOD], more=AUTH.format(port=auth) + more) as logins:
        folder = Path(tempfile.mkdtemp(prefix="failsafe-submission-"))
        folder.chmod(0o755)
        server = Submission(folder, logins, auth, listeners)
        prepare(folder)
        try:
            server.postfix.start()
            yield server
        finally:
            server.postfix.stop()
            shutil.rmtree(folder, ignore_errors=True)
