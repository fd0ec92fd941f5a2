"""What looks from inside and canaries saw last, as metrics. A reading that is too old has no sample: absence is what alerts should look for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Gauge

from failsafe.status.values import Status

OLD = timedelta(hours=1)  # looks come every few minutes, and are written every ten


def add_vitals(gauge: Callable[..., Gauge], status: Status) -> None:
    _rooms(gauge, status)
    _queue(gauge, status)
    _certificates(gauge, status)
    _log(gauge, status)
    _canaries(gauge, status)


def _newest(status: Status, source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in status.vitals:
        if row["source"] == source and status.at - row["at"] <= OLD:
            yield row["server"], row["numbers"]


def _rooms(gauge: Callable[..., Gauge], status: Status) -> None:
    load = gauge("host_load5", "Load of five minutes on the mail server.", "server")
    free = gauge("host_disk_free_bytes", "Room on each of its file systems that mail needs.", "server", "path")
    share = gauge("host_disk_free_ratio", "The same, as a share of the whole.", "server", "path")
    inodes = gauge("host_inodes_free_ratio", "Inodes left there; no sample where it counts none.", "server", "path")
    runs = gauge("host_service_running", "1 for each usual program of a mail server that runs there.", "server", "service")
    for server, numbers in _newest(status, "inside"):
        load.labels(server).set(numbers["load"][1])
        for path, total, left, inodes_total, inodes_left in numbers["rooms"]:
            free.labels(server, path).set(left)
            if total:
                share.labels(server, path).set(left / total)
            if inodes_total:
                inodes.labels(server, path).set(inodes_left / inodes_total)
        for service in numbers["services"]:
            runs.labels(server, service).set(1)


def _queue(gauge: Callable[..., Gauge], status: Status) -> None:
    count = gauge("queue_messages", "Messages in each of Postfix's queues.", "server", "queue")
    oldest = gauge("queue_oldest_timestamp_seconds", "When the oldest of them arrived.", "server", "queue")
    own = gauge("queue_own_delivery_messages", "Messages that the server's own delivery puts off.", "server")
    for server, numbers in _newest(status, "inside"):
        queue = numbers.get("queue")
        if queue is None:
            continue
        own.labels(server).set(queue["own"])
        for name in ("active", "deferred", "incoming", "hold", *queue["queues"]):
            count.labels(server, name).set(queue["queues"].get(name, [0])[0])
        for name, (_, at) in queue["queues"].items():
            oldest.labels(server, name).set(datetime.fromisoformat(at).timestamp())


def _certificates(gauge: Callable[..., Gauge], status: Status) -> None:
    ends = gauge("certificate_expiry_timestamp_seconds", "When a certificate file on the mail server ends.", "server", "file")
    for server, numbers in _newest(status, "inside"):
        for path, until in numbers["certificates"]:
            ends.labels(server, path).set(datetime.fromisoformat(until).timestamp())


def _log(gauge: Callable[..., Gauge], status: Status) -> None:
    lines = gauge("mail_log_troubles", "Warnings and errors in the mail log between the last two looks.", "server")
    moved = gauge(
        "mail_log_messages",
        "What became of mail between the last two looks: sent, deferred, bounced, rejected.",
        "server",
        "outcome",
    )
    for server, numbers in _newest(status, "inside"):
        log = numbers.get("log")
        if log is None:
            continue
        lines.labels(server).set(sum(log["kinds"].values()) + log["rest"])
        for outcome in sorted({"sent", "deferred", "bounced", "rejected", *log["flow"]}):
            moved.labels(server, outcome).set(log["flow"].get(outcome, 0))


def _canaries(gauge: Callable[..., Gauge], status: Status) -> None:
    took = gauge("canary_latency_seconds", "How long the last canary that arrived was on its way.", "server")
    overdue = gauge("canary_overdue", "Canaries that should have arrived and did not, with none after them.", "server")
    lost = gauge("canary_lost", "Canaries that never arrived, though later ones did.", "server")
    arrived = gauge("canary_arrived", "Canaries that arrived.", "server")
    for server, numbers in _newest(status, "canary"):
        if numbers["seconds"] is not None:
            took.labels(server).set(numbers["seconds"])
        overdue.labels(server).set(numbers["overdue"])
        lost.labels(server).set(numbers["lost"])
        arrived.labels(server).set(numbers["arrived"])
