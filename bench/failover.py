"""How long it takes until the world sends elsewhere: real name servers, a real sender, the real daemon, and a witness that asks for itself.

A run. The primary's power is cut. When the daemon has failed over and mail has come to the secondary, the primary is switched on again and the
records are put back by hand, since going home has waits of its own. Times are taken from the machine's one clock: from the daemon's journal and
evidence, from a witness in another host that asks every name server each few milliseconds, and from when the secondary's mail store got its
first message.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.nameservers import authoritative
from bench.report import Line, Report
from tests.lab import Lab, availability
from tests.lab.controller import CONFIG, STATE, Controller
from tests.lab.mailhost import LAB_ID
from tests.lab.names import ALICE, AUTHORITATIVE, DOMAIN, PYTHON, VMAIL_ROOT
from tests.lab.world import HERE, children
from tests.support import wait_until

CASES = (("knot", 1), ("bind", 1), ("knot", 2), ("bind", 2))
NAMES = {"knot": "Knot", "bind": "BIND"}
DOWN_FOR, PROBE_EVERY = timedelta(seconds=10), timedelta(seconds=4)
WITNESS_EVERY, LOOKS_EVERY, MAIL_EVERY = 0.01, 0.1, 0.5  # seconds
LIMIT = 1.0  # seconds beyond the configured wait, with one authoritative server
PATIENCE, QUIET = 180.0, 6.0
TTL_OVER = 6.0  # seconds after which no resolver of the lab remembers the last run
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Times:
    """One failover; instants as Unix time. `evidence`: the end of the last look before the plan; `seen`: when each server first gave the new set."""

    cut: float
    suspected: float
    first_evidence: float
    evidence: float
    planned: float
    done: float
    seen: dict[str, float]
    first_mail: float

    @property
    def due(self) -> float:
        return self.first_evidence + DOWN_FOR.total_seconds()

    @property
    def ready(self) -> float:
        """When the wait was over and the last look before the plan had ended."""
        return max(self.due, self.evidence)

    @property
    def everywhere(self) -> float:
        return max(self.seen.values())


def measure(runs: int) -> Report:
    """The figures for `failover`. Raises RuntimeError where there can be no lab."""
    if reason := availability():
        raise RuntimeError(reason)
    how = (
        f"Medians of {runs} failovers each (slowest in brackets) in the lab of namespaces: the power of the primary is cut (it is silent, not refusing); `failsafe run` looks "
        f"every {PROBE_EVERY.seconds} s and waits `down_for` = {DOWN_FOR.seconds} s, one vantage. A witness in another host asks every authoritative "
        f"server each {WITNESS_EVERY * 1000:.0f} ms; a Postfix elsewhere gets a message each {MAIL_EVERY:g} s and follows the MX records through an unbound (TTL 5 s, "
        "queue tried each 3 s). With two servers the second follows the first by NOTIFY and IXFR, with the defaults of Debian's Knot 3.2 and BIND 9.18. "
        "Wait over: `down_for` after the first evidence."
    )
    report = Report("failover", how)
    table = [HEAD]
    with Lab() as lab:
        for kind, servers in CASES:
            found = _case(lab, kind, servers, runs)
            name = f"{NAMES[kind]}, {'one server' if servers == 1 else 'and a second server'}"
            table.append((name, *_row(found)))
            _judge(report, name, found, target=servers == 1)
            print(" | ".join(table[-1]), flush=True)
    report.tables.append(table)
    return report


# ---------------------------------------------------------------- what is told

HEAD = (
    "seconds", "configured wait", "detection: power cut to suspicion", "wait over to the last look's end", "decision: to the journal",
    "write: to the first server", "verify: to the daemon's word", "first mail at the secondary, after all servers", "after the power cut",
)  # fmt: skip


def _row(found: list[Times]) -> tuple[str, ...]:
    spans: tuple[Callable[[Times], float], ...] = (
        lambda run: run.suspected - run.cut,
        lambda run: max(0.0, run.evidence - run.due),
        lambda run: run.planned - run.ready,
        lambda run: run.seen[AUTHORITATIVE] - run.planned,
        lambda run: run.done - run.seen[AUTHORITATIVE],
        lambda run: run.first_mail - run.everywhere,
        lambda run: run.first_mail - run.cut,
    )
    return (f"{DOWN_FOR.total_seconds():g}", *(_spread([span(run) for run in found]) for span in spans))


def _judge(report: Report, name: str, found: list[Times], *, target: bool) -> None:
    for what, span in (
        ("last evidence to every server, beyond the wait", [run.everywhere - run.ready for run in found]),
        ("wait over to every server", [run.everywhere - run.due for run in found]),
    ):
        middle = statistics.median(span)
        said = f"{_spread(span)} s"
        if target:
            report.lines.append(Line(f"{name}: {what}", said, f"< {LIMIT:g} s", middle < LIMIT))
        else:
            report.fact(f"{name}: {what}", said)


def _spread(spans: list[float]) -> str:
    return f"{statistics.median(spans):.2f} ({max(spans):.2f})"


# ---------------------------------------------------------------- what is measured


def _case(lab: Lab, kind: str, servers: int, runs: int) -> list[Times]:
    controller = Controller(lab)
    controller.forget()
    with authoritative(lab, kind, servers) as addresses:
        _configure(controller, addresses)
        controller.run()
        try:
            _settle(controller)
            return [_run(controller, addresses, f"{kind}{servers}x{number}") for number in range(runs)]
        finally:
            controller.stop()


def _configure(controller: Controller, addresses: list[str]) -> None:
    controller.configure(down_for=f"{DOWN_FOR.seconds}s", up_for="3s")
    text = controller.nas.read(CONFIG)
    listed = ", ".join(f'"{address}:53"' for address in addresses)
    for old, new in (
        (f'nameservers = ["{AUTHORITATIVE}:53"]', f"nameservers = [{listed}]"),
        ('[probe.vps]\nevery = "1s"', f'[probe.vps]\nevery = "{PROBE_EVERY.seconds}s"'),
        ("quorum = 1\n", 'quorum = 1\nfailback = "manual"\n'),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    controller.nas.write(CONFIG, text, 0o600)


def _settle(controller: Controller) -> None:
    """Its first backup, check and drill are over."""
    assert controller.daemon is not None
    pid, quiet_since = controller.daemon.pid, time.monotonic()

    def quiet() -> bool:
        nonlocal quiet_since
        if children(pid):
            quiet_since = time.monotonic()
        return time.monotonic() - quiet_since > QUIET

    wait_until(quiet, PATIENCE, "the daemon's first jobs are over", every=0.25)


def _run(controller: Controller, addresses: list[str], tag: str) -> Times:
    lab = controller.lab
    tools = HERE / "tools"
    witness = lab.sender.popen(PYTHON, tools / "witness_tool.py", DOMAIN, str(WITNESS_EVERY), *addresses)
    looks = controller.nas.popen(PYTHON, tools / "rows_tool.py", DATABASE, LOOK, str(LOOKS_EVERY))
    stream = lab.sender.popen(PYTHON, tools / "stream_tool.py", "127.0.0.1", tag, ALICE, str(MAIL_EVERY))
    try:
        wait_until(lambda: len(_seen(witness.stdout())) == len(addresses), 20, "the witness hears every server")
        cut = time.time()
        lab.primary.power_off()
        controller.wait_for_state("failed-over", seconds=PATIENCE)
        first_mail = wait_until(lambda: _first_mail(lab, tag), PATIENCE, "mail comes to the secondary", every=0.5)
        times = _times(controller, cut, _looks(looks.stdout()), _seen(witness.stdout()), first_mail)
    finally:
        for job in (stream, witness, looks):
            job.close()
    lab.primary.boot()
    wait_until(lambda: controller.inbound() == "up", PATIENCE, "the primary is seen up", every=0.5)
    controller.verb("failback", DOMAIN, "--yes", "--reason", "the next run")
    lab.sender.sh("postsuper -d ALL", check=False)
    _settle(controller)
    time.sleep(max(0.0, TTL_OVER - QUIET))
    return times


def _seen(said: str) -> dict[str, float]:
    """When each server came to what it says last."""
    return {row["server"]: row["at"] for row in map(json.loads, said.splitlines())}


def _first_mail(lab: Lab, tag: str) -> float | None:
    """When the secondary's mail store got the first message of this run: the change time of its file, which nobody has touched since."""
    user, domain = ALICE.split("@")
    folder = lab.secondary.disk(f"{VMAIL_ROOT}/{domain}/{user}/new")
    return min((file.stat().st_ctime for file in folder.glob("*") if _is_of(file, tag)), default=None)


