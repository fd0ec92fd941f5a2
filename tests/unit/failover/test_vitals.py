"""What a look from inside concludes of a host and of its queue; what it takes from a foreign answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from failsafe.failover.vitals import (
    Certificate,
    Queue,
    Room,
    Vitals,
    judge_host,
    judge_queue,
    parse_vitals,
    to_row,
)
from failsafe.model import ProbeClass
from tests.unit.failover.world import NOW, minutes

UP, DEGRADED, DOWN, UNKNOWN = ProbeClass.UP, ProbeClass.DEGRADED, ProbeClass.DOWN, ProbeClass.UNKNOWN
GIB = 1 << 30
ROOM = Room("/srv/mail", 100 * GIB, 50 * GIB, 1000, 500)
RUNS = frozenset({"postfix", "dovecot"})
WELL = Vitals((0.1, 0.5, 0.5), 2, (ROOM,), Queue({}), RUNS)


@pytest.mark.parametrize(
    ("changes", "seen", "says"),
    [
        ({}, UP, "well"),
        ({"rooms": (replace(ROOM, bytes_free=9 * GIB),)}, DEGRADED, "9% of its room"),
        ({"rooms": (replace(ROOM, bytes_free=200 << 20),)}, DOWN, "is full"),
        ({"rooms": (ROOM, replace(ROOM, path="/var", inodes_free=9))}, DEGRADED, "/var has 9 inodes"),
        ({"rooms": (replace(ROOM, inodes_total=0, inodes_free=0),)}, UP, "well"),
        ({"services": frozenset({"postfix"})}, DEGRADED, "dovecot ran before"),
        ({"services": frozenset({"dovecot"})}, DOWN, "postfix does not run"),
        ({"containers": {"mailserver": "restarting"}}, DEGRADED, "mailserver is restarting"),
        ({"failed_units": ("dovecot.service",)}, DEGRADED, "dovecot.service has failed"),
        ({"failed_units": ("apt-daily.service",)}, UP, "well"),
        ({"certificates": (Certificate("/c.pem", NOW + timedelta(days=13), ()),)}, DEGRADED, "/c.pem ends"),
        ({"certificates": (Certificate("/c.pem", NOW - timedelta(days=1), ()),)}, DEGRADED, "/c.pem ended"),
        ({"load": (1.0, 8.1, 1.0)}, DEGRADED, "load is 8.1"),
    ],
)
def test_a_host_is_judged_by_what_stops_mail_and_what_soon_will(changes: dict[str, object], seen: ProbeClass, says: str) -> None:
    judged, text = judge_host(replace(WELL, **changes), RUNS, NOW)  # type: ignore[arg-type]
    assert (judged, says in text) == (seen, True), text


@pytest.mark.parametrize(
    ("queue", "lost", "taken", "seen"),
    [
        (None, False, None, UNKNOWN),
        (Queue({}), False, None, UP),
        (Queue({"deferred": (500, NOW - timedelta(days=3))}), False, None, UP),  # others do not take it: that is not our delivery
        (Queue({"active": (1, NOW - minutes(14))}), False, None, UP),
        (Queue({"incoming": (1, NOW - minutes(16))}), False, None, DEGRADED),
        (Queue({"deferred": (1, NOW)}, own=1), False, None, DEGRADED),
        (Queue({"deferred": (1, NOW)}, own=1), True, True, DEGRADED),
        (Queue({"deferred": (1, NOW)}, awaited=1), True, True, DEGRADED),
        (Queue({"deferred": (1, NOW)}), True, True, DOWN),
        (Queue({"deferred": (20_000, NOW)}, cut=True), True, True, UP),  # it may be among those that were not looked at
        (Queue({}), True, False, UNKNOWN),  # the third party holds it, or it went elsewhere
        (Queue({}), True, None, UNKNOWN),  # the log cannot be read
    ],
)
def test_a_queue_says_lost_only_of_a_canary_that_was_taken_and_does_not_wait_in_it(
    queue: Queue | None, lost: bool, taken: bool | None, seen: ProbeClass
) -> None:
    assert judge_queue(queue, NOW, lost=lost, taken=taken)[0] is seen


def test_an_answer_of_the_server_is_read_and_kept_without_loss() -> None:
    row = {
        "load": [0.1, 0.2, 0.3],
        "cpus": 4,
        "spaces": [{"path": "/srv/mail", "bytes": 10, "bytes_free": 5, "inodes": 4, "inodes_free": 2}],
        "queue": {
            "queues": {"deferred": {"count": 2, "oldest": int(NOW.timestamp())}},
            "own": 1,
            "awaited": 1,
            "reasons": [["connect to …: Connection refused", 2]],
            "cut": False,
        },
        "services": ["postfix"],
        "failed_units": [],
        "containers": [{"name": "mailserver", "status": "running"}],
        "certificates": [{"path": "/c.pem", "until": int(NOW.timestamp()), "names": ["mail.example.org"]}],
        "log": {
            "position": "/var/log/mail.log:1:2",
            "kinds": [["postfix/smtpd warning: x", 3]],
            "rest": 0,
            "flow": {"sent": 5},
            "taken": 1,
        },
    }
    seen = parse_vitals(row)

    assert seen is not None and seen.queue is not None and seen.log is not None
    assert (seen.queue.messages, seen.queue.oldest_at("deferred"), seen.log.lines) == (2, NOW, 3)
    kept = to_row(seen)
    assert kept["queue"]["queues"] == {"deferred": [2, NOW.isoformat()]}
    assert kept["certificates"] == [["/c.pem", NOW.isoformat()]]
    assert kept["log"]["taken"] == seen.log.taken == 1


def test_an_older_program_there_says_nothing_and_a_mad_one_raises() -> None:
    assert parse_vitals({"now": 1, "load": [0, 0, 0], "roots": [], "queue": 3}) is None
    with pytest.raises((ValueError, TypeError, KeyError)):
        parse_vitals({"spaces": [{"path": "/"}], "load": [0, 0, 0]})
