"""What a decision knew, as `status` shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from failsafe.domains import Round
from failsafe.failover.health import VantageView
from failsafe.failover.quorum import combine
from failsafe.model import Axis


@dataclass(frozen=True, slots=True)
class WatchReport:
    """`vantages`: (name, verdict, newest evidence) about inbound mail."""

    mx: tuple[tuple[int, str], ...]
    guards: tuple[tuple[str, str, str], ...]
    health: tuple[tuple[str, str], ...]
    vantages: tuple[tuple[str, str, datetime | None], ...]
    reasons: tuple[str, ...]
    found: str = ""  # what the zone holds, in words, also where nobody agrees
    epoch: int = 0  # of the domain's record after this look: a verb that moved mail since has made it old

    def same(self, other: WatchReport) -> bool:
        """Equal in what a person would call news: times and texts that count something down are left out."""
        return (
            self.mx == other.mx
            and self.epoch == other.epoch
            and self.health == other.health
            and self._lasting_guards == other._lasting_guards
            and [vantage[:2] for vantage in self.vantages] == [vantage[:2] for vantage in other.vantages]
        )

    @property
    def _lasting_guards(self) -> list[str]:
        return [code for code, _text, _mend in self.guards if code != "start-grace"]  # passes by itself within two looks

    def to_json(self) -> dict[str, Any]:
        return {
            "mx": [list(record) for record in self.mx],
            "guards": [{"code": code, "text": text, "mend": mend} for code, text, mend in self.guards],
            "health": dict(self.health),
            "vantages": [
                {"vantage": name, "verdict": verdict, "at": None if at is None else at.isoformat()}
                for name, verdict, at in self.vantages
            ],
            "reasons": list(self.reasons),
            "found": self.found,
            "epoch": self.epoch,
        }


def report_of(round_: Round, views: Iterable[VantageView]) -> WatchReport:
    """`views` are of every axis."""
    views = tuple(views)
    policy, zone = round_.facts.policy, round_.facts.zone
    health = tuple(
        (
            str(axis),
            str(combine(views, policy.quorum if axis is Axis.INBOUND else 1, axis=axis, standing=policy.standing).verdict),
        )
        for axis in Axis
    )
    found = zone.agreed or zone.provider or next((answer.mx for answer in zone.answers if answer.mx is not None), None)
    return WatchReport(
        mx=() if found is None else tuple((record.preference, record.exchange) for record in found.records),
        guards=tuple((guard.code, guard.text, guard.mend) for guard in round_.decision.guards),
        health=health,
        vantages=tuple((view.vantage, str(view.verdict), view.last_at) for view in views if view.axis is Axis.INBOUND),
        reasons=round_.decision.reasons,
        found=zone.described,
        epoch=(round_.facts if round_.ending is None else round_.ending).record.epoch,
    )
