"""Every table. SQLAlchemy Core, nothing that SQLite and PostgreSQL do not both do. Migrations are in `migrations/`.

Instants are stored as ISO 8601 text in UTC with microseconds (`Instant`), so that they sort as text and read the same in both
databases; JSON is text. No secret is ever in here, nor a message's text or subject: sets of a million names live beside the archive.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    types,
)
from sqlalchemy.engine import Dialect

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

INSTANT_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class Instant(types.TypeDecorator[datetime]):
    """An aware UTC datetime as sortable text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        assert value.tzinfo is not None, "instants are aware"
        return value.astimezone(UTC).strftime(INSTANT_FORMAT)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else datetime.fromisoformat(value)  # of INSTANT_FORMAT; a tenth of what strptime takes


class Json(types.TypeDecorator[Any]):
    """A JSON value as text with sorted keys."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else json.dumps(value, sort_keys=True, separators=(",", ":"))

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else json.loads(value)


domain_state = Table(
    "domain_state",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("since_at", Instant, nullable=False),
    Column("serving", Text, nullable=False),  # primary | secondary: what the last verified reading says
    Column("epoch", Integer, nullable=False),  # grows with every change; compare-and-set
    Column(
        "previous_mx", Json
    ),  # the exact set that failback restores: {"records": [[10, "mail.example.org"]], "ttl_seconds": 60}
    Column("held_until", Instant),
    Column("hold_reason", Text, nullable=False, default=""),
    Column("draining_until", Instant),
    Column("details", Json, nullable=False, default=dict),  # why halted, last notice of a prepared plan, failback delay
    Column("changed_at", Instant, nullable=False),
)

intent = Table(
    "intent",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("domain", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("kind", Text, nullable=False),  # failover | failback | adopt-mx
    Column("by", Text, nullable=False),  # controller id, or "person"
    Column("reason", Text, nullable=False),
    Column("planned_at", Instant, nullable=False),
    Column("deadline_at", Instant, nullable=False),
    Column("before_mx", Json, nullable=False),
    Column("desired_mx", Json, nullable=False),
    Column("digest", Text, nullable=False),
    Column("outcome", Text),  # None while unfinished | done | failed | void
    Column("outcome_at", Instant),
    Column("outcome_text", Text, nullable=False, default=""),
)
Index("ix_intent_domain", intent.c.domain, intent.c.id)

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("details", Json, nullable=False),
)
Index("ix_event_at", event.c.at)

notice = Table(  # an outbox: written with its event, sent by the ticker, marked after
    "notice",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("thread", Text, nullable=False),
    Column("notice", Json, nullable=False),
    Column("delivered_at", Instant),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", Instant),
    Column("error", Text, nullable=False, default=""),
)

evidence = Table(  # run-length: one row while a vantage keeps seeing the same
    "evidence",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("server", Text, nullable=False),
    Column("vantage", Text, nullable=False),
    Column("axis", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("target", Text, nullable=False, default=""),
    Column("text", Text, nullable=False),
    Column("transcript", Text, nullable=False, default=""),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("signs", Text, nullable=False, server_default=""),  # words of model.Sign, with a space between them
    Column("tls_fault", Text, nullable=False, server_default=""),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("count", Integer, nullable=False),
)
Index("ix_evidence_server", evidence.c.server, evidence.c.vantage, evidence.c.axis, evidence.c.last_at)

own_line = Table(
    "own_line",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("up", Boolean, nullable=False),
    Column("answered", Integer, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("count", Integer, nullable=False),
)

vital = Table(  # what a mail server said of itself, and how long its canaries took; some days of it
    "vital",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("server", Text, nullable=False),
    Column("source", Text, nullable=False),  # inside | canary
    Column("at", Instant, nullable=False),
    Column("numbers", Json, nullable=False),
)
Index("ix_vital_server", vital.c.server, vital.c.source, vital.c.at)

duty = Table(  # when each repeated piece of work was last begun, ended and last went well; what is due is derived from this
    "duty",
    metadata,
    Column("name", Text, primary_key=True),  # "backup:vps", "check:offsite", "doctor", "probe:vps"
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("ok_at", Instant),
    Column("result", Text, nullable=False, default=""),
    Column("details", Json, nullable=False, default=dict),
)

backup_run = Table(
    "backup_run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("server", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("result", Text, nullable=False),
    Column("report", Json, nullable=False),  # as `backup --json`, with at most 100 missing messages named
)
Index("ix_backup_run_server", backup_run.c.server, backup_run.c.ended_at)

repository_state = Table(
    "repository_state",
    metadata,
    Column("repository", Text, primary_key=True),
    Column("restic_id", Text, nullable=False, default=""),  # the one we know; another is refused
    Column("snapshots", Integer),
    Column("last_snapshot_at", Instant),
    Column("last_result", Text, nullable=False, default=""),
    Column("last_error", Text, nullable=False, default=""),
    Column("last_check_at", Instant),
    Column("next_check_part", Integer, nullable=False, default=1),
    Column("last_drill_at", Instant),
    Column("details", Json, nullable=False, default=dict),
)

drill_run = Table(  # the evidence of restore drills, and so what is to be drilled next
    "drill_run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("repository", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("result", Text, nullable=False),  # passed | failed
    Column("report", Json, nullable=False),  # as `drill restore --json`
)
Index("ix_drill_run_repository", drill_run.c.repository, drill_run.c.ended_at)

doctor_run = Table(
    "doctor_run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("findings", Json, nullable=False),
    Column("ready", Json, nullable=False),  # {"example.org": true}
)
Index("ix_doctor_run_at", doctor_run.c.at)

homecoming = Table(  # what became of each message that was found at a secondary; no text of one is in here
    "homecoming",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("domain", Text, nullable=False),
    Column("mailbox", Text, nullable=False),  # where it was found
    Column("folder", Text, nullable=False),
    Column("message", Text, nullable=False),  # SHA-256 of the stored bytes
    Column("message_id", Text),  # normalised
    Column("content", Text, nullable=False, default=""),  # of its fingerprint
    Column("internal_at", Instant, nullable=False),
    Column("to_mailbox", Text, nullable=False, default=""),
    Column("to_folder", Text, nullable=False, default=""),
    Column("sent", Boolean, nullable=False, default=False),
    Column("state", Text, nullable=False),  # intended | home | already-there | waiting | left
    Column("why", Text, nullable=False, default=""),
    Column("uid_validity", BigInteger),  # at the primary
    Column("uid", BigInteger),
    Column("intended_at", Instant),
    Column("settled_at", Instant, nullable=False),  # when it came into its state
)
Index(
    "uq_homecoming_message",
    homecoming.c.domain,
    homecoming.c.message,
    homecoming.c.mailbox,
    homecoming.c.to_mailbox,
    homecoming.c.sent,
    unique=True,
)
Index("ix_homecoming_content", homecoming.c.domain, homecoming.c.to_mailbox, homecoming.c.content)
Index("ix_homecoming_state", homecoming.c.domain, homecoming.c.state, homecoming.c.settled_at)

lease = Table(  # one writer: compare-and-set on the epoch, in the same transaction as what it guards
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("acquired_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)
