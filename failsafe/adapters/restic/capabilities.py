"""What each version of restic can do: the only place that knows restic's history. Measured on 0.14.0, 0.18.0 and 0.19.1."""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, int, int]

OLDEST: Version = (0, 14, 0)  # Debian 12; repository version 2 (compression) begins here
NEWEST_KNOWN: Version = (0, 19, 99)  # newer ones are driven like this one and named by `doctor`
_VERSION = re.compile(r"^restic (\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One restic, by what differs between versions and matters here."""

    version: Version

    @property
    def text(self) -> str:
        return ".".join(map(str, self.version))

    @property
    def is_supported(self) -> bool:
        return self.version >= OLDEST

    @property
    def is_known(self) -> bool:
        return OLDEST <= self.version <= NEWEST_KNOWN

    @property
    def has_retry_lock(self) -> bool:
        """`--retry-lock`; before, we ask again ourselves."""
        return self.version >= (0, 16, 0)

    @property
    def has_exit_codes(self) -> bool:
        """10 no repository, 11 locked (and 12 wrong password from 0.17.1). Before, all of them are 1 and stderr must be read."""
        return self.version >= (0, 17, 0)

    @property
    def has_rest_credentials(self) -> bool:
        """Reads RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD (0.16.1 by its changelog); before, they must be in the URL."""
        return self.version >= (0, 17, 0)

    @property
    def waits_long_for_backends(self) -> bool:
        """Retries a backend that does not answer for up to 15 minutes; before, opening a repository fails at once."""
        return self.version >= (0, 17, 0)


def parse_version(text: str) -> Capabilities | None:
    """From the first line of `restic version`; None where that is something else. A development build ("0.19.1-dev") counts as its base."""
    found = _VERSION.match(text.strip())
    if found is None:
        return None
    major, minor, patch = found.groups(default="0")
    return Capabilities((int(major), int(minor), int(patch)))
