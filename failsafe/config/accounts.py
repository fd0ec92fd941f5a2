"""The file that `accounts_file` of a mail server names: a login a line, USER:PASSWORD_FILE, `#` for comments."""

from __future__ import annotations

from pathlib import Path

from failsafe.errors import ConfigError
from failsafe.secrets import read_secret

MAXIMUM = 10_000  # lines


def read_accounts(path: Path) -> dict[str, Path]:
    """mailbox -> the file with its password. Raises ConfigError with every fault, by line; SecretError where the file itself is no secret."""
    return parse_accounts(read_secret(path, strip=False).reveal(), str(path))


def parse_accounts(text: str, source: str) -> dict[str, Path]:
    """Lines are told by number and by their part before the colon; a password written where its file's name belongs is never shown."""
    found: dict[str, Path] = {}
    faults: list[tuple[str, str]] = []
    lines = text.splitlines()
    if len(lines) > MAXIMUM:
        raise ConfigError(source, [("", f"has more than {MAXIMUM} lines")])
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        user, colon, file = (part.strip() for part in line.partition(":"))
        fault = _fault(user, colon, file, found)
        if fault:
            faults.append((f"line {number}", fault))
        else:
            found[user] = Path(file)
    if not found and not faults:
        faults.append(("", "names no mailbox; write lines such as a@example.org:/etc/failsafe/a.password"))
    if faults:
        raise ConfigError(source, faults)
    return found


def _fault(user: str, colon: str, file: str, found: dict[str, Path]) -> str:
    if not colon:
        return "is not USER:PASSWORD_FILE, such as a@example.org:/etc/failsafe/a.password"
    if not user or any(bad in user for bad in ' \t"\\/'):
        return "does not begin with the name of a mailbox, such as a@example.org"
    if user in found:
        return f"names {user} a second time"
    if not file.startswith("/"):
        return f"the password file of {user} is not a whole path (what stands after the colon is a file that holds the password)"
    return ""
