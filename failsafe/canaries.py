"""The files of canaries below state_dir: the key of their seals, and what is known of each server's. Both for their owner alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from failsafe.errors import SecretError
from failsafe.failover.canary import CanaryBook, book_of_json, book_to_json
from failsafe.logs import get_log
from failsafe.mail.canary import HEADER, KEY_BYTES, read_canary

KEY = "canary.key"
FIELD = HEADER.encode()
HEAD_BYTES = 16 * 1024  # a canary's header, with what servers on its way have put before it
BOOK_BYTES = 256 * 1024


def canary_key(state_dir: Path) -> bytes | None:
    """None while no canary was ever sent from here. Raises SecretError where the file is there and of no use."""
    file = state_dir / KEY
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SecretError(f"{file} cannot be used as the key of canaries", mend=f"rm {file}; a new one is made") from error
    if len(key) != KEY_BYTES:
        raise SecretError(f"{file} is no key of canaries", mend=f"rm {file}; a new one is made")
    return key


def make_canary_key(state_dir: Path) -> bytes:
    """The key, made at the first call. Raises SecretError."""
    known = canary_key(state_dir)
    if known is not None:
        return known
    key = secrets.token_bytes(KEY_BYTES)
    try:
        _write(state_dir / KEY, key.hex() + "\n", replace=False)
    except FileExistsError:
        return make_canary_key(state_dir)  # another process was quicker
    except OSError as error:
        raise SecretError(
            f"{state_dir / KEY} cannot be written: {error.strerror}", mend="see to the owner of state_dir"
        ) from error
    return key


def canary_filter(state_dir: Path) -> Callable[[bytes], bool]:
    """Whether a message is a canary of this controller's; nothing is, where none was ever sent or the key is of no use."""
    try:
        key = canary_key(state_dir)
    except SecretError as error:
        get_log().warning("canary.key", error=str(error), mend=error.mend)
        key = None
    if key is None:
        return lambda _: False
    return lambda data: FIELD in data[:HEAD_BYTES] and read_canary(data[:HEAD_BYTES], key) is not None


def read_book(state_dir: Path, server: str) -> CanaryBook:
    """An empty one where there is none, or none that can be read: canaries on their way are then recognised by their seals alone."""
    file = _book_file(state_dir, server)
    try:
        with file.open(encoding="utf-8") as opened:
            return book_of_json(server, json.loads(opened.read(BOOK_BYTES)))
    except FileNotFoundError:
        return CanaryBook()
    except (OSError, ValueError, TypeError, KeyError) as error:
        get_log().warning("canary.book", file=str(file), error=str(error), text="begins anew")
        return CanaryBook()


def write_book(state_dir: Path, server: str, book: CanaryBook) -> None:
    """Raises OSError."""
    file = _book_file(state_dir, server)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    _write(file, json.dumps(book_to_json(book)), replace=True)


def _write(file: Path, text: str, *, replace: bool) -> None:
    """Whole or not at all, mode 0600 from the beginning."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        if replace:
            Path(name).replace(file)
        else:
            os.link(name, file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _book_file(state_dir: Path, server: str) -> Path:
    return state_dir / "canary" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', server)}.json"
