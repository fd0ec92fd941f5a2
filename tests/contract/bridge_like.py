"""A stand-in for Proton's Bridge: a real Dovecot whose mailboxes show what Bridge would, by STARTTLS with a certificate that nobody signed.

Its folders are those of Bridge: each message also lies in "All Mail", and once more under each label. Its IMAP store writes a number of its own on top of each copy. `renumber`
does what a repair there does: all of it is there again, under other UIDs and with other numbers in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from tests.contract.bridge_rebuild import rebuilt
from tests.contract.dovecot import Dovecot, running

KINDS = {
    "Sent": "\\Sent",
    "Drafts": "\\Drafts",
    "Spam": "\\Junk",
    "Trash": "\\Trash",
    "Archive": "\\Archive",
    "All Mail": "\\All",
    "Starred": "\\Flagged",
}
SETTINGS = (
    "ssl_cert = <{folder}/bridge.pem\nssl_key = <{folder}/bridge.pem\nnamespace inbox {\n"
    + "".join(f'  mailbox "{name}" {{\n    auto = create\n    special_use = {use}\n  }}\n' for name, use in KINDS.items())
    + "}\n"
)


@dataclass
class BridgeLike:
    """Any of `users` logs in with dovecot.PASSWORD at 127.0.0.1, `port`, by STARTTLS. `certificate` is what "export TLS certificates" writes there."""

    server: Dovecot
    users: list[str]
    _serial: int = field(default=0)

    @property
    def port(self) -> int:
        return self.server.plain

    @property
    def certificate(self) -> Path:
        return self.server.folder / "cert.pem"

    def deliver(
        self, user: str, data: bytes, at: datetime, folder: str = "INBOX", labels: Iterable[str] = (), flags: str = ""
    ) -> None:
        """A message that came by SMTP at that time."""
        shown = rebuilt(data, at, user)
        for place in (folder, "All Mail", *(f"Labels/{label}" for label in labels)):
            self.put(user, place, shown, at, flags)

    def put(self, user: str, folder: str, data: bytes, at: datetime, flags: str = "") -> None:
        """These bytes as they are, but for the store's number."""
        self._serial += 1
        place = self._maildir(user, folder)
        for sub in ("cur", "new", "tmp"):
            (place / sub).mkdir(parents=True, exist_ok=True)
        name = f"{int(at.timestamp())}.M{self._serial:06d}P1.bridge"
        path = place / "tmp" / name
        path.write_bytes(_numbered(data))
        os.utime(path, (at.timestamp(), at.timestamp()))
        path.rename(place / "cur" / f"{name}:2,{flags}")
        self._own(user)

    def renumber(self, user: str) -> None:
        """Every folder has another UIDVALIDITY, and its messages other UIDs, in the opposite order."""
        root = self._maildir(user, "INBOX")
        for file in [*root.rglob("dovecot*")]:
            if "uidvalidity" not in file.name:  # the next one is greater by that
                file.unlink()
        for current in [root / "cur", *root.glob(".*/cur")]:
            for number, path in enumerate(sorted(current.iterdir(), reverse=True)):
                _, _, rest = path.name.partition(".")
                at = path.stat().st_mtime
                path.write_bytes(_numbered(path.read_bytes().partition(b"\r\n")[2]))
                os.utime(path, (at, at))
                path.rename(current / f"{2_000_000_000 + number}.R{rest}")

    def clear(self, user: str) -> None:
        """Takes every message of a user away."""
        for current in self._maildir(user, "INBOX").rglob("cur"):
            for path in current.iterdir():
                path.unlink()

    def _maildir(self, user: str, folder: str) -> Path:
        name, _, domain = user.partition("@")
        root = self.server.folder / "mail" / domain / name
        return root if folder == "INBOX" else root / ("." + folder.replace("/", "."))

    def _own(self, user: str) -> None:
        root = self._maildir(user, "INBOX")
        for path in (root.parent, root, *root.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_uid != 5000:
                    os.chown(path, 5000, 5000)


def _numbered(data: bytes) -> bytes:
    return f"X-Pm-Gluon-Id: {uuid.uuid4()}\r\n".encode() + data


@contextmanager
def bridge_like(users: list[str]) -> Iterator[BridgeLike]:
    with running(users, prepare=_make_certificate, more=SETTINGS) as server:
        yield BridgeLike(server, users)


def _make_certificate(folder: Path) -> None:
    """Its own authority, for the address alone, for twenty years: as Bridge makes it at its first start."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.now(UTC)  # noqa: TID251 - certificates live in real time
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    words = {
        NameOID.COUNTRY_NAME: "CH",
        NameOID.ORGANIZATION_NAME: "Proton AG",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "Proton Mail",
        NameOID.COMMON_NAME: "127.0.0.1",
    }
    name = x509.Name([x509.NameAttribute(kind, text) for kind, text in words.items()])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * 20))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = built.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for file, data in (("cert.pem", public), ("bridge.pem", private + public)):
        (folder / file).touch(mode=0o600)
        (folder / file).write_bytes(data)
    shutil.chown(folder / "bridge.pem", "root")