def _is_of(file: Path, tag: str) -> bool:
    found = LAB_ID.search(file.read_bytes()[:4000])
    return found is not None and found[1].decode().startswith(f"{tag}-")


# ---------------------------------------------------------------- what the daemon wrote


DATABASE = f"{STATE}/failsafe.sqlite"
LOOK = "select first_at, last_at, seconds from evidence where axis = 'inbound' and seen = 'down' order by id desc limit 1"
INTENT = "select planned_at, outcome_at from intent where kind = 'failover' order by id desc limit 1"
SUSPECT = "select at from event where name = 'domain.state' and text like 'normal -> suspect%' order by id desc limit 1"


def _rows(controller: Controller, query: str) -> list[Any]:
    done = controller.nas.run(PYTHON, HERE / "tools" / "rows_tool.py", DATABASE, query, "0")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _looks(said: str) -> list[tuple[float, float, float]]:
    """Every failing look as it was written: (first of its run, begin, end). A later one overwrites it: a run of evidence is one row."""
    rows = map(json.loads, said.splitlines())
    return [(_unix(first), _unix(last), _unix(last) + seconds) for first, last, seconds in rows]


def _times(
    controller: Controller, cut: float, looks: list[tuple[float, float, float]], seen: dict[str, float], first_mail: float
) -> Times:
    ((planned, done),) = _rows(controller, INTENT)
    ((suspected,),) = _rows(controller, SUSPECT)
    mine = [look for look in looks if look[0] > cut - 1 and look[2] <= _unix(planned)]
    assert mine, f"no look between {cut} and {planned}: {looks}"
    return Times(cut, _unix(suspected), mine[0][0], mine[-1][2], _unix(planned), _unix(done), seen, first_mail)


def _unix(text: str) -> float:
    return (datetime.fromisoformat(text) - EPOCH) / timedelta(seconds=1)
