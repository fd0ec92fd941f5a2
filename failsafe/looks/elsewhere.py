"""Looks from other places: another machine that speaks SMTP for us, and monitors of others that are asked what they see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.app import App
from failsafe.config.vantages import Vantage, looks_at
from failsafe.failover.health import discount
from failsafe.looks.here import inbound_addresses, other_exchanges, side_doors
from failsafe.looks.look import Look
from failsafe.looks.sparing import sparing
from failsafe.model import Axis, Evidence, ProbeClass

if TYPE_CHECKING:
    from failsafe.adapters.ssh import SshHost
    from failsafe.adapters.ssh_way import SshWay
    from failsafe.looks.surroundings import InboundLook

MONITOR_SECONDS = 15.0


def machines(app: App, server: str) -> Iterator[Look]:
    """One for each machine over SSH, which needs nothing but sshd and Python 3. No password leaves this machine: nobody logs in from there."""
    table, addresses = app.config.probe[server], inbound_addresses(app, server)
    for name, vantage in sorted(app.config.vantage.items()):
        if vantage.kind == "ssh" and looks_at(app.config, vantage, server) and addresses:
            look = machine_look(app, server, name)
            yield Look(server, Axis.INBOUND, table.every, look.see, look.inbound.probe.target, name, by_our_line=False)


def monitors(app: App, server: str) -> Iterator[Look]:
    """One for each monitor that watches this server."""
    every = app.config.probe[server].every
    for name, vantage in sorted(app.config.vantage.items()):
        if vantage.kind != "ssh" and looks_at(app.config, vantage, server):
            yield _monitor(server, name, vantage, every)


def _monitor(server: str, name: str, vantage: Vantage, every: timedelta) -> Look:
    seconds = min(MONITOR_SECONDS, max(1.0, every.total_seconds()))
    if vantage.kind == "uptimerobot":
        from failsafe.adapters.uptimerobot import API, UptimeRobot

        assert vantage.monitor is not None and vantage.key_file is not None, "the schema sees to it"
        robot = UptimeRobot(server, name, vantage.monitor, vantage.key_file, url=vantage.url or API, seconds=seconds)
        return Look(server, Axis.INBOUND, every, robot.probe, robot.target, name, by_our_line=False)
    from failsafe.adapters.http_vantage import HttpVantage
    from failsafe.failover.up_when import parse_condition

    assert vantage.url is not None and vantage.up_when is not None, "the schema sees to it"
    down = None if vantage.down_when is None else parse_condition(vantage.down_when)
    up = parse_condition(vantage.up_when)
    asked = HttpVantage(server, name, vantage.url, up, down, key_file=vantage.key_file, seconds=seconds)
    return Look(server, Axis.INBOUND, every, asked.probe, asked.target, name, by_our_line=False)


def machine_look(app: App, server: str, name: str) -> MachineLook:
    """What the machine `name` sees of the way in of `server`."""
    from failsafe.adapters.smtp import Patience, SmtpProbe
    from failsafe.adapters.ssh_way import SshWay
    from failsafe.looks.exchanges import KeptRefusals
    from failsafe.looks.surroundings import InboundLook, Surroundings

    table, vantage = app.config.probe[server], app.config.vantage[name]
    way = SshWay(vantage_host(name, vantage, table.every))
    helo, ca_file = vantage.helo or table.helo, None if table.ca_file is None else str(table.ca_file)
    addresses = inbound_addresses(app, server)
    patience = Patience.within(table.every)
    probe = SmtpProbe(server, addresses, table.recipient, helo, patience=patience, ca_file=ca_file, sender=table.sender, way=way)
    others, refusals = other_exchanges(app, server, helo, way=way), KeptRefusals(app, name)
    around = Surroundings(others, side_doors(app, server), table.every, way=way, refusals=refusals)
    references = vantage.references if vantage.references is not None else app.config.own_line.references
    places = tuple((reference.host, reference.port) for reference in references)
    return MachineLook(name, way, InboundLook(probe, around, sparing(app, probe, server, name)), places, table.every)


def vantage_host(name: str, vantage: Vantage, every: timedelta) -> SshHost:
    """The machine of a vantage; each step of logging in is short enough that evidence is not late."""
    from failsafe.adapters.ssh import SshHost

    seconds = min(10.0, max(3.0, every.total_seconds() / 4))
    return SshHost(
        name,
        str(vantage.ssh),
        key=vantage.ssh_key,
        known_hosts=vantage.known_hosts,
        connect_timeout=seconds,
        silence_deadline=120,
    )


class MachineLook:
    """Frames a look from another machine with that machine's own line. Where the machine cannot be reached nothing is known, and nothing is down."""

    def __init__(
        self, name: str, way: SshWay, inbound: InboundLook, references: tuple[tuple[str, int], ...], every: timedelta
    ) -> None:
        self._name, self._way, self._references, self._every = name, way, references, every
        self.inbound = inbound

    def see(self, now: datetime) -> Evidence:
        from failsafe.adapters.own_line import patience_within
        from failsafe.adapters.ssh_way import WayLost

        patience, probe = patience_within(self._every), self.inbound.probe
        try:
            with self._way.opened():
                before = self._way.line(self._references, patience, now)
                evidence = self.inbound.see(now)
                after = self._way.line(self._references, patience, now)
        except WayLost as error:
            return Evidence(probe.server, self._name, Axis.INBOUND, ProbeClass.UNKNOWN, now, str(error), probe.target)
        return discount(evidence, before, after, whose=f"{self._name}'s own")
