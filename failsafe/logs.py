"""structlog on stderr: key=value lines for people, JSON lines for machines; anything that looks like a secret is cut out."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

from failsafe.secrets import Secret

REDACTED = "[redacted]"
SECRET_WORDS = re.compile(r"(?i)(password|passwd|secret|token|authorization|api[_-]?key|private[_-]?key)")
# user:password@ in any URL, bearer tokens, and NAME_SECRET=value pairs.
URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
ASSIGNMENT = re.compile(r"(?i)\b([A-Z0-9_]*(?:PASSWORD|SECRET|TOKEN|ACCESS_KEY)[A-Z0-9_]*)=\S+")


def redact_text(text: str) -> str:
    """`text` without credentials: in URLs, in Authorization headers, in NAME=value pairs."""
    text = URL_CREDENTIALS.sub(REDACTED, text)
    text = BEARER.sub(rf"\1 {REDACTED}", text)
    return ASSIGNMENT.sub(rf"\1={REDACTED}", text)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: secrets by type, by key and by shape."""
    for key, value in event.items():
        event[key] = _clean(key, value)
    return event


def _clean(key: str, value: Any) -> Any:
    if isinstance(value, Secret) or (SECRET_WORDS.search(key) and not key.endswith(("_file", "_path"))):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {name: _clean(str(name), inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(key, inner) for inner in value]
    return value


def configure_logs(*, level: str = "info", as_json: bool | None = None) -> None:
    """Once per process. JSON unless stderr is a terminal; libraries' own loggers speak through us at warning and above."""
    import structlog

    to_machine = not sys.stderr.isatty() if as_json is None else as_json
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if to_machine else structlog.dev.ConsoleRenderer(colors=True)
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def get_log() -> Any:
    """The logger. A verb that configured nothing is quiet but for warnings: what it has to say is its answer."""
    import structlog

    if not structlog.is_configured():
        configure_logs(level="warning")
    return structlog.get_logger()
