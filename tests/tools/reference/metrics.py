"""Every metric of /metrics: the code that makes them is run with nothing to tell, and each gauge is noted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from prometheus_client import Gauge

from failsafe.status.values import Status
from failsafe.web.metrics import render_metrics
from tests.tools.reference.tables import page, table

NOTHING = Status(datetime(2026, 1, 1, tzinfo=UTC), "nas", True, (), (), (), ())


def metrics() -> list[tuple[str, tuple[str, ...], str]]:
    """Name, labels, what it says; in the order of the code."""
    seen: list[tuple[str, tuple[str, ...], str]] = []

    def noted(name: str, text: str, labels: tuple[str, ...] = (), **more: Any) -> Gauge:
        seen.append((name, labels, text))
        return Gauge(name, text, labels, **more)

    with patch("failsafe.web.metrics.Gauge", noted):
        render_metrics(NOTHING)
    return seen


def render_metrics_page() -> str:
    return page(
        "Metrics",
        "`/metrics` of the dashboard (`[web] listen`), in the text format of Prometheus. An instant that is not known has no sample, and a reading that is too old "
        "neither: let alerts look for what is absent too. Instants are seconds since 1970, UTC.",
        table(("metric", "labels", "says"), ((f"`{name}`", ", ".join(labels), text) for name, labels, text in metrics())),
    )
