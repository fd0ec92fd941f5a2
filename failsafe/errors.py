"""Everything that can go wrong, as a tree; each branch has one exit code (docs/reference/exit-codes.md).

Rules: adapters translate every library exception into one of these at their edge and keep the cause (`raise … from`);
a message says what is wrong, where, and how to mend it; a programmer's mistake is an `assert` and crashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from failsafe.model import Guard

EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_CONFIGURATION = 2
EXIT_REFUSED = 3
EXIT_EXTERNAL = 4
EXIT_INTERRUPTED = 5


class FailsafeError(Exception):
    """Root of the tree; never raised itself."""

    exit_code = EXIT_EXTERNAL

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend  # the next step for a person; printed under the message


class UsageError(FailsafeError):
    """What was asked for cannot be understood, or needs an answer that nobody is there to give."""

    exit_code = EXIT_CONFIGURATION


class ConfigError(FailsafeError):
    """The configuration is wrong. `faults` lists every one of them: (key, what is wrong and how to mend it)."""

    exit_code = EXIT_CONFIGURATION

    def __init__(self, source: str, faults: Sequence[tuple[str, str]]) -> None:
        self.source = source
        self.faults = tuple(faults)
        lines = "\n".join(f"  {key}: {text}" if key else f"  {text}" for key, text in self.faults)
        super().__init__(f"{source}: {len(self.faults)} fault(s) in the configuration\n{lines}")


class SecretError(FailsafeError):
    """A secret's file is missing, unreadable, empty or readable by others."""

    exit_code = EXIT_CONFIGURATION


class KitError(FailsafeError):
    """A recovery kit cannot be opened: it is none, it was changed, or the passphrase is another one."""

    exit_code = EXIT_CONFIGURATION


class NothingFound(FailsafeError):
    """The question was understood and the answer is: nothing."""

    exit_code = EXIT_FINDINGS


class Refused(FailsafeError):
    """We will not; every ground is listed."""

    exit_code = EXIT_REFUSED

    def __init__(self, message: str, guards: Sequence[Guard] = (), *, mend: str = "") -> None:
        self.guards = tuple(guards)
        lines = "".join(f"\n  {guard.code}: {guard.text}{_way_out(guard)}" for guard in self.guards)
        super().__init__(message + lines, mend=mend)


def _way_out(guard: Guard) -> str:
    return f"\n    what to do: {guard.mend}" if guard.mend else ""


class Interrupted(FailsafeError):
    """A person or the system stopped us; the next run goes on from here."""

    exit_code = EXIT_INTERRUPTED


class ExternalError(FailsafeError):
    """Something outside failed. `transient` says whether trying again later may help."""

    def __init__(self, message: str, *, mend: str = "", transient: bool = True) -> None:
        super().__init__(message, mend=mend)
        self.transient = transient


class ProcessError(ExternalError):
    """A program could not be started, or did not end in time."""


class SshError(ExternalError):
    """The server could not be reached over SSH, refused us, or broke off."""


class LoginRefused(SshError):
    """The server does not take our key."""


class HostKeyError(SshError):
    """The server's host key is unknown or, with `changed`, not the one we know. Never worked around.

    `shown`: the key that it showed instead, as "KIND SHA256:…".
    """

    def __init__(self, message: str, *, mend: str = "", transient: bool = True, changed: bool = False, shown: str = "") -> None:
        super().__init__(message, mend=mend, transient=transient)
        self.changed, self.shown = changed, shown


class ServerSideError(ExternalError):
    """The program on the mail server answered with an error. `number`: the errno of its system's, 0 if it is none; None where it did not say."""

    def __init__(self, message: str, *, mend: str = "", transient: bool = True, number: int | None = None) -> None:
        super().__init__(message, mend=mend, transient=transient)
        self.number = number


class ResticError(ExternalError):
    """restic failed; `kind` is one of the words in `ResticError.KINDS`."""

    KINDS = (
        "failed",
        "missing-program",
        "no-repository",
        "locked",
        "wrong-password",
        "keys-gone",
        "config-gone",
        "incomplete",
        "interrupted",
        "disk-full",
        "timeout",
        "unexpected-repository",
        "unreachable",
    )

    def __init__(self, message: str, *, kind: str = "failed", mend: str = "", transient: bool = True) -> None:
        assert kind in self.KINDS, kind
        super().__init__(message, mend=mend, transient=transient)
        self.kind = kind


class BucketError(ExternalError):
    """An S3 gateway could not be asked about a bucket, or refused."""


class ArchiveError(ExternalError):
    """Staging or a snapshot is not what its own digests say; `damaged` is the path of the file in it, where it is one."""

    def __init__(self, message: str, *, mend: str = "", transient: bool = True, damaged: str = "") -> None:
        super().__init__(message, mend=mend, transient=transient)
        self.damaged = damaged


class MailError(ExternalError):
    """An SMTP or IMAP server failed us; `credential` is true where the login itself was refused."""

    def __init__(self, message: str, *, mend: str = "", transient: bool = True, credential: bool = False) -> None:
        super().__init__(message, mend=mend, transient=transient)
        self.credential = credential


class DnsError(ExternalError):
    """A name server or DNS provider failed, and nothing was changed by us."""


class ZoneChanged(DnsError):
    """Compare-and-set failed: the zone holds something else than the plan was made for. Nothing was written."""


class OutcomeUnknown(DnsError):
    """A write was sent and its answer never came, or made no sense. Read back before anything else."""


class NotifyError(ExternalError):
    """A notice could not be delivered to an address."""


class StoreError(ExternalError):
    """The database failed."""


class SchemaMismatch(StoreError):
    """The database has another schema than this version needs."""


class LeaseLost(FailsafeError):
    """Another controller acts now; we stop at once."""

    exit_code = EXIT_REFUSED
